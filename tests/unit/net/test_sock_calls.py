"""What each `sock_*` coroutine gives, refuses and raises.

Covers net/sock_calls.c. Relies on the fixtures of tests/conftest.py and on tcp_support for pairs of sockets.
Waiting, cancelling and descriptors that change behind the loop's back stand in test_sock_wait.py.
"""

import array
import asyncio
import contextvars
import errno
import inspect
import os
import socket
import ssl
from unittest import mock

import pytest
from tcp_support import BIG, only_loopmod, pattern, recv_all, recv_exactly, reset, tcp_pair, turns

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def udp():
    """Two non-blocking datagram sockets, bound."""
    with socket.socket(type=socket.SOCK_DGRAM) as near, socket.socket(type=socket.SOCK_DGRAM) as far:
        for sock in (near, far):
            sock.bind(("127.0.0.1", 0))
            sock.setblocking(False)
        yield near, far


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


CALLS = {
    "sock_recv": (10,),
    "sock_recv_into": (bytearray(10),),
    "sock_recvfrom": (10,),
    "sock_recvfrom_into": (bytearray(10),),
    "sock_sendall": (b"data",),
    "sock_sendto": (b"data", ("127.0.0.1", 9)),
    "sock_connect": (("127.0.0.1", 9),),
    "sock_accept": (),
}


@pytest.mark.parametrize("name", CALLS)
def test_is_a_coroutine(loop, name):
    method = getattr(loop, name)
    assert inspect.iscoroutinefunction(method)
    near, far = tcp_pair()
    with near, far:
        far.send(b"x")
        coro = method(near, *CALLS[name])
        assert asyncio.iscoroutine(coro) and inspect.iscoroutine(coro)
        assert inspect.getcoroutinestate(coro) == inspect.CORO_CREATED
        coro.close()
        # Nothing ran.
        assert near.recv(10) == b"x"
        with pytest.raises(BlockingIOError):
            far.recv(10)


@pytest.mark.parametrize("name", CALLS)
def test_tls_sockets_are_refused(run, loop, name):
    sock = mock.Mock(ssl.SSLSocket)
    sock.gettimeout.return_value = 0

    async def main():
        with pytest.raises(TypeError, match="Socket cannot be of type SSLSocket"):
            await getattr(loop, name)(sock, *CALLS[name])

    run(main())


@pytest.mark.parametrize("name", CALLS)
def test_blocking_sockets_are_refused_in_debug_mode(run, loop, debug, name, stream_pair):
    if not debug:
        pytest.skip("a check of debug mode")
    near, _ = stream_pair
    for timeout in (None, 1.5):
        near.settimeout(timeout)

        async def main():
            with pytest.raises(ValueError, match="the socket must be non-blocking"):
                await getattr(loop, name)(near, *CALLS[name])

    run(main())


@pytest.mark.parametrize("name", CALLS)
def test_closed_sockets_are_refused(run, loop, name):
    sock = socket.socket()
    sock.setblocking(False)
    sock.close()

    async def main():
        with pytest.raises(OSError) as caught:
            await getattr(loop, name)(sock, *CALLS[name])
        assert caught.value.errno == errno.EBADF

    run(main())


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("sock_recv", (-1,), ValueError),
        ("sock_recv", ("many",), TypeError),
        ("sock_recv", (2**70,), OverflowError),
        ("sock_recv_into", (b"fixed",), TypeError),
        ("sock_recv_into", (None,), TypeError),
        ("sock_recvfrom", (-1,), ValueError),
        ("sock_recvfrom_into", (b"fixed",), TypeError),
        ("sock_recvfrom_into", (bytearray(2), 3), ValueError),
        ("sock_recvfrom_into", (5,), TypeError),
        ("sock_sendall", ("text",), TypeError),
        ("sock_sendall", (memoryview(b"abcd")[::2],), BufferError),
        ("sock_sendto", ("text", ("127.0.0.1", 9)), TypeError),
        ("sock_connect", (5,), TypeError),
        ("sock_recv", (), TypeError),
        ("sock_accept", (1,), TypeError),
    ],
)
def test_bad_arguments(run, loop, name, args, error):
    async def main():
        near, far = tcp_pair()
        with near, far:
            with pytest.raises(error):
                await getattr(loop, name)(near, *args)
            # The socket is as it was.
            await loop.sock_sendall(far, b"still")
            assert await loop.sock_recv(near, 100) == b"still"

    run(main())


@pytest.mark.parametrize("name", CALLS)
def test_not_a_socket(run, loop, name):
    async def main():
        with pytest.raises(AttributeError):
            await getattr(loop, name)(object(), *CALLS[name])

    run(main())


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("size", [1, 4, 100, 1024 * 1024])
def test_recv(run, loop, stream_pair, size, waits):
    near, far = stream_pair

    async def main():
        if not waits:
            far.send(b"some data")
        task = loop.create_task(loop.sock_recv(near, size))
        await turns(2)
        assert task.done() is not waits
        far.send(b"some data")
        data = await task
        assert type(data) is bytes and data == b"some data"[:size]

    run(main())


def test_recv_of_nothing(run, loop, stream_pair):
    near, far = stream_pair

    async def main():
        assert await asyncio.wait_for(loop.sock_recv(near, 0), 5) == b""
        assert await asyncio.wait_for(loop.sock_recv_into(near, bytearray()), 5) == 0

    if near.family == socket.AF_INET:
        run(main())  # a Unix socket waits even for nothing


@pytest.mark.parametrize("waits", [False, True])
def test_end_of_stream(run, loop, stream_pair, waits):
    near, far = stream_pair

    async def main():
        if not waits:
            far.shutdown(socket.SHUT_WR)
        task = loop.create_task(loop.sock_recv(near, 10))
        await turns(2)
        far.close()
        assert await task == b""
        assert await loop.sock_recv(near, 10) == b""
        assert await loop.sock_recv_into(near, bytearray(3)) == 0

    run(main())


@pytest.mark.parametrize("waits", [False, True])
def test_reset_by_the_peer(run, loop, waits):
    async def main():
        near, far = tcp_pair()
        with near:
            task = loop.create_task(loop.sock_recv(near, 10)) if waits else None
            await turns(2)
            reset(far)
            with pytest.raises(ConnectionResetError):
                await (task or loop.sock_recv(near, 10))

    run(main())


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize(
    "make", [bytearray, lambda size: memoryview(bytearray(size)), lambda size: array.array("b", bytes(size))]
)
def test_recv_into(run, loop, stream_pair, make, waits):
    near, far = stream_pair
    room = make(12)

    async def main():
        if not waits:
            far.send(b"data")
        task = loop.create_task(loop.sock_recv_into(near, room))
        await turns(2)
        far.send(b"data")
        assert await task == 4
        assert bytes(room) == b"data" + bytes(8)

    run(main())


@pytest.mark.parametrize("waits", [False, True])
def test_datagrams(run, loop, udp, waits):
    near, far = udp

    async def main():
        receiving = []
        if waits:
            receiving.append(loop.create_task(loop.sock_recvfrom(near, 100)))
            await turns(2)
        assert await loop.sock_sendto(far, b"first", near.getsockname()) == 5
        received = await (receiving.pop() if waits else loop.sock_recvfrom(near, 100))
        assert received == (b"first", far.getsockname())

        room = bytearray(10)
        if waits:
            receiving.append(loop.create_task(loop.sock_recvfrom_into(near, room)))
            await turns(2)
        await loop.sock_sendto(far, b"second", near.getsockname())
        received = await (receiving.pop() if waits else loop.sock_recvfrom_into(near, room))
        assert received == (6, far.getsockname()) and room[:6] == b"second"

        await loop.sock_sendto(far, b"third", near.getsockname())
        assert await loop.sock_recvfrom_into(near, room, 3) == (3, far.getsockname())
        assert room[:6] == b"thiond"

        # An empty one is none less, and connected sockets do without an address.
        far.connect(near.getsockname())
        await loop.sock_sendall(far, b"")
        assert await loop.sock_recvfrom(near, 100) == (b"", far.getsockname())

    run(main())


def test_a_datagram_that_is_too_long(run, loop, udp):
    near, far = udp

    async def main():
        with pytest.raises(OSError) as caught:
            await loop.sock_sendto(far, bytes(70000), near.getsockname())
        assert caught.value.errno == errno.EMSGSIZE

    run(main())


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview])
def test_sendall(run, loop, stream_pair, make):
    near, far = stream_pair
    data = pattern(BIG)

    async def main():
        sending = loop.create_task(loop.sock_sendall(near, make(data)))
        assert await recv_exactly(far, len(data)) == data
        assert await sending is None
        assert await loop.sock_sendall(near, make(b"more")) is None
        assert await loop.sock_sendall(near, b"") is None
        near.shutdown(socket.SHUT_WR)
        assert await recv_all(far) == b"more"

    run(main())


@pytest.mark.parametrize("many", [False, True])
def test_sendall_of_items_that_are_no_bytes(run, loop, kind, stream_pair, many):
    if many:
        only_loopmod(kind, "asyncio counts items where it means bytes, and never ends")
    near, far = stream_pair
    data = array.array("i", range(BIG // 4 if many else 100))

    async def main():
        sending = loop.create_task(loop.sock_sendall(near, data))
        assert await recv_exactly(far, len(data) * 4) == data.tobytes()
        if many:
            await sending
        else:
            sending.cancel()
            await asyncio.wait([sending])

    run(main())


def test_sendall_to_nobody(run, loop):
    async def main():
        near, far = tcp_pair()
        with near:
            sending = loop.create_task(loop.sock_sendall(near, bytes(BIG)))
            await turns(3)
            reset(far)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                await sending
            with pytest.raises(BrokenPipeError):
                await loop.sock_sendall(near, b"x")

    run(main())


def test_connect_and_accept(run, loop, listener):
    async def main():
        accepting = loop.create_task(loop.sock_accept(listener))
        await turns(2)
        with socket.socket() as near:
            near.setblocking(False)
            assert await loop.sock_connect(near, listener.getsockname()) is None
            accepted = await accepting
            assert type(accepted) is tuple
            far, address = accepted
            with far:
                assert type(far) is socket.socket and far.gettimeout() == 0
                assert address == near.getsockname()
                await loop.sock_sendall(near, b"hello")
                assert await loop.sock_recv(far, 10) == b"hello"

        waiting = [socket.create_connection(listener.getsockname()) for _ in range(3)]
        for sock in waiting:
            far, address = await loop.sock_accept(listener)
            assert address == sock.getsockname()
            far.close()
            sock.close()

    run(main())


def test_connection_refused(run, loop):
    async def main():
        with socket.socket() as bound, socket.socket() as near:
            bound.bind(("127.0.0.1", 0))
            near.setblocking(False)
            with pytest.raises(ConnectionRefusedError) as caught:
                await loop.sock_connect(near, bound.getsockname())
            assert caught.value.errno == errno.ECONNREFUSED

    run(main())


def test_names_are_resolved_where_asyncio_does(run, loop, listener, monkeypatch, tmp_path):
    asked = []
    real = loop.getaddrinfo

    async def getaddrinfo(host, port, **kwargs):
        asked.append((host, kwargs["family"], kwargs["type"]))
        return await real("127.0.0.1", port, **kwargs)

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
    port = listener.getsockname()[1]

    async def main():
        for host in ("somewhere.test", "127.0.0.1"):
            with socket.socket() as near:
                near.setblocking(False)
                await loop.sock_connect(near, (host, port))
        assert asked == [("somewhere.test", socket.AF_INET, socket.SOCK_STREAM)]

        path = os.fspath(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as near, socket.socket(socket.AF_UNIX) as server:
            near.setblocking(False)
            with pytest.raises(FileNotFoundError):
                await loop.sock_connect(near, path)
            server.bind(path)
            server.listen()
            await loop.sock_connect(near, path)
        assert len(asked) == 1

    run(main())


def test_accept_where_nobody_listens(run, loop, stream_pair):
    near, _ = stream_pair

    async def main():
        with pytest.raises(OSError) as caught:
            await loop.sock_accept(near)
        assert caught.value.errno == errno.EINVAL

    run(main())


variable = contextvars.ContextVar("variable")


class Slow(socket.socket):
    """A socket whose methods are Python code: they note the context and say first that they would block."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.calls = []

    def _first(self, name):
        self.calls.append((name, variable.get(None)))
        if self.calls.count(self.calls[-1]) <= 2:
            raise BlockingIOError if len(self.calls) % 2 else InterruptedError

    def recv(self, *args):
        self._first("recv")
        return super().recv(*args)

    def recv_into(self, *args):
        self._first("recv_into")
        return super().recv_into(*args)

    def send(self, data):
        self._first("send")
        return super().send(bytes(data)[:3])


def test_the_socket_own_methods_are_called(run, loop):
    async def main():
        plain, far = socket.socketpair()
        with Slow(fileno=plain.detach()) as near, far:
            near.setblocking(False)
            far.setblocking(False)
            variable.set("mine")
            far.send(b"data")
            assert await loop.sock_recv(near, 100) == b"data"
            assert near.calls == [("recv", "mine")] * 3
            near.calls.clear()
            far.send(b"more")
            room = bytearray(10)
            assert await loop.sock_recv_into(near, room) == 4 and room[:4] == b"more"
            assert near.calls == [("recv_into", "mine")] * 3
            near.calls.clear()
            await loop.sock_sendall(near, b"12345678")
            assert near.calls == [("send", "mine")] * 5
            assert far.recv(100) == b"12345678"

    run(main())


def test_a_patched_method_is_called(run, loop, stream_pair, monkeypatch):
    near, far = stream_pair
    # The class inherits it, so that it is deleted again afterwards.
    monkeypatch.setattr(socket.socket, "recv", lambda self, size: b"patched", raising=False)

    async def main():
        assert await loop.sock_recv(near, 100) == b"patched"

    run(main())


@pytest.mark.parametrize("error", [LookupError, type("Own", (BaseException,), {}), StopIteration])
def test_what_a_method_raises_later(run, loop, error):
    class Failing(socket.socket):
        calls = 0

        def recv(self, size):
            self.calls += 1
            raise BlockingIOError if self.calls == 1 else error("later")

    async def main():
        plain, far = socket.socketpair()
        with Failing(fileno=plain.detach()) as near, far:
            near.setblocking(False)
            far.send(b"data")
            task = loop.create_task(loop.sock_recv(near, 100))
            if error is StopIteration:
                # It fits into no future; what comes of that differs by version.
                await asyncio.wait([task], timeout=0.05)
                task.cancel()
                await asyncio.wait([task])
            else:
                with pytest.raises(error, match="later"):
                    await task
            assert near.calls >= 2

    loop.set_exception_handler(lambda loop, context: None)
    run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_leaves_the_loop(loop, error):
    class Failing(socket.socket):
        calls = 0

        def recv(self, size):
            self.calls += 1
            raise BlockingIOError if self.calls == 1 else error

    plain, far = socket.socketpair()
    with Failing(fileno=plain.detach()) as near, far:
        near.setblocking(False)
        far.send(b"data")
        task = loop.create_task(loop.sock_recv(near, 100))
        with pytest.raises(error):
            loop.run_forever()
        task.cancel()
        loop.run_until_complete(asyncio.wait([task]))
        assert task.cancelled()


def test_a_blocking_socket_outside_debug_mode(run, loop, debug, stream_pair):
    if debug:
        pytest.skip("refused there")
    near, far = stream_pair
    near.settimeout(0.05)

    async def main():
        far.send(b"data")
        assert await loop.sock_recv(near, 100) == b"data"
        with pytest.raises(TimeoutError):
            await loop.sock_recv(near, 100)

    run(main())
