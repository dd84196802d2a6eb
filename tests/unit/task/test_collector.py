"""Forgotten tasks that a cycle collector in another thread ends while their loop's thread has got hold of them.

Covers task/collector.h and task/step.c. Without the GIL alone: with it no task that is garbage is found by
anybody. Relies on the fixtures of tests/conftest.py. Stock asyncio steps such a task at once: its coroutine is in two
threads then, and the process may crash (which is not shown here).
"""

import asyncio
import contextlib
import contextvars
import ctypes
import gc
import sys
import threading

import pytest
from gil_support import HAS_GIL

import loopmod

pytestmark = [
    pytest.mark.timeout(100),
    pytest.mark.skipif(HAS_GIL, reason="with the GIL nobody finds them"),
]

GC_BITS_AT = 11  # after ob_tid, ob_flags and ob_mutex
COLLECTED_NOW = 4


@pytest.fixture(autouse=True)
def only_ours(kind):
    if kind == "asyncio":
        pytest.skip("asyncio does not wait")


@pytest.fixture
def unraisable(monkeypatch):
    """What finalizers raised."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: seen.append(repr(args.exc_value)))
    return seen


@pytest.fixture
def errors_of_threads(monkeypatch):
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(repr(args.exc_value)))
    return seen


def gc_bits(obj):
    return ctypes.c_ubyte.from_address(id(obj) + GC_BITS_AT).value


def test_the_bit_says_what_it_is_read_for():
    seen = []

    class Thing:
        def __del__(self):
            seen.append(gc_bits(self) & COLLECTED_NOW)

    thing = Thing()
    thing.itself = thing
    assert gc_bits(thing) & COLLECTED_NOW == 0
    gc.collect()
    assert gc_bits(thing) & COLLECTED_NOW == 0
    del thing
    gc.collect()
    assert seen == [COLLECTED_NOW]


def test_the_bit_goes_where_the_object_stays():
    kept = []

    class Thing:
        def __del__(self):
            kept.append(self)

    thing = Thing()
    thing.itself = thing
    del thing
    gc.collect()
    assert gc_bits(kept[0]) & COLLECTED_NOW == 0


class Forgotten:
    """A task of an idle loop that nobody holds, in a coroutine whose end takes as long as `at_end` does."""

    def __init__(self, loop, at_end):
        self.loop, self.at_end = loop, at_end
        self.ending = threading.Event()
        self.ended = False
        loop.set_exception_handler(lambda loop, context: None)
        loop.run_until_complete(self.begin())

    async def begin(self):
        self.loop.create_task(self.work(), name="forgotten")
        await asyncio.sleep(0)

    async def work(self):
        task = asyncio.current_task()
        try:
            await self.loop.create_future()
        finally:
            self.task = task  # as all_tasks() gives it, where the collector has not ended it yet
            self.ending.set()
            self.at_end()
            self.ended = True


@contextlib.contextmanager
def collecting(forgotten):
    """Another thread that collects has come as far as the coroutine."""
    thread = threading.Thread(target=gc.collect)
    thread.start()
    assert forgotten.ending.wait(30)
    yield
    thread.join(30)
    assert not thread.is_alive()


async def wait_for_end(task):
    await asyncio.wait({task})
    return task


@pytest.mark.parametrize("how", ["cancelled", "woken"])
def test_a_step_waits_until_the_coroutine_is_closed(loop, unraisable, how):
    release = threading.Event()
    forgotten = Forgotten(loop, lambda: release.wait(30))
    with collecting(forgotten):
        task = forgotten.task
        if how == "cancelled":
            task.cancel("late")
        else:
            task._fut_waiter.set_result(None)
        threading.Timer(0.2, release.set).start()
        loop.run_until_complete(wait_for_end(task))
        assert forgotten.ended
    assert unraisable == []
    if how == "cancelled":
        assert task.cancelled()
    else:
        assert "already awaited" in str(task.exception())


def test_what_the_collector_runs_may_wait_for_the_loop(loop, unraisable):
    """Then the step does not wait for ever: it finds the coroutine in use, and what waited goes on."""
    answers = []

    def ask():
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(0, "answer"), loop)
        answers.append(future.result(30))

    forgotten = Forgotten(loop, ask)
    with collecting(forgotten):
        task = forgotten.task
        task.cancel()
        loop.run_until_complete(wait_for_end(task))
        loop.run_until_complete(asyncio.sleep(0.01))
    assert answers == ["answer"] and forgotten.ended
    assert "already executing" in str(task.exception())


@pytest.mark.parametrize("end", ["pending", "raised"])
def test_the_end_of_a_task_is_told_in_its_loop(loop, unraisable, end):
    """While that runs: its exception handler is called in the context of the task."""
    variable = contextvars.ContextVar("variable", default="outer")
    told = []

    def handler(loop, context):
        told.append((context["message"].split(" ", 1)[1], variable.get(), threading.current_thread()))

    async def work():
        variable.set("inner")
        if end == "pending":
            await loop.create_future()
        raise LookupError

    async def main():
        loop.create_task(work())
        for _ in range(3):
            await asyncio.sleep(0)
        await loop.run_in_executor(None, gc.collect)
        await asyncio.sleep(0)

    loop.set_exception_handler(handler)
    loop.run_until_complete(main())
    message = {"pending": "was destroyed but it is pending!", "raised": "exception was never retrieved"}[end]
    assert told == [(message, "inner", threading.current_thread())]
    assert unraisable == []


def test_runs_that_leave_tasks_behind(errors_of_threads):
    """As many programs end: with tasks that nobody holds, and with collectors in other threads."""
    ended = threading.Event()
    seen = []

    async def left(how):
        try:
            await how()
        finally:
            for _ in range(100):
                pass

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: seen.append(context["message"]))
        ways = [lambda: loop.create_future(), lambda: asyncio.sleep(100), asyncio.Event().wait]
        for how in ways * 5:
            loop.create_task(left(how))
        await asyncio.sleep(0)

    def runs():
        for _ in range(150):
            loopmod.run(main())
        ended.set()

    threads = [threading.Thread(target=runs) for _ in range(2)]
    for thread in threads:
        thread.start()
    while not ended.is_set():
        gc.collect()
    for thread in threads:
        thread.join()
    assert errors_of_threads == []
    assert set(seen) <= {"Task was destroyed but it is pending!"}
