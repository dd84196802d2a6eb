"""What all threads look at, and none of them writes: the module's state, and what is of its types.

The first test relies on tests/isolated/unwritten_state.py, which has a process to itself.
"""

import asyncio
import ctypes
import os
import socket
import subprocess
import sys
import sysconfig

import pytest
from tree import ISOLATED

import loopmod
from loopmod import _loopmod

pytestmark = pytest.mark.timeout(200)

SCRIPT = ISOLATED / "unwritten_state.py"
IS_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.mark.skipif(
    IS_FREE_THREADED and hasattr(sys, "gettotalrefcount"), reason="its allocators are not to be chosen"
)
def test_nothing_in_the_state_is_written_after_import(files):
    env = os.environ if IS_FREE_THREADED else os.environ | {"PYTHONMALLOC": "malloc"}
    done = subprocess.run([sys.executable, str(SCRIPT), *files], env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "[]\n"


# Their addresses: who has them counted has them written.
TYPES = {name: id(value) for name, value in vars(_loopmod).items() if isinstance(value, type)}


def headers():
    """The words of each type that are written where it is counted. Without a GIL a thread counts for itself what it
    makes, but not what it frees."""
    return {name: ctypes.string_at(address, object.__basicsize__) for name, address in TYPES.items()}


async def use_everything():
    loop = asyncio.get_running_loop()
    ours, other = socket.socketpair()
    with ours, other:
        ours.setblocking(False)
        for _ in range(100):
            future = loop.create_future()
            loop.call_soon(future.set_result, None)
            await future
            loop.call_later(1000, print).cancel()
            loop.call_soon_threadsafe(len, "")
            await asyncio.gather(asyncio.sleep(0), asyncio.sleep(1e-6))
            loop.call_soon(other.send, b"x")
            assert await loop.sock_recv(ours, 1) == b"x"


async def compare():
    await use_everything()
    before = headers()
    await use_everything()
    after = headers()
    return [name for name in TYPES if before[name] != after[name]]


@pytest.mark.skipif(not IS_FREE_THREADED, reason="only without a GIL counts are more than one word")
def test_no_count_of_a_type_is_written_by_what_a_loop_makes_all_the_time():
    assert set(TYPES) >= {"Future", "Task", "Handle", "TimerHandle"}
    assert loopmod.run(compare()) == []
    assert loopmod.run_threads(compare, threads=2) == [[], []]
