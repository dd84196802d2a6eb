"""`sock_*` while they wait: cancelled, replaced, closed, descriptors that come again; what stays watched.

Covers net/sockops.c and poll/once.c. Relies on the fixtures of tests/conftest.py and on tcp_support. Where asyncio
itself would hang, the test says so and runs on loopmod alone.
"""

import asyncio
import contextlib
import os
import socket
import ssl

import pytest
from tcp_support import (
    BIG,
    Recorder,
    connected,
    only_loopmod,
    open_fds,
    pattern,
    recv_exactly,
    tcp_pair,
    turns,
    unix_pair,
)

pytestmark = pytest.mark.timeout(30)


def fill(sock):
    """Send until the socket takes no more; return how much that was."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            sent += sock.send(bytes(65536))
    return sent


async def waiting(coro, loop):
    task = loop.create_task(coro)
    await turns(2)
    assert not task.done()
    return task


async def cancelled(task):
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        await task


async def check_well(loop, sock, peer):
    """The socket still receives, at once and after a wait, and nothing is lost."""
    peer.send(b"at once")
    assert await loop.sock_recv(sock, 100) == b"at once"
    task = await waiting(loop.sock_recv(sock, 100), loop)
    peer.send(b"later")
    assert await asyncio.wait_for(task, 10) == b"later"


READS = {
    "sock_recv": lambda: (10,),
    "sock_recv_into": lambda: (bytearray(10),),
    "sock_recvfrom": lambda: (10,),
    "sock_recvfrom_into": lambda: (bytearray(10),),
}


@pytest.mark.parametrize("name", READS)
def test_a_cancelled_read_leaves_nothing(run, loop, stream_pair, name):
    near, far = stream_pair

    async def main():
        for _ in range(3):
            task = await waiting(getattr(loop, name)(near, *READS[name]()), loop)
            await cancelled(task)
            assert loop.remove_reader(near) is False
        await check_well(loop, near, far)

    run(main())


def test_a_cancelled_write_leaves_nothing(run, loop, stream_pair):
    near, far = stream_pair
    data = bytearray(BIG)

    async def main():
        for _ in range(3):
            task = await waiting(loop.sock_sendall(near, data), loop)
            with pytest.raises(BufferError):
                data.append(1)
            await cancelled(task)
            del task
            assert loop.remove_writer(near) is False
        await turns(2)
        data.append(1)
        data.pop()

    run(main())


def test_a_cancelled_accept_takes_no_connection(run, loop):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            for _ in range(2):
                await cancelled(await waiting(loop.sock_accept(listener), loop))
                assert loop.remove_reader(listener) is False
            with socket.create_connection(listener.getsockname()) as near:
                far, address = await loop.sock_accept(listener)
                assert address == near.getsockname()
                far.close()

    run(main())


def test_cancelled_when_ready_loses_no_data(run, loop, stream_pair):
    near, far = stream_pair

    async def main():
        # Cancelled in the very turn in which it would have read.
        task = await waiting(loop.sock_recv(near, 100), loop)
        far.send(b"data")
        await cancelled(task)
        assert await loop.sock_recv(near, 100) == b"data"

    run(main())


def test_timeouts(run, loop, stream_pair):
    near, far = stream_pair

    async def main():
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_recv(near, 100), 0.01)
        await check_well(loop, near, far)

    run(main())


@pytest.mark.parametrize("how", ["close", "throw"])
def test_a_coroutine_driven_by_hand(loop, stream_pair, how):
    near, far = stream_pair
    coro = loop.sock_recv(near, 100)

    async def begin():
        future = coro.send(None)
        assert asyncio.isfuture(future) and not future.done()
        if how == "close":
            coro.close()
        else:
            with pytest.raises(LookupError):
                coro.throw(LookupError("by hand"))
        loop.remove_reader(near)
        await check_well(loop, near, far)

    loop.run_until_complete(begin())


def test_both_directions_at_once(run, loop, stream_pair):
    near, far = stream_pair
    data = pattern(BIG)

    async def main():
        reading = await waiting(recv_exactly(near, len(data)), loop)
        writing = loop.create_task(loop.sock_sendall(near, data))
        back = loop.create_task(loop.sock_sendall(far, data))
        assert await recv_exactly(far, len(data)) == data
        assert await reading == data
        await asyncio.gather(writing, back)

    run(main())


def test_the_other_direction_waits_on(run, loop, stream_pair):
    near, far = stream_pair

    async def main():
        full = fill(near)
        writing = await waiting(loop.sock_sendall(near, b"last"), loop)
        for _ in range(2):
            await cancelled(await waiting(loop.sock_recv(near, 10), loop))
        reading = await waiting(loop.sock_recv(near, 10), loop)
        far.send(b"data")
        assert await reading == b"data"
        await turns(2)
        assert not writing.done()
        assert (await recv_exactly(far, full + 4))[-4:] == b"last"
        await writing

    run(main())


def test_the_second_reader_replaces_the_first(run, loop, stream_pair):
    near, far = stream_pair

    async def main():
        first = await waiting(loop.sock_recv(near, 100), loop)
        second = await waiting(loop.sock_recv(near, 100), loop)
        far.send(b"data")
        assert await second == b"data"
        await turns(3)
        assert not first.done()
        third = await waiting(loop.sock_recv(near, 100), loop)
        await cancelled(first)
        far.send(b"more")
        assert await third == b"more"

    run(main())


def test_a_callback_replaces_an_operation(run, loop, stream_pair):
    near, far = stream_pair
    seen = asyncio.Queue()

    async def main():
        task = await waiting(loop.sock_recv(near, 100), loop)
        loop.add_reader(near, lambda: seen.put_nowait(near.recv(100)))
        far.send(b"data")
        assert await seen.get() == b"data"
        assert not task.done()
        await cancelled(task)
        far.send(b"more")
        assert await seen.get() == b"more"
        assert loop.remove_reader(near) is True

    run(main())


def test_an_operation_replaces_a_callback(run, loop, stream_pair):
    near, far = stream_pair
    seen = []

    async def main():
        loop.add_reader(near, seen.append, "called")
        task = await waiting(loop.sock_recv(near, 100), loop)
        far.send(b"data")
        assert await task == b"data"
        far.send(b"more")
        await turns(5)
        assert seen == []
        assert loop.remove_reader(near) is False
        assert await loop.sock_recv(near, 100) == b"more"

    run(main())


def test_remove_reader_takes_an_operation_away(run, loop, stream_pair):
    near, far = stream_pair

    async def main():
        task = await waiting(loop.sock_recv(near, 100), loop)
        assert loop.remove_reader(near) is True
        far.send(b"data")
        await turns(5)
        assert not task.done()
        await cancelled(task)
        assert await loop.sock_recv(near, 100) == b"data"

    run(main())


def test_many_sockets(run, loop):
    async def echo(sock):
        while data := await loop.sock_recv(sock, 100):
            await loop.sock_sendall(sock, data)

    async def main():
        with contextlib.ExitStack() as stack:
            pairs = [unix_pair() for _ in range(150)]
            for near, far in pairs:
                stack.enter_context(near)
                stack.enter_context(far)
            servers = [loop.create_task(echo(far)) for _, far in pairs]
            for number in range(5):
                reading = [loop.create_task(loop.sock_recv(near, 100)) for near, _ in pairs]
                await turns(1)
                for index, (near, _) in enumerate(pairs):
                    near.send(b"%d %d" % (number, index))
                assert await asyncio.gather(*reading) == [b"%d %d" % (number, index) for index in range(150)]
            for near, _ in pairs:
                near.shutdown(socket.SHUT_WR)
            await asyncio.gather(*servers)

    run(main())


# Descriptors that change behind the loop's back


@pytest.mark.parametrize("done", [False, True], ids=["cancelled", "done"])
def test_the_number_of_a_closed_socket_comes_again(run, loop, done):
    async def main():
        for _ in range(20):
            near, far = unix_pair()
            fd = near.fileno()
            task = await waiting(loop.sock_recv(near, 100), loop)
            if done:
                far.send(b"x")
                assert await task == b"x"
            near.close()
            if not done:
                await cancelled(task)
            far.close()
            near, far = unix_pair()
            with near, far:
                assert near.fileno() == fd
                task = await waiting(loop.sock_recv(near, 100), loop)
                far.send(b"data")
                assert await asyncio.wait_for(task, 10) == b"data"

    run(main())


def test_another_file_is_put_under_the_number(run, loop):
    async def main():
        near, far = unix_pair()
        other, peer = unix_pair()
        with near, far, other, peer:
            task = await waiting(loop.sock_recv(near, 100), loop)
            far.send(b"x")
            await task
            os.dup2(other.fileno(), near.fileno())
            await check_well(loop, near, peer)

    run(main())


def test_a_copy_of_a_closed_socket_is_open(run, loop):
    async def main():
        near, far = unix_pair()
        with far:
            fd = near.fileno()
            task = await waiting(loop.sock_recv(near, 100), loop)
            far.send(b"x")
            await task
            with near.dup() as copy:
                near.close()
                second = unix_pair()
                with second[0], second[1]:
                    assert second[0].fileno() == fd
                    far.send(b"for the copy")
                    await check_well(loop, *second)
                await check_well_after(loop, copy, far)

    async def check_well_after(loop, copy, far):
        assert await loop.sock_recv(copy, 100) == b"for the copy"
        await check_well(loop, copy, far)

    run(main())


def test_closed_while_it_waits(run, loop, stream_pair):
    near, far = stream_pair

    async def main():
        reading = await waiting(loop.sock_recv(near, 100), loop)
        fill(near)
        writing = await waiting(loop.sock_sendall(near, b"last"), loop)
        near.close()
        await turns(5)
        for task in (reading, writing):
            if not task.done():
                await cancelled(task)
        await check_loop(loop)

    async def check_loop(loop):
        with contextlib.closing(socket.socketpair()[0]), contextlib.ExitStack() as stack:
            fresh = unix_pair()
            for sock in fresh:
                stack.enter_context(sock)
            await check_well(loop, *fresh)

    run(main())


def test_closed_while_it_waits_with_a_copy_open(run, loop):
    # The kernel still reports the number; the call then finds the socket closed.
    async def main():
        near, far = unix_pair()
        with far:
            task = await waiting(loop.sock_recv(near, 100), loop)
            with near.dup():
                near.close()
                far.send(b"data")
                with pytest.raises(OSError, match="Bad file descriptor"):
                    await asyncio.wait_for(task, 10)

    run(main())


def test_a_new_socket_under_the_number_of_one_that_is_waited_for(run, loop, kind):
    only_loopmod(kind, "asyncio takes the number for watched and never tells the kernel")

    async def main():
        near, far = unix_pair()
        fd = near.fileno()
        task = await waiting(loop.sock_recv(near, 100), loop)
        near.close()
        far.close()
        near, far = unix_pair()
        with near, far:
            assert near.fileno() == fd
            await check_well(loop, near, far)
        await cancelled(task)

    run(main())


def test_a_child_process_waits_by_itself(new_loop, kind):
    only_loopmod(kind, "asyncio shares its epoll with the child")
    loop = new_loop()
    near, far = unix_pair()
    mine, yours = unix_pair()

    async def talk(sock, peer):
        await check_well(loop, sock, peer)

    with near, far, mine, yours:
        loop.run_until_complete(talk(near, far))
        task = loop.create_task(loop.sock_recv(near, 100))
        loop.run_until_complete(asyncio.sleep(0))
        child = os.fork()
        if child == 0:
            status = 1
            with contextlib.suppress(BaseException):
                loop.run_until_complete(asyncio.wait_for(talk(mine, yours), 10))
                task.cancel()
                loop.run_until_complete(asyncio.wait([task]))
                status = 0
            os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        far.send(b"the parent's")
        assert loop.run_until_complete(asyncio.wait_for(task, 10)) == b"the parent's"


# With the rest of the loop


def test_a_transport_owns_its_descriptor(run, loop):
    async def main():
        async with connected() as (transport, _, _):
            sock = transport._sock
            with pytest.raises(RuntimeError, match=f"File descriptor {sock.fileno()} is used by transport"):
                await loop.sock_recv(sock, 100)
            with pytest.raises(RuntimeError, match="is used by transport"):
                await loop.sock_sendall(sock, bytes(BIG))

        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
        with pytest.raises(RuntimeError, match="is used by transport"):
            await loop.sock_recv(transport._sock, 100)
        transport.close()
        await turns(2)

    run(main())


def test_a_transport_on_a_socket_that_was_awaited(run, loop):
    async def main():
        near, far = tcp_pair()
        with far:
            await check_well(loop, near, far)
            transport, protocol = await loop.create_connection(Recorder, sock=near)
            for number in range(3):
                far.send(b"x")
                await protocol.until_received(number + 1)
            transport.close()
            await protocol.lost

    run(main())


def test_no_descriptor_is_opened_by_waiting(run, loop, stream_pair):
    near, far = stream_pair

    async def main():
        before = open_fds()
        await check_well(loop, near, far)
        fill(near)
        await cancelled(await waiting(loop.sock_sendall(near, b"x"), loop))
        assert open_fds() == before

    run(main())


def test_closing_the_loop_ends_what_waits(new_loop, stream_pair):
    near, far = stream_pair
    loop = new_loop()
    task = loop.create_task(loop.sock_recv(near, 100))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    far.send(b"data")
    assert not task.done()
    task._log_destroy_pending = False
    # Another loop has it to itself.
    other = new_loop()
    assert other.run_until_complete(other.sock_recv(near, 100)) == b"data"


def test_on_a_closed_loop(new_loop, stream_pair):
    near, far = stream_pair
    loop = new_loop()
    loop.close()
    coro = loop.sock_recv(near, 100)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        coro.send(None)


def test_tls_refusal_comes_before_all_else(run, loop):
    # A subclass of SSLSocket, too, and whatever its state.
    class Own(ssl.SSLSocket):
        def gettimeout(self):
            raise AssertionError("asked")

    async def main():
        with pytest.raises(TypeError):
            await loop.sock_recv(Own.__new__(Own), 1)

    run(main())
