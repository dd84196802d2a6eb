"""How a program chooses the loop: install(), the policy, run(), the factory; also where Python has no policies.

Covers loopmod/policy.py and loopmod/choice.py. What is chosen holds for a whole process, so each case has one of
its own, in which every warning is an error.
"""

import os
import subprocess
import sys

import pytest
from tree import ROOT

pytestmark = pytest.mark.timeout(60)


CASES = {
    "install": """
loopmod.install()
with asyncio.Runner() as runner:
    assert type(runner.get_loop()) is loopmod.Loop
assert type(asyncio.run(running())) is loopmod.Loop
loop = asyncio.new_event_loop()
assert type(loop) is loopmod.Loop
loop.close()
""",
    "install twice, within a run": """
async def main():
    loopmod.install()
    loopmod.install()
    return await running()
assert type(asyncio.run(main())) is not loopmod.Loop
assert type(asyncio.run(running())) is loopmod.Loop
""",
    "the loop of the main thread, in the older spelling": """
loopmod.install()
loop = asyncio.get_event_loop()
assert type(loop) is loopmod.Loop and asyncio.get_event_loop() is loop
assert loop.run_until_complete(running()) is loop
asyncio.set_event_loop(None)
try:
    asyncio.get_event_loop()
except RuntimeError as exc:
    assert "no current event loop" in str(exc), exc
else:
    raise AssertionError
loop.close()
""",
    "other threads get no loop by themselves": """
loopmod.install()
def other():
    try:
        asyncio.get_event_loop()
    except RuntimeError as exc:
        seen.append(str(exc))
    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    seen.append(asyncio.get_event_loop() is loop and type(loop) is loopmod.Loop)
    loop.close()
seen = []
thread = threading.Thread(target=other, name="other")
thread.start()
thread.join()
assert seen == ["There is no current event loop in thread 'other'.", True], seen
""",
    "the policy's type": """
policy = loopmod.EventLoopPolicy()
base = asyncio.DefaultEventLoopPolicy if sys.version_info < (3, 14) else asyncio.events._AbstractEventLoopPolicy
assert isinstance(policy, base)
loop = policy.new_event_loop()
policy.set_event_loop(loop)
assert type(loop) is loopmod.Loop and policy.get_event_loop() is loop
loop.close()
""",
    "run": """
assert type(loopmod.run(running())) is loopmod.Loop
assert loopmod.run(debugs(), debug=True) is True and loopmod.run(debugs()) is False
async def main():
    coro = running()
    try:
        loopmod.run(coro)
    except RuntimeError as exc:
        coro.close()
        return str(exc)
assert loopmod.run(main()) == "asyncio.run() cannot be called from a running event loop"
# No choice for others is made by it.
assert type(asyncio.run(running())) is not loopmod.Loop
""",
    "the factory": """
with asyncio.Runner(loop_factory=loopmod.new_event_loop) as runner:
    assert type(runner.run(running())) is loopmod.Loop
if sys.version_info >= (3, 12):
    assert type(asyncio.run(running(), loop_factory=loopmod.new_event_loop)) is loopmod.Loop
assert type(asyncio.run(running())) is not loopmod.Loop
""",
}

WITHOUT_POLICIES = """
import asyncio
for module in (asyncio, asyncio.events, asyncio.unix_events):
    for name in [name for name in vars(module) if "Policy" in name or "policy" in name]:
        delattr(module, name)
asyncio.events.__dict__.pop("__getattr__", None)
asyncio.unix_events.__dict__.pop("__getattr__", None)
asyncio.__dict__.pop("__getattr__", None)
# What asyncio asks of its policies elsewhere is none of our concern.
asyncio.events.set_event_loop = asyncio.set_event_loop = lambda loop: None
import loopmod
async def running():
    return asyncio.get_running_loop()
assert type(loopmod.run(running())) is loopmod.Loop
for refused in (loopmod.install, loopmod.EventLoopPolicy):
    try:
        refused()
    except RuntimeError as exc:
        assert "loopmod.run(main())" in str(exc) and "loop_factory" in str(exc), exc
    else:
        raise AssertionError(refused)
"""

START = """
import asyncio, sys, threading
import loopmod
async def running():
    return asyncio.get_running_loop()
async def debugs():
    return asyncio.get_running_loop().get_debug()
"""


def launch(program):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONASYNCIODEBUG": ""}
    # Not what Python says of its own: of policies that will go, of a loop made on demand (3.12, 3.13).
    options = ["-W", "error", "-W", "ignore:There is no current event loop:DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *options, "-c", program], env=env, capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("name", CASES)
def test_choices(name):
    launch(START + CASES[name])


def test_without_policies():
    launch(WITHOUT_POLICIES)
