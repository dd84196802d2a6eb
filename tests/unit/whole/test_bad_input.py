"""No use of an exported type, however wrong, takes the interpreter down: each is poked in its own process.

Relies on tests/isolated/poke_types.py, which calls, sets and deletes everything on objects that are bare,
live, used in a foreign thread, or left behind by a closed loop.
"""

import asyncio
import importlib
import subprocess
import sys

import pytest
from gil_support import HAS_GIL
from tree import ISOLATED

pytestmark = pytest.mark.timeout(150)

SCRIPT = ISOLATED / "poke_types.py"
PUBLIC = ["Loop", "Future", "Task", "Handle", "TimerHandle", "Server", "EventLoopPolicy"]


def type_names():
    """The public types, and each type that the C module shows."""
    try:
        module = importlib.import_module("loopmod._loopmod")
    except ImportError:
        return PUBLIC
    found = [name for name, value in vars(module).items() if isinstance(value, type)]
    return PUBLIC + sorted(set(found) - set(PUBLIC))


@pytest.mark.parametrize("name", type_names())
def test_poked_type(kind, name):
    crashes = name == "Task" or (name == "Future" and not HAS_GIL)
    if kind == "asyncio" and (name not in PUBLIC or crashes):
        pytest.skip("loopmod's own, or a type whose stock version crashes")
    command = [sys.executable, str(SCRIPT), kind, name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=130)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["survived"]), done.stderr[-3000:]


def test_bare_loop_answers(loop, debug):
    if isinstance(loop, asyncio.SelectorEventLoop):
        pytest.skip("stock loops that were never initialised have no attributes")
    bare = type(loop).__new__(type(loop))
    assert bare.is_closed() in (True, False)
    assert bare.is_running() is False
    assert type(loop).__name__ in repr(bare)
    for use in (
        bare.run_forever,
        lambda: bare.call_soon(print),
        lambda: bare.call_later(1, print),
        lambda: bare.call_soon_threadsafe(print),
        lambda: bare.add_reader(0, print),
    ):
        with pytest.raises((RuntimeError, AttributeError)):
            use()
    bare.close()


def test_loop_initialised_again(loop):
    seen = []
    loop.call_soon(seen.append, "before")
    try:
        loop.__init__()
    except RuntimeError:
        pass
    loop.call_soon(seen.append, "after")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen[-1] == "after"
    loop.close()


def test_initialised_again_while_running(loop):
    async def main():
        try:
            loop.__init__()
        except RuntimeError:
            return "refused"
        return "accepted"

    if isinstance(loop, asyncio.SelectorEventLoop):
        pytest.skip("a stock loop forgets that it runs")
    assert loop.run_until_complete(main()) in ("refused", "accepted")
    assert loop.run_until_complete(asyncio.sleep(0, 3)) == 3
