"""What a tool put in the place of asyncio's own before loopmod was imported is seen, as ddtrace-run does it.

By another function in the class, by other code in the function, and by code that was put together by hand, whose
names are all those of asyncio's. Covers core/patched.c and loopmod/patched.py.
"""

import subprocess
import sys

import pytest
from tree import ROOT

PROGRAM = """
import asyncio, sys, types
kind, how = sys.argv[1:]
seen = []
function = asyncio.BaseEventLoop.create_task
copy = types.FunctionType(function.__code__, function.__globals__, function.__name__)
copy.__kwdefaults__ = function.__kwdefaults__

def hook(self, coro, kwargs):
    seen.append(coro.__name__)
    return copy(self, coro, **kwargs)

def create_task(self, coro, **kwargs):
    hook = "HOOK"
    return hook(self, coro, kwargs)

code = create_task.__code__
code = code.replace(co_consts=tuple(hook if const == "HOOK" else const for const in code.co_consts))
function.__kwdefaults__ = None
if how == "code":
    function.__code__ = code
elif how == "code like asyncio's":
    old = function.__code__
    function.__code__ = code.replace(
        co_name=old.co_name, co_qualname=old.co_qualname, co_filename=old.co_filename
    )
else:
    asyncio.BaseEventLoop.create_task = lambda self, coro, **kwargs: hook(self, coro, kwargs)

async def child():
    await asyncio.sleep(0)

async def main():
    await asyncio.create_task(child())
    await asyncio.get_running_loop().create_task(child(), name="named")
    await asyncio.gather(child())

if kind == "loopmod":
    import loopmod
    factory = loopmod.new_event_loop
else:
    factory = asyncio.SelectorEventLoop
with asyncio.Runner(loop_factory=factory) as runner:
    runner.run(main())
print(*sorted(seen))
"""


@pytest.mark.parametrize("how", ["attribute", "code", "code like asyncio's"])
def test_patched_before_import(how, kind):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, how], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [*["child"] * 3, "main", *["shutdown_asyncgens", "shutdown_default_executor"]]
