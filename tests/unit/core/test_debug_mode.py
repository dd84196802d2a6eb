"""What debug mode adds: slow callbacks are logged, foreign threads refused, origins of coroutines tracked.

Covers core/debug.c. Relies on the fixtures of tests/conftest.py; each test also checks that nothing of it happens
in normal mode.
"""

import asyncio
import logging
import os
import re
import subprocess
import sys
import threading
from asyncio import constants

import pytest
from loop_support import spin

pytestmark = pytest.mark.timeout(30)


def plain(*args):
    pass


def slow_texts(caplog, part):
    """The texts of the warnings of slow callbacks in which `part` stands (the loop logs its own, too)."""
    texts = [
        record.getMessage() for record in caplog.records if record.name == "asyncio" and record.levelname == "WARNING"
    ]
    return [text for text in texts if part in text]


def test_get_and_set(loop, debug):
    assert loop.get_debug() is debug
    loop.set_debug(not debug)
    assert loop.get_debug() is not debug
    spin(loop)


def test_new_loop_follows_the_environment(kind):
    code = (
        "import sys; sys.path[:0] = sys.argv[2:]; import asyncio\n"
        "if sys.argv[1] == 'asyncio': loop = asyncio.SelectorEventLoop()\n"
        "else:\n    import loopmod; loop = loopmod.new_event_loop()\n"
        "print(loop.get_debug()); loop.close()"
    )
    plain = {name: os.environ[name] for name in os.environ if name not in ("PYTHONASYNCIODEBUG", "PYTHONDEVMODE")}
    for options, changes, expected in (
        ([], {}, "False"),
        (["-X", "dev"], {}, "True"),
        ([], {"PYTHONASYNCIODEBUG": "1"}, "True"),
        (["-E"], {"PYTHONASYNCIODEBUG": "1"}, "False"),
    ):
        command = [sys.executable, *options, "-c", code, kind, *filter(None, sys.path)]
        done = subprocess.run(
            command, env={**plain, **changes}, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.strip() == expected


@pytest.mark.parametrize("how", ["soon", "later", "threadsafe"])
def test_slow_callbacks_are_logged(loop, debug, caplog, how):
    loop.slow_callback_duration = 0
    schedule = {
        "soon": loop.call_soon,
        "threadsafe": loop.call_soon_threadsafe,
        "later": lambda *args: loop.call_later(0, *args),
    }[how]
    schedule(plain, 1)
    with caplog.at_level(logging.WARNING, "asyncio"):
        spin(loop)
    texts = slow_texts(caplog, "plain(")
    if not debug:
        assert texts == []
        return
    (text,) = texts
    threadsafe = getattr(asyncio.events, "_ThreadSafeHandle", asyncio.Handle).__name__
    name = {"soon": "Handle ", "threadsafe": f"{threadsafe} ", "later": "TimerHandle when="}[how]
    assert text.startswith(f"Executing <{name}")
    assert f"plain(1) at {__file__}:{plain.__code__.co_firstlineno} created at {__file__}:" in text
    assert re.search(r"> took \d+\.\d{3} seconds$", text)


def test_slow_tasks_are_logged(loop, debug, caplog):
    async def main():
        await asyncio.sleep(0)

    loop.slow_callback_duration = 0
    with caplog.at_level(logging.WARNING, "asyncio"):
        task = loop.create_task(main(), name="slow one")
        spin(loop, 3)
    assert task.done()
    texts = slow_texts(caplog, "slow one")
    if not debug:
        assert texts == []
        return
    # Of a task the log shows the task, not the handle that steps it.
    assert len(texts) == 2
    for text in texts:
        assert text.startswith("Executing <Task ") and re.search(r"> took \d+\.\d{3} seconds$", text)


def test_fast_callbacks_are_not_logged(loop, caplog):
    loop.slow_callback_duration = 1000.0
    loop.call_soon(plain)
    with caplog.at_level(logging.WARNING, "asyncio"):
        spin(loop)
    assert slow_texts(caplog, "") == []


def test_slow_callback_duration(loop):
    other = type(loop)()
    assert other.slow_callback_duration == 0.1
    other.close()
    loop.slow_callback_duration = 3
    assert loop.slow_callback_duration == 3


@pytest.mark.parametrize("method, args", [("call_soon", ()), ("call_later", (1,)), ("call_at", (1,))])
def test_calls_from_another_thread(loop, debug, method, args):
    outcome = []

    def thread():
        try:
            getattr(loop, method)(*args, plain).cancel()
        except BaseException as exc:
            outcome.append(exc)
        finally:
            loop.call_soon_threadsafe(loop.stop)

    worker = threading.Thread(target=thread)
    loop.call_soon(worker.start)
    loop.run_forever()
    worker.join()
    if debug:
        (exc,) = outcome
        assert type(exc) is RuntimeError
        assert str(exc) == "Non-thread-safe operation invoked on an event loop other than the current one"
    else:
        assert outcome == []


def test_calls_from_another_thread_while_not_running(loop):
    seen, failures = [], []

    def thread():
        try:
            loop.call_soon(seen.append, 1)
        except BaseException as exc:
            failures.append(exc)

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    spin(loop)
    assert seen == [1] and failures == []


def test_coroutine_origin_tracking(loop, debug):
    before = sys.get_coroutine_origin_tracking_depth()
    seen = []
    loop.call_soon(lambda: seen.append(sys.get_coroutine_origin_tracking_depth()))
    spin(loop)
    assert seen == [10 if debug else before]
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_coroutine_origin_tracking_is_restored_after_an_exit(loop):
    before = sys.get_coroutine_origin_tracking_depth()
    sys.set_coroutine_origin_tracking_depth(3)
    try:
        loop.call_soon(sys.exit)
        with pytest.raises(SystemExit):
            loop.run_forever()
        assert sys.get_coroutine_origin_tracking_depth() == 3
    finally:
        sys.set_coroutine_origin_tracking_depth(before)


def test_set_debug_while_running(loop, debug):
    before = sys.get_coroutine_origin_tracking_depth()

    async def main():
        loop.set_debug(not debug)
        for _ in range(3):
            await asyncio.sleep(0)
        return sys.get_coroutine_origin_tracking_depth()

    assert loop.run_until_complete(main()) == (before if debug else 10)
    assert sys.get_coroutine_origin_tracking_depth() == before


def test_origin_of_a_coroutine_that_nobody_awaits(loop, debug):
    async def forgotten():
        pass

    async def main():
        coroutine = forgotten()
        origin = coroutine.cr_origin
        coroutine.close()
        return origin

    origin = loop.run_until_complete(main())
    assert (origin is not None) is debug
    if debug:
        assert origin[0][0] == __file__ and origin[0][2] == "main"


def test_source_traceback_of_futures_and_tasks(loop, debug):
    future = loop.create_future()
    task = loop.create_task(asyncio.sleep(0))
    for each in (future, task):
        assert bool(each._source_traceback) is debug
        if debug:
            # The last frame of a future may be that of create_future itself.
            names = [frame.name for frame in each._source_traceback[-2:]]
            assert "test_source_traceback_of_futures_and_tasks" in names
            # All frames, down to the program's first, and not only those that a handle keeps.
            assert len(each._source_traceback) > constants.DEBUG_STACK_DEPTH
            assert " created at " in repr(each)
    spin(loop, 2)


def test_handle_traceback_in_the_log(loop, debug, caplog):
    def callback():
        loop.call_exception_handler({"message": "said in a callback"})

    loop.call_soon(callback)
    spin(loop)
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    lines = record.getMessage().splitlines()
    assert lines[0] == "said in a callback"
    if debug:
        assert lines[1] == "handle_traceback: Handle created at (most recent call last):"
        assert "loop.call_soon(callback)" in lines[-1]
    else:
        assert len(lines) == 1
