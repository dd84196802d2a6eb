"""What other threads and signal handlers may do to a loop: call_soon_threadsafe and run_coroutine_threadsafe.

Covers core/safe_handle.c and the wake-up of poll/poll.c. Relies on the fixtures of tests/conftest.py. Work given to
threads is in test_executor.py.
"""

import asyncio
import contextvars
import gc
import os
import signal
import threading
import time

import pytest
from loop_support import spin

pytestmark = pytest.mark.timeout(60)

VARIABLE = contextvars.ContextVar("VARIABLE", default="default")


def run_threads(loop, targets):
    """Run the loop until every target, each in a thread of its own, and all it queued before, is done."""
    left = len(targets)

    def finished():
        nonlocal left
        left -= 1
        if not left:
            loop.stop()

    def body(target):
        try:
            target()
        finally:
            loop.call_soon_threadsafe(finished)

    threads = [threading.Thread(target=body, args=(target,)) for target in targets]
    for thread in threads:
        loop.call_soon(thread.start)
    loop.run_forever()
    for thread in threads:
        thread.join()


def test_twenty_threads(loop, debug):
    calls = 200 if debug else 2000
    seen = []

    def caller(name):
        def body():
            for number in range(calls):
                loop.call_soon_threadsafe(seen.append, (name, number))

        return body

    run_threads(loop, [caller(name) for name in range(20)])
    assert len(seen) == 20 * calls
    for name in range(20):
        assert [number for who, number in seen if who == name] == list(range(calls))


def test_calls_of_threads_between_calls_of_the_loop(loop):
    # Own and foreign calls use one queue; none is lost while both sides push at once.
    seen = []
    own = iter(range(3000))

    def again():
        number = next(own, None)
        if number is not None:
            seen.append(("own", number))
            loop.call_soon(again)

    def thread():
        for number in range(1000):
            loop.call_soon_threadsafe(seen.append, ("thread", number))

    loop.call_soon(again)
    run_threads(loop, [thread])
    for number in own:
        seen.append(("own", number))
    for who, count in (("own", 3000), ("thread", 1000)):
        assert [number for name, number in seen if name == who] == list(range(count))


@pytest.mark.parametrize("way", ["call_soon", "task", "callback", "cancelled", "timer", "new_task", "sleep"])
def test_a_thread_comes_before_what_the_loop_does_next(loop, run, way):
    """What a thread has sent runs before whatever the loop makes ready because of it."""
    seen = []

    async def waits(future):
        try:
            await future
        except asyncio.CancelledError:
            pass
        seen.append("loop")

    async def sleeps():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        seen.append("loop")

    async def main():
        future = loop.create_future()
        if way in ("task", "cancelled"):
            task = loop.create_task(waits(future))
        elif way == "callback":
            future.add_done_callback(lambda _: seen.append("loop"))
        elif way == "sleep":
            loop.create_task(sleeps())
        await asyncio.sleep(0)
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(seen.append, "thread"))
        thread.start()
        thread.join()
        if way == "call_soon":
            loop.call_soon(seen.append, "loop")
        elif way in ("task", "callback"):
            future.set_result(None)
        elif way == "cancelled":
            task.cancel()
        elif way == "timer":
            loop.call_later(0, seen.append, "loop")
        elif way == "new_task":
            loop.create_task(waits(asyncio.sleep(0)))
        while len(seen) < 2:
            await asyncio.sleep(0)

    run(main())
    assert seen == ["thread", "loop"]


def test_wakes_a_sleeping_loop(loop):
    rounds = []
    asleep = threading.Semaphore(0)

    def thread():
        for number in range(20):
            asleep.acquire()
            time.sleep(0.001)
            loop.call_soon_threadsafe(woken, number)

    def woken(number):
        rounds.append(number)
        if number == 19:
            loop.stop()
        asleep.release()

    worker = threading.Thread(target=thread)
    worker.start()
    asleep.release()
    loop.call_later(3600, print).cancel()
    loop.run_forever()
    worker.join()
    assert rounds == list(range(20))


def test_wakes_a_loop_that_waits_for_a_far_timer(loop):
    far = loop.call_later(3600, loop.stop)
    timer = threading.Timer(0.02, loop.call_soon_threadsafe, [loop.stop])
    loop.call_soon(timer.start)
    start = time.monotonic()
    loop.run_forever()
    far.cancel()
    timer.join()
    assert time.monotonic() - start < 30


def test_handle_and_cancellation(loop):
    seen = []
    handle = loop.call_soon_threadsafe(seen.append, 1)
    assert isinstance(handle, asyncio.Handle)
    handle.cancel()
    loop.call_soon_threadsafe(seen.append, 2)
    spin(loop)
    assert seen == [2]


def test_cancellation_from_another_thread(loop):
    seen = []

    def thread():
        for _ in range(100):
            loop.call_soon_threadsafe(seen.append, "cancelled too late").cancel()

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    spin(loop)
    assert seen == []


def test_context(loop):
    seen = []
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "given")

    def thread():
        VARIABLE.set("of the thread")
        loop.call_soon_threadsafe(lambda: seen.append(VARIABLE.get()))
        loop.call_soon_threadsafe(lambda: seen.append(VARIABLE.get()), context=context)

    run_threads(loop, [thread])
    assert seen == ["of the thread", "given"]
    assert VARIABLE.get() == "default"


def test_closed_loop(loop):
    loop.close()
    failures = []

    def thread():
        try:
            loop.call_soon_threadsafe(print)
        except BaseException as exc:
            failures.append(exc)

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join()
    assert [str(exc) for exc in failures] == ["Event loop is closed"]


@pytest.mark.parametrize("attempt", range(5))
def test_while_the_loop_is_closing(loop, attempt):
    # Each thread calls until it is refused; whatever the moment, the refusal is the only thing that it meets.
    failures, started = [], threading.Barrier(5)

    def thread():
        started.wait()
        try:
            while True:
                loop.call_soon_threadsafe(int)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=thread) for _ in range(4)]
    for worker in threads:
        worker.start()
    started.wait()
    spin(loop)
    loop.close()
    for worker in threads:
        worker.join()
    assert [(type(exc), str(exc)) for exc in failures] == [(RuntimeError, "Event loop is closed")] * 4


def test_from_a_signal_handler_while_asleep(loop):
    before = signal.signal(signal.SIGUSR2, lambda *args: loop.call_soon_threadsafe(loop.stop))
    try:
        timer = threading.Timer(0.02, os.kill, [os.getpid(), signal.SIGUSR2])
        loop.call_soon(timer.start)
        loop.run_forever()
        timer.join()
    finally:
        signal.signal(signal.SIGUSR2, before)


def test_from_a_signal_handler_while_busy(loop):
    # The handler interrupts call_soon_threadsafe itself now and then: it must not wait for its own thread.
    seen = []
    before = signal.signal(signal.SIGUSR2, lambda *args: loop.call_soon_threadsafe(seen.append, "signal"))
    try:
        for _ in range(200):
            os.kill(os.getpid(), signal.SIGUSR2)
            loop.call_soon_threadsafe(seen.append, "call")
        spin(loop, 2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen.count("call") == 200
    assert seen.count("signal") == 200


def test_from_a_finalizer(loop):
    # A collection may start inside the loop's own code and run __del__ there.
    seen = []

    class Dying:
        def __del__(self):
            loop.call_soon_threadsafe(seen.append, "died")

    for _ in range(100):
        cycle = Dying()
        cycle.itself = cycle
        loop.call_soon_threadsafe(seen.append, cycle)
    del cycle
    seen.clear()
    spin(loop)
    assert len(seen) == 100
    seen.clear()
    gc.collect()
    spin(loop)
    assert seen == ["died"] * 100


def test_run_coroutine_threadsafe(loop):
    results = []

    async def add(one, two):
        await asyncio.sleep(0)
        if two is None:
            raise LookupError("nothing to add")
        return one + two

    def thread():
        results.append(asyncio.run_coroutine_threadsafe(add(1, 2), loop).result(30))
        try:
            asyncio.run_coroutine_threadsafe(add(1, None), loop).result(30)
        except LookupError as exc:
            results.append(str(exc))

    run_threads(loop, [thread])
    assert results == [3, "nothing to add"]


def test_run_coroutine_threadsafe_cancelled_by_the_thread(loop):
    seen = []
    begun, ended = threading.Event(), threading.Event()

    async def wait():
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        finally:
            ended.set()

    def thread():
        future = asyncio.run_coroutine_threadsafe(wait(), loop)
        assert begun.wait(30)
        assert future.cancel()
        assert ended.wait(30)
        seen.append(future.cancelled())

    run_threads(loop, [thread])
    spin(loop, 2)
    assert seen == ["cancelled", True]


def test_loops_that_talk_to_each_other(new_loop):
    # Two loops in two threads pass a number back and forth.
    loops = [new_loop(), new_loop()]
    seen = []

    def take(side, number):
        seen.append((side, number))
        if number == 200:
            for each in loops:
                each.call_soon_threadsafe(each.stop)
        else:
            loops[1 - side].call_soon_threadsafe(take, 1 - side, number + 1)

    other = threading.Thread(target=loops[1].run_forever)
    other.start()
    loops[0].call_soon(take, 0, 0)
    loops[0].run_forever()
    other.join()
    assert seen == [(number % 2, number) for number in range(201)]
