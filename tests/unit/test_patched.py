"""Tools that wrap asyncio's own functions see on a loop of ours what they see on asyncio's.

The oracle is asyncio: the same program (patch_support.py) with the same function wrapped. What it calls there, it
calls here. Before 3.12 what is patched in mid-run counts from the next run on.
"""

import asyncio
import gc
import sys
import threading
import time
from asyncio import events, futures, tasks
from unittest import mock

import loopmod
import patch_support as support
import pytest

AT_ONCE = sys.version_info >= (3, 12)
at_once = pytest.mark.skipif(not AT_ONCE, reason="counts from the next run on")

# What asyncio calls and a loop of ours does not, and why.
BLIND = {
    "_read_from_self": "no self-pipe: C wakes the loop, and reads signals",
    "_process_self_data": "the same",
    "_make_self_pipe": "the same",
    "_close_self_pipe": "the same",
    "__init__": "of a loop that is made already, or of handles made by C",
    "__del__": "only where a loop is dropped",
    "_run_forever_cleanup": "of a run that began before",
    "_run_forever_setup": "of a run that began before",
    "run_forever": "of a run that began before",
    "run_until_complete": "of a run that began before",
    "_init_pidfd": "child watchers are asked only where the program has set one",
    "_child_watcher_callback": "the same",
}


@pytest.fixture(autouse=True)
def nothing_is_left(kind):
    """However a test ends, the classes are as they were."""
    yield
    gc.collect(0)
    asyncio.new_event_loop().close()
    loopmod.new_event_loop().close()
    assert loopmod.patched.settle()[:2] == (False, False)
    for owner, name, own, _ in loopmod.patched._IN_LOOP.values():
        assert vars(owner)[name] is own


def blind(program, moment, debug):
    """Return the functions that are called on asyncio alone, and where results differ."""
    wrong = []
    for patch in support.every_patch():
        expected = support.run(asyncio.SelectorEventLoop, program, patch, moment, debug)
        if patch.calls == 0:
            continue
        patch.calls = 0
        try:
            result = support.run(loopmod.new_event_loop, program, patch, moment, debug)
        except Exception as exc:
            result = repr(exc)
        if result != expected:
            wrong.append(f"{patch}: {result} in place of {expected}")
        elif patch.calls == 0:
            wrong.append(repr(patch))
    return wrong


@pytest.fixture
def program(request):
    return getattr(support, request.param)


PROGRAMS = pytest.mark.parametrize("program", ["queues", "descriptors", "transports"], indirect=True)


@pytest.mark.timeout(300)
@PROGRAMS
@pytest.mark.parametrize("moment", ["before", "made", pytest.param("running", marks=at_once)])
def test_nothing_is_blind(kind, program, moment, debug):
    if kind == "asyncio":
        pytest.skip("both are run by one test")
    assert [name for name in blind(program, moment, debug) if name.split(".")[-1] not in BLIND] == []
