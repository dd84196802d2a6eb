"""Loops in many threads at once, and loops that go from thread to thread.

Covers core/owner.c, core/patched.c and what loops of one interpreter share. What each test sees is asyncio's on every
build; without the GIL the threads are really at it together. Relies on the fixtures of tests/conftest.py.
"""

import asyncio
import concurrent.futures
import contextlib
import gc
import queue
import socket
import sys
import threading
from asyncio import events
from unittest import mock

import pytest
from loop_support import give, until

pytestmark = pytest.mark.timeout(120)

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()


def at_once(*bodies):
    """Run each in a thread of its own, all at the same time; return what they gave, in order."""
    together = threading.Barrier(len(bodies))

    def begin(body):
        together.wait()
        return body()

    with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
        return [future.result() for future in [pool.submit(begin, body) for body in bodies]]


class Work:
    """A loop with something of each kind scheduled, made and used by one thread after the other."""

    def __init__(self, loop):
        self.loop = loop
        self.seen = []
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)

    def schedule(self):
        loop = self.loop
        loop.add_reader(self.near, self.read)
        loop.call_soon(self.seen.append, "soon")
        loop.call_later(0.001, self.seen.append, "later")
        loop.call_later(60, self.seen.append, "never").cancel()
        self.future = loop.create_future()
        self.future.add_done_callback(lambda future: self.seen.append(future.result()))
        self.task = loop.create_task(give("task"), name="given")
        self.left = loop.create_task(asyncio.sleep(3600))
        loop.call_soon_threadsafe(self.seen.append, "safe")

    def finish_some(self):
        self.future.set_result("future")
        self.far.send(b"data")

    def run(self):
        async def main():
            await until(lambda: len(self.seen) == 5)
            return await self.task

        self.seen.append(self.loop.run_until_complete(main()))

    def read(self):
        self.seen.append(self.near.recv(100))

    def close(self):
        self.loop.remove_reader(self.near)
        self.left.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.left)
        self.loop.close()
        self.near.close()
        self.far.close()
        del self.future, self.task, self.left


STAGES = (Work.schedule, Work.finish_some, Work.run, Work.close)


def test_loops_that_threads_hand_on(new_loop):
    """Made in one thread, scheduled in the second, run in the fourth, closed in the fifth: five at work at once."""
    loops = 40
    lines = [queue.SimpleQueue() for _ in range(len(STAGES) + 1)]

    def make():
        for _ in range(loops):
            lines[0].put(Work(new_loop()))

    def stage(number):
        for _ in range(loops):
            work = lines[number].get()
            STAGES[number](work)
            lines[number + 1].put(work)

    at_once(make, *[lambda number=number: stage(number) for number in range(len(STAGES))])
    for _ in range(loops):
        work = lines[-1].get()
        assert set(work.seen) == {"soon", "later", "safe", "future", "task", b"data"}
        assert len(work.seen) == 6


def test_an_idle_loop_that_several_threads_try_at_once(new_loop):
    """What is not refused is done, whole and once; threads do not know of each other."""
    loop = new_loop()
    loop.set_debug(False)  # else the threads are told apart by it
    ran, refused = [], []

    def allowed(function, *args):
        try:
            return function(*args)
        except RuntimeError as exc:
            assert not HAS_GIL
            refused.append(str(exc))

    async def run(item):
        ran.append(item)

    def use(name):
        done = []
        for number in range(200):
            # Never refused: an idle loop is taken for it, and one that is in use has it sent.
            loop.call_soon(ran.append, ("soon", name, number))
            done.append(("soon", name, number))
            coroutine = run(("task", name, number))
            if allowed(loop.create_task, coroutine) is None:
                coroutine.close()
            else:
                done.append(("task", name, number))
        return done

    done = at_once(*[lambda name=name: use(name) for name in range(6)])
    loop.run_until_complete(until(lambda: not asyncio.all_tasks(loop) - {asyncio.current_task()}))
    assert sorted(ran) == sorted(item for items in done for item in items)
    assert all("call_soon_threadsafe" in text for text in refused)
    for name in range(6):
        assert [number for kind, who, number in ran if (kind, who) == ("soon", name)] == list(range(200))


def test_loops_that_come_and_go_in_many_threads(new_loop):
    """Each with timers, tasks, a connection and garbage, while another thread collects and looks at all of them."""
    ended = threading.Event()

    async def main(loop):
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=near)
        far.send(b"line\n")
        line = await reader.readline()
        handles = [loop.call_later(60, int) for _ in range(20)]
        for handle in handles[::2]:
            handle.cancel()
        tasks = [loop.create_task(give(number)) for number in range(20)]
        total = sum(await asyncio.gather(*tasks))
        loop.left = loop.create_future()
        loop.left.add_done_callback(print)
        writer.close()
        await writer.wait_closed()
        far.close()
        return line, total

    def come_and_go():
        results = []
        for _ in range(12):
            loop = new_loop()
            try:
                results.append(loop.run_until_complete(main(loop)))
                loop.run_until_complete(loop.shutdown_asyncgens())
            finally:
                loop.close()
        return results

    def look():
        while not ended.is_set():
            gc.collect()
            idle = new_loop()
            assert asyncio.all_tasks(idle) == set()
            idle.close()

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        results = at_once(*[come_and_go] * 6)
        ended.set()
        looking.result()
    assert results == [[(b"line\n", 190)] * 12] * 6


def test_executors_that_serve_several_loops(new_loop):
    """What one loop's job gives goes to the next loop's job, and results come back by futures of both kinds."""
    jobs = 60
    running = [new_loop() for _ in range(4)]

    async def stage(pool, number):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(pool, lambda: number + 1)

    async def pipeline(pool, index, number):
        for step in range(1, 4):
            number = await stage(pool, number)
            other = running[(index + step) % len(running)]
            number = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(stage(pool, number), other))
        return number

    def run(pool, index, together):
        async def main():
            numbers = await asyncio.gather(*[pipeline(pool, index, number) for number in range(jobs)])
            # The others need this loop to the end.
            await asyncio.get_running_loop().run_in_executor(None, together.wait)
            return numbers

        try:
            return running[index].run_until_complete(main())
        finally:
            running[index].run_until_complete(running[index].shutdown_default_executor())

    together = threading.Barrier(len(running))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = at_once(*[lambda index=index: run(pool, index, together) for index in range(len(running))])
    assert found == [[number + 6 for number in range(jobs)]] * len(running)


PATCHED = {
    "the run of handles": (events.Handle, "_run"),
    "the turn": (asyncio.base_events.BaseEventLoop, "_run_once"),
    "call_soon": (asyncio.base_events.BaseEventLoop, "call_soon"),
    "call_later": (asyncio.base_events.BaseEventLoop, "call_later"),
    "create_task": (asyncio.base_events.BaseEventLoop, "create_task"),
}


@pytest.mark.parametrize("name", sorted(PATCHED))
def test_patches_of_one_thread_while_loops_of_others_run(new_loop, name):
    """The loops do all that they have to, whichever way each of them takes it at the moment."""
    owner, attribute = PATCHED[name]
    original = vars(owner)[attribute]
    ended = threading.Event()

    async def main():
        seen = []
        loop = asyncio.get_running_loop()
        for number in range(60):
            loop.call_soon(seen.append, number)
            loop.call_later(0, seen.append, number)
            loop.call_soon_threadsafe(seen.append, number)
            assert await loop.create_task(give(number)) == number
        await until(lambda: len(seen) == 180)
        return sorted(seen) == sorted(list(range(60)) * 3)

    def run():
        found = []
        for _ in range(2):
            loop = new_loop()
            try:
                found.append(loop.run_until_complete(main()))
            finally:
                loop.close()
        return found

    def patch():
        def wrapper(*args, **kwargs):
            return original(*args, **kwargs)

        while not ended.wait(0.001):
            with mock.patch.object(owner, attribute, wrapper):
                ended.wait(0.001)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        patching = pool.submit(patch)
        try:
            found = at_once(*[run] * 4)
        finally:
            ended.set()
            patching.result()
    assert found == [[True, True]] * 4
    assert vars(owner)[attribute] is original


class ForeignLoop(asyncio.SelectorEventLoop):
    """Not ours: its call_soon is whichever thread's, and counts."""

    def __init__(self):
        super().__init__()
        self.called = []

    def call_soon(self, callback, *args, context=None):
        self.called.append((callback, args))


def test_futures_of_a_foreign_loop_in_several_threads(future_type):
    """Each callback is called once, whether it came before the result or after; one result of several is taken."""
    loop = ForeignLoop()
    try:
        for _ in range(60):
            future = future_type(loop=loop)
            loop.called.clear()

            def use(name, future=future):
                outcome = []
                for number in range(10):
                    callback = (name, number).__repr__
                    future.add_done_callback(callback)
                    if number % 3 == 2:
                        # Taken back before it was scheduled, or not any more.
                        outcome.append(future.remove_done_callback(callback))
                    if number == 5:
                        with contextlib.suppress(asyncio.InvalidStateError):
                            future.set_result(name)
                            outcome.append("set")
                    assert future.done() in (True, False)
                return outcome

            outcomes = at_once(*[lambda name=name: use(name) for name in range(4)])
            assert [outcome.count("set") for outcome in outcomes].count(1) == 1
            assert outcomes[future.result()].count("set") == 1
            removed = sum(outcome.count(1) for outcome in outcomes)
            assert len(loop.called) == 40 - removed
            assert all(args == (future,) for _, args in loop.called)
    finally:
        loop.close()


def test_futures_that_are_dropped_in_other_threads(loop):
    """Last references to futures, tasks, handles and transports go where the loop does not run."""
    dropped = queue.SimpleQueue()

    def drop():
        while dropped.get() is not None:
            pass

    async def fail():
        raise LookupError("nobody asks")

    async def main():
        for number in range(150):
            future = loop.create_future()
            future.add_done_callback(print)
            dropped.put(future)
            finished = loop.create_future()
            finished.set_exception(LookupError("nobody asks"))
            dropped.put(finished)
            dropped.put(loop.create_task(fail()))
            dropped.put(loop.call_later(0.001, int))
            dropped.put(loop.call_soon(int))
            if number % 10 == 0:
                near, far = socket.socketpair()
                transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
                transport.abort()
                dropped.put(transport)
                far.close()
                del transport
            del future, finished
            await asyncio.sleep(0)
        await asyncio.sleep(0.01)

    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(type(context["exception"])))
    threads = [threading.Thread(target=drop) for _ in range(2)]
    for thread in threads:
        thread.start()
    loop.run_until_complete(main())
    for _ in threads:
        dropped.put(None)
    for thread in threads:
        thread.join()
    gc.collect()
    assert reports == [LookupError] * 300
