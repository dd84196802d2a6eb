"""The coroutine object behind the methods: what asyncio's coroutines do, ours do."""

import asyncio
import gc
import inspect
import sys
import threading
import types
import warnings
import weakref
from unittest import mock

import pytest

import loopmod


def is_native(coro):
    return type(coro).__module__ == "loopmod"


@pytest.fixture
def locked(sync):
    """A lock that is taken."""
    lock = sync.Lock()
    lock._locked = True
    return lock


def test_nothing_runs_before_the_first_send(run, sync):
    async def main():
        lock = sync.Lock()
        task = asyncio.create_task(lock.acquire())
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return lock.locked()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # in debug mode asyncio's own
        assert run(main()) is False


def test_ours_are_native_only_on_a_plain_loop(run, kind, debug, makers):
    async def main():
        coro = makers["ours"].Lock().acquire()
        await coro
        return is_native(coro)

    assert run(main()) is (kind == "loopmod" and not debug)


def test_without_a_loop(sync):
    coro = sync.Lock().acquire()
    with pytest.raises(StopIteration) as caught:
        coro.send(None)
    assert caught.value.value is True


@pytest.mark.filterwarnings("always::RuntimeWarning")
def test_never_awaited(run, sync):
    async def main():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            sync.Lock().acquire()
            gc.collect()
        return [(item.category, str(item.message).splitlines()[0], item.filename) for item in caught]

    assert run(main()) == [(RuntimeWarning, "coroutine 'Lock.acquire' was never awaited", __file__)]


def test_never_awaited_in_a_circle(run, sync):
    async def main():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lock = sync.Lock()
            lock._waiters = [lock.acquire()]
            del lock
            gc.collect()
        return [str(item.message).splitlines()[0] for item in caught]

    assert run(main()) == ["coroutine 'Lock.acquire' was never awaited"]


@pytest.mark.filterwarnings("error")
def test_closed_before_its_start(run, sync):
    async def main():
        lock = sync.Lock()
        coro = lock.acquire()
        assert coro.close() is None
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coro
        assert coro.close() is None
        return lock.locked()

    assert run(main()) is False


@pytest.mark.filterwarnings("error")
def test_thrown_into_before_its_start(run, sync):
    async def main():
        lock = sync.Lock()
        coro = lock.acquire()
        with pytest.raises(KeyError):
            coro.throw(KeyError("x"))
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            coro.throw(KeyError("x"))
        coro = lock.acquire()
        with pytest.raises(TypeError, match="exceptions must be"):
            coro.throw(5)
        coro.close()
        return lock.locked()

    assert run(main()) is False


def test_send(run, sync):
    async def main():
        coro = sync.Lock().acquire()
        with pytest.raises(TypeError, match="can't send non-None value to a just-started coroutine"):
            coro.send(5)
        with pytest.raises(StopIteration) as caught:
            coro.send(None)
        assert caught.value.value is True and caught.value.args == (True,)
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            coro.send(None)
        coro = sync.Lock().__aenter__()
        with pytest.raises(StopIteration) as caught:
            coro.send(None)
        assert caught.value.value is None and caught.value.args == ()

    run(main())


def test_suspended(run, locked):
    async def main():
        coro = locked.acquire()
        future = coro.send(None)
        assert asyncio.isfuture(future) and list(locked._waiters) == [future]
        assert future._asyncio_future_blocking
        with pytest.raises(RuntimeError, match="await wasn't used with future"):
            coro.send(None)
        assert not locked._waiters
        coro = locked.acquire()
        future = coro.send(None)
        future._asyncio_future_blocking = False
        assert coro.send(5) is future
        future.set_result(None)
        with pytest.raises(StopIteration):
            coro.send("anything")
        coro = locked.acquire()
        coro.send(None)
        assert coro.close() is None
        assert not locked._waiters
        coro = locked.acquire()
        coro.send(None)
        with pytest.raises(KeyError):
            coro.throw(KeyError, KeyError("x")) if sys.version_info < (3, 12) else coro.throw(KeyError("x"))
        assert not locked._waiters

    run(main())


def test_states(run, locked):
    async def main():
        coro = locked.acquire()
        states = [inspect.getcoroutinestate(coro)]
        coro.send(None)
        states.append(inspect.getcoroutinestate(coro))
        assert coro.cr_await is not None and not coro.cr_running
        coro.close()
        states.append(inspect.getcoroutinestate(coro))
        assert coro.cr_await is None and coro.cr_frame is None
        return states

    assert run(main()) == [inspect.CORO_CREATED, inspect.CORO_SUSPENDED, inspect.CORO_CLOSED]


def test_what_is_shown(run, locked, debug):
    async def main():
        coro = locked.acquire()
        assert repr(coro).startswith("<coroutine object Lock.acquire at 0x")
        assert coro.__name__ == "acquire" and coro.__qualname__ == "Lock.acquire"
        assert coro.cr_code is asyncio.Lock.acquire.__code__
        assert coro.cr_frame.f_code is coro.cr_code
        assert coro.cr_frame.f_globals is vars(asyncio.locks)
        assert (coro.cr_origin is not None) is debug
        task = asyncio.create_task(coro)
        await asyncio.sleep(0)
        assert "coro=<Lock.acquire() running at " in repr(task)
        (frame,) = task.get_stack()
        assert frame.f_code.co_name == "acquire"
        assert isinstance(frame.f_locals, types.MappingProxyType | dict) or frame.f_locals is not None
        task.cancel()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs")
def test_call_graph(run, locked):
    async def main():
        task = asyncio.create_task(locked.acquire())
        await asyncio.sleep(0)
        text = asyncio.format_call_graph(task)
        task.cancel()
        return text

    assert "Lock.acquire()" in run(main())


def test_kinds(run, sync):
    async def main():
        coro = sync.Lock().acquire()
        answers = asyncio.iscoroutine(coro), inspect.isawaitable(coro), isinstance(coro, types.CoroutineType)
        coro.close()
        return answers[:2]

    assert run(main()) == (True, True)
    lock = sync.Lock()
    for method in (lock.acquire, type(lock).acquire, lock.__aenter__, sync.Event().wait):
        assert asyncio.iscoroutinefunction(method) if sys.version_info < (3, 14) else True
        assert inspect.iscoroutinefunction(method) or sys.version_info < (3, 12)
    for method in (lock.release, lock.locked, sync.Event().set):
        assert not inspect.iscoroutinefunction(method)
        assert not hasattr(method, "_is_coroutine_marker")


def test_mocks_know_coroutine_functions(sync):
    fake = mock.MagicMock(spec=sync.Lock)
    assert isinstance(fake.acquire, mock.AsyncMock)
    assert not isinstance(fake.release, mock.AsyncMock)
    assert isinstance(mock.AsyncMock(spec=sync.Lock()).acquire, mock.AsyncMock)


def test_signatures(sync):
    assert str(inspect.signature(sync.Lock)) == "()"
    assert str(inspect.signature(sync.Lock().acquire)) == "()"
    assert list(inspect.signature(sync.Lock.acquire).parameters) == ["self"]
    assert str(inspect.signature(sync.Lock().__aexit__)) == "(exc_type, exc, tb)"


def test_awaited_twice(run, locked):
    async def await_it(coro):
        await coro

    async def main():
        coro = locked.acquire()
        first = asyncio.create_task(await_it(coro))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="coroutine is being awaited already"):
            await coro
        locked.release()
        await first
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await coro

    run(main())


def test_a_generator_may_yield_from_it(run, sync):
    @types.coroutine
    def acquire(lock):
        return (yield from lock.acquire())

    async def main():
        lock = sync.Lock()
        assert await acquire(lock) is True
        later = asyncio.create_task(acquire_of(acquire, lock))
        await asyncio.sleep(0)
        lock.release()
        return await later

    async def acquire_of(acquire, lock):
        return await acquire(lock)

    assert run(main()) is True


def test_dropped_while_it_waits(run, locked):
    async def main():
        coro = locked.acquire()
        coro.send(None)
        assert len(locked._waiters) == 1
        del coro
        gc.collect()
        return len(locked._waiters)

    assert run(main()) == 0


def test_weak_references(run, sync):
    async def main():
        coro = sync.Lock().acquire()
        ref = weakref.ref(coro)
        assert ref() is coro
        await coro
        del coro
        gc.collect()
        return ref()

    assert run(main()) is None


def test_run_from_within(run, sync):
    """Sending to what runs already is refused: its waiter sends when it is looked at."""
    answers = []

    class Waiter:
        def cancelled(self):
            try:
                coro.send(None)
            except ValueError as exc:
                answers.append(str(exc))
            return True

    async def main():
        nonlocal coro
        lock = sync.Lock()
        lock._waiters = [Waiter()]
        coro = lock.acquire()
        await coro
        lock = sync.Lock()
        lock._waiters = asyncio.Queue()._getters
        lock._waiters.append(Waiter())
        coro = lock.acquire()
        await coro

    coro = None
    run(main())
    assert answers == ["coroutine already executing"] * 2


def test_many_threads_send_to_one(sync):
    """Each gets an end of it or is refused."""
    seen = []

    def send(coro, barrier):
        barrier.wait()
        try:
            coro.send(None)
        except (StopIteration, RuntimeError, ValueError) as exc:
            seen.append(type(exc))

    async def make():
        return [sync.Lock().acquire() for _ in range(50)]

    for coro in loopmod.run(make()):
        barrier = threading.Barrier(4)
        threads = [threading.Thread(target=send, args=(coro, barrier)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(seen) == 200 and seen.count(StopIteration) == 50


def test_a_loop_that_is_closed(sync, new_loop):
    """What was made on a loop may end after it."""

    async def make():
        return sync.Lock().acquire()

    loop = new_loop()
    coro = loop.run_until_complete(make())
    loop.close()
    with pytest.raises(StopIteration) as caught:
        coro.send(None)
    assert caught.value.value is True


def test_run_by_another_loop(sync, new_loop):
    """Made in a run of one loop, it waits on the one that runs it."""

    async def make():
        return lock.acquire()

    async def wait(coro):
        task = asyncio.create_task(await_it(coro))
        await asyncio.sleep(0)
        lock.release()
        return await task

    async def await_it(coro):
        return await coro

    lock = sync.Lock()
    lock._locked = True
    coro = loopmod.run(make())
    assert new_loop().run_until_complete(wait(coro)) is True
