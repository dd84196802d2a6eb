"""Fixtures that run one test on every loop under test: stock asyncio (the oracle) and loopmod.

A test that takes `new_loop` (directly or through `loop` / `run`) runs four times: on each of the two loops, in
normal and in debug mode. What it asserts is asyncio's behaviour, so a failure on `asyncio` means that the test is
wrong and a failure on `loopmod` alone that the loop is. `LOOPMOD_TEST_ONLY=asyncio|loopmod` narrows the choice;
`LOOPMOD_TEST_FACTORY=new_server_loop` makes loopmod's loops with another of its factories.
"""

import asyncio
import gc
import os
import signal
import sys
import warnings

import pytest

ONLY = os.environ.get("LOOPMOD_TEST_ONLY")
KINDS = [ONLY] if ONLY else ["asyncio", "loopmod"]

# A run in a shell's background begins with Ctrl-C ignored, one under nohup with hang-ups: children would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def make_factory(kind):
    """Return a callable that makes a new loop of the named kind."""
    if kind == "asyncio":
        return asyncio.SelectorEventLoop
    import loopmod

    return getattr(loopmod, os.environ.get("LOOPMOD_TEST_FACTORY", "new_event_loop"))


def pytest_collection_finish():
    """Have the collector pass over what the run itself is made of: a million objects, which a test's collections
    would each time walk through for a fifth of a second and find alive."""
    gc.collect()
    gc.freeze()


@pytest.fixture(params=KINDS)
def kind(request):
    """Name of the loop under test: "asyncio" or "loopmod"."""
    return request.param


@pytest.fixture(params=[False, True], ids=["normal", "debug"])
def debug(request):
    """Whether the loops of this test run in debug mode."""
    return request.param


@pytest.fixture
def new_loop(kind, debug):
    """Factory of loops of the kind under test; every loop it made is closed at the end."""
    made = []
    factory = make_factory(kind)
    origins = sys.get_coroutine_origin_tracking_depth()

    def new():
        loop = factory()
        loop.set_debug(debug)
        loop.slow_callback_duration = 60.0
        made.append(loop)
        return loop

    yield new
    # Left as it was in debug mode where another thread tried to run the same loop of asyncio's.
    sys.set_coroutine_origin_tracking_depth(origins)
    for loop in made:
        if not loop.is_closed() and not loop.is_running():
            loop.close()
    made.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect(0)


@pytest.fixture
def loop(new_loop):
    """One open loop, not running."""
    return new_loop()


@pytest.fixture
def run(loop):
    """Run a coroutine on `loop` as asyncio.run does (cancel what is left, shut down), once per test."""

    def run_main(main):
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main)

    return run_main


@pytest.fixture
def errors(loop):
    """Contexts that reached the exception handler of `loop`."""
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(context))
    return seen
