"""What another thread finds of a running loop at the edges of the table: objects that it makes, compares and drops.

Without the GIL; docs/threads.md has the table. Relies on the fixtures of tests/conftest.py.
"""

import asyncio
import contextlib
import gc
import os
import socket
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from gil_support import HAS_GIL
from loop_support import give, until
from thread_support import elsewhere

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(HAS_GIL, reason="with the GIL these work as asyncio's"),
]


@pytest.fixture(autouse=True)
def only_ours(kind):
    if kind == "asyncio":
        pytest.skip("asyncio refuses nothing of it")


def test_a_task_for_a_loop_of_another_thread(run, task_type):
    async def main():
        loop = asyncio.get_running_loop()
        coroutine = give(1)
        found = elsewhere(lambda: task_type(coroutine, loop=loop))
        coroutine.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return found

    assert isinstance(run(main()), RuntimeError)


def test_a_future_begun_anew(run):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        future.set_result("kept")
        task = loop.create_task(give("kept"))
        found = elsewhere(lambda: future.__init__(loop=loop)), elsewhere(lambda: task.__init__(None, loop=loop))
        assert await future == await task == "kept"
        return found

    assert all(isinstance(found, RuntimeError) for found in run(main()))


def test_what_is_read_while_the_loop_writes_it(loop, errors):
    """By a thread that never stops asking. Whose exception it has seen is not reported as one that nobody saw."""
    shared = [None, True]
    loop.set_debug(False)  # where it is on, the end of a future is long

    def ask():
        seen = set()
        while shared[1]:
            future = shared[0]
            if future is None:
                loop.set_debug(loop.get_debug())
                continue
            future._asyncio_future_blocking
            seen.add((loop._join_writes, loop._timer_slack, loop._lookup_threads, loop._has_own_select))
            if future.done():
                shared[0] = None
                with pytest.raises(LookupError):
                    future.result()
        return seen

    async def write():
        for number in range(100):
            loop._timer_slack = number % 2 / 8
            loop._join_writes = number % 2
            shared[0] = future = loop.create_future()
            await asyncio.sleep(0)
            future.set_exception(LookupError())
            del future
            while shared[0] is not None:
                await asyncio.sleep(0)
        shared[1] = False

    async def main():
        asking = loop.run_in_executor(None, ask)
        await write()
        return await asking

    threads = loop._lookup_threads
    assert loop.run_until_complete(main()) <= {(a, b, threads, False) for a in (0, 1) for b in (0, 0.125, 0.0002)}
    gc.collect()
    assert errors == []


def test_of_a_transport_less_is_shown(run):
    async def main():
        near, far = socket.socketpair()
        transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=near)
        names = ("_conn_lost", "_eof", "_protocol_connected")
        shown = [getattr(transport, name) for name in names]
        found = elsewhere(lambda: [getattr(transport, name) for name in names])
        transport.abort()
        await asyncio.sleep(0)
        far.close()
        return shown, found

    assert run(main()) == ([0, False, True], [None, None, None])


def test_timers_compared(run):
    async def main():
        loop = asyncio.get_running_loop()
        early, late = (loop.call_at(loop.time() + 60, int) for _ in range(2))
        same = loop.call_at(late.when(), int)
        found = elsewhere(lambda: (early < late, early != late, hash(same) == hash(late)))
        refused = elsewhere(lambda: late == same)
        assert late == same
        for timer in (early, late, same):
            timer.cancel()
        return found, refused

    found, refused = run(main())
    assert found == (True, True, True)
    assert isinstance(refused, RuntimeError)


def test_an_await_of_what_is_pending(run):
    async def main():
        future = asyncio.get_running_loop().create_future()
        assert elsewhere(lambda: next(iter(future))) is future  # who awaits it there says that it is another loop's
        future._asyncio_future_blocking = False
        assert next(iter(future)) is future
        future._asyncio_future_blocking = False
        waiting = iter(future)
        assert elsewhere(waiting.close) is None
        future.set_result("value")
        assert elsewhere(lambda: future.__await__().send) is not None
        with pytest.raises(StopIteration) as info:
            next(waiting)
        assert info.value.value in (None, "value")  # a running loop keeps its future to itself
        return elsewhere(lambda: asyncio.run(wait(future)))

    async def wait(future):
        return await future

    assert run(main()) == "value"


def test_attributes_that_end_a_run(run):
    async def main():
        loop = asyncio.get_running_loop()
        found = elsewhere(lambda: setattr(loop, "_closed", True))
        elsewhere(lambda: setattr(loop, "_thread_id", None))
        assert loop.is_running() and not loop.is_closed()
        return found

    assert isinstance(run(main()), RuntimeError)


@pytest.mark.parametrize("is_cycle", [False, True])
def test_a_transport_dropped_in_another_thread(run, is_cycle):
    """It is closed by the loop's own thread, with the warning of every transport that is not closed."""

    class Paused(asyncio.Protocol):
        def connection_made(self, transport):
            transport.pause_reading()

    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        number = near.fileno()
        things = [await loop.create_connection(Paused, sock=near)]
        del near
        await asyncio.sleep(0)
        if is_cycle:
            things.append(things)
        box = [things]
        del things

        def drop():
            box.clear()
            gc.collect()

        elsewhere(drop)
        far.setblocking(False)
        assert await loop.sock_recv(far, 1) == b""
        with pytest.raises(OSError):
            os.fstat(number)
        far.close()

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(main())
    assert any("unclosed transport" in str(warning.message) for warning in caught)


def test_a_server_looked_at(run):
    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        peers = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(3)]
        await until(lambda: server._active_count == 3)
        found = elsewhere(lambda: (server._active_count, len(server._clients)))
        for peer in peers:
            peer.close()
        server.close()
        await until(lambda: server._active_count == 0)
        return found

    assert run(main()) == (3, 3)


class Slow:
    """A name whose text is asked for within a call that has the loop, and is given when `release` is set."""

    def __init__(self):
        self.asked, self.release = threading.Event(), threading.Event()

    def __str__(self):
        self.asked.set()
        assert self.release.wait(30)
        return "slow"


@contextlib.contextmanager
def one_call(loop):
    """Another thread has the idle loop for a call."""
    slow = Slow()
    thread = threading.Thread(target=lambda: loop.create_task(give("slow"), name=slow))
    thread.start()
    assert slow.asked.wait(30)
    yield slow.release
    slow.release.set()
    thread.join()


def test_a_call_waits_for_one_of_another_thread(loop):
    """A collector ends objects in any thread: that is not to make a runner's next call fail."""
    with one_call(loop) as release:
        threading.Timer(0.02, release.set).start()
        task = loop.create_task(give("given"))
    assert loop.run_until_complete(task) == "given"
    with one_call(loop) as release:
        threading.Timer(0.02, release.set).start()
        assert loop.run_until_complete(asyncio.sleep(0, "run")) == "run"


def test_a_call_does_not_wait_for_ever(loop):
    coroutine = give("given")
    with one_call(loop), pytest.raises(RuntimeError, match="call_soon_threadsafe|Non-thread-safe"):
        loop.create_task(coroutine)
    assert loop.run_until_complete(coroutine) == "given"


def test_calls_of_several_threads(loop):
    """None is refused, whenever in its call the one that comes before it is."""
    future = loop.create_future()
    all_there = threading.Barrier(3)

    def calls(callback):
        all_there.wait(30)
        for _ in range(100000):
            future.add_done_callback(callback)
            future.remove_done_callback(callback)
        return "made"

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(calls, [id, repr, print])) == ["made"] * 3
    assert not future._callbacks
