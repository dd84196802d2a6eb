"""What another thread finds of a running loop at the edges of the table: objects that it makes, compares and drops.

Without the GIL; docs/threads.md has the table. Relies on the fixtures of tests/conftest.py.
"""

import asyncio
import gc
import os
import socket
import warnings

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
