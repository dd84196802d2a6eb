"""TCP transports over a socket that the caller gives, the arguments that are refused, and sock_connect.

Covers net/stream.c and sock_connect in net/sockops.c. Relies on the fixtures of net/conftest.py.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
import sys

import pytest
from tcp_support import Recorder, drop, tcp_pair, turns

pytestmark = pytest.mark.timeout(60)


BOTH = "host/port and sock can not be specified at the same time"
ONLY_SSL = "is only meaningful with ssl"
BAD = [
    ({}, ValueError, "host and port was not specified and no sock specified"),
    (
        {"host": "127.0.0.1", "sock": "stream"},
        ValueError,
        "host/port and sock can not be specified at the same time",
    ),
    ({"port": 1, "sock": "stream"}, ValueError, BOTH),
    ({"sock": "datagram"}, ValueError, "A Stream Socket was expected, got"),
    ({"sock": "tls"}, TypeError, "Socket cannot be of type SSLSocket"),
    ({"sock": "stream", "server_hostname": "x"}, ValueError, f"server_hostname {ONLY_SSL}"),
    (
        {"sock": "stream", "ssl": True},
        ValueError,
        "You must set server_hostname when using ssl",
    ),
    (
        {"sock": "stream", "ssl_handshake_timeout": 1},
        ValueError,
        "ssl_handshake_timeout is only meaningful with ssl",
    ),
    (
        {"sock": "stream", "ssl_shutdown_timeout": 1},
        ValueError,
        "ssl_shutdown_timeout is only meaningful with ssl",
    ),
]


def make_socket(what):
    if what == "datagram":
        return socket.socket(type=socket.SOCK_DGRAM)
    if what == "tls":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        return context.wrap_socket(socket.socket(), do_handshake_on_connect=False)
    return socket.socket()


@pytest.mark.parametrize(("arguments", "error", "text"), BAD)
def test_bad_arguments(run, arguments, error, text):
    async def main():
        loop = asyncio.get_running_loop()
        given = dict(arguments)
        with contextlib.ExitStack() as stack:
            if "sock" in given:
                given["sock"] = stack.enter_context(make_socket(given["sock"]))
            with pytest.raises(error) as caught:
                await loop.create_connection(Recorder, **given)
            assert text in str(caught.value)
            if set(given) & {"host", "port", "server_hostname", "ssl"} or not given:
                return
            with pytest.raises(error) as caught:
                await loop.connect_accepted_socket(Recorder, **given)
            assert text in str(caught.value)
            assert given["sock"].fileno() >= 0

    run(main())


@pytest.mark.parametrize("method", ["create_connection", "connect_accepted_socket"])
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_connected_socket_given(run, method, unix):
    async def main():
        near, far = socket.socketpair() if unix else tcp_pair()
        near.setblocking(True)
        far.setblocking(False)
        transport, protocol = await getattr(asyncio.get_running_loop(), method)(Recorder, sock=near)
        assert near.gettimeout() == 0
        assert transport.get_extra_info("socket").fileno() == near.fileno()
        assert transport.get_extra_info("peername") == far.getsockname()
        far.send(b"abc")
        assert await protocol.until_received(3) == b"abc"
        transport.close()
        assert await protocol.lost is None
        assert near.fileno() == -1
        far.close()

    run(main())


def test_unconnected_socket_given(run, errors):
    async def main():
        transport, protocol = await asyncio.get_running_loop().create_connection(Recorder, sock=socket.socket())
        assert transport.get_extra_info("peername") is None
        exc = await protocol.lost
        assert isinstance(exc, OSError) and exc.errno == errno.ENOTCONN

    run(main())
    assert errors == []


def stock_closes_what_it_refuses():
    """Whether this release's create_connection closes the socket it was given when no transport comes of it."""

    async def main():
        near, far = tcp_pair()
        with contextlib.suppress(ZeroDivisionError):
            await asyncio.get_running_loop().create_connection(lambda: 1 / 0, sock=near)
        far.close()
        return near.fileno() == -1

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(main())


def test_socket_without_a_transport(run):
    closes = stock_closes_what_it_refuses()

    async def main():
        near, far = tcp_pair()
        with pytest.raises(ZeroDivisionError):
            await asyncio.get_running_loop().create_connection(lambda: 1 / 0, sock=near)
        assert (near.fileno() == -1) is closes
        near.close()
        far.close()

    run(main())


def test_fd_of_a_transport_is_guarded(run):
    closes = stock_closes_what_it_refuses()

    async def main():
        loop = asyncio.get_running_loop()
        near, far = tcp_pair()
        transport, protocol = await loop.create_connection(Recorder, sock=near)
        for call in (loop.add_reader, loop.add_writer):
            with pytest.raises(RuntimeError, match="is used by transport"):
                call(near.fileno(), print)
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.remove_reader(near)
        far.send(b"ok")
        assert await protocol.until_received(2) == b"ok"
        if sys.version_info >= (3, 12):
            with pytest.raises(RuntimeError, match="is used by transport"):
                await loop.create_connection(Recorder, sock=near)
            assert (near.fileno() == -1) is closes
        drop(transport)
        far.close()
        await turns()

    run(main())


def test_sock_connect(run, listener, refusing, resolver, debug):
    resolver.names["name.test"] = [listener.getsockname()]

    async def main():
        loop = asyncio.get_running_loop()
        for host in ("127.0.0.1", "name.test"):
            with socket.socket() as sock:
                sock.setblocking(False)
                assert await loop.sock_connect(sock, (host, listener.getsockname()[1])) is None
                assert sock.getpeername() == listener.getsockname()
        with socket.socket() as sock:
            sock.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await loop.sock_connect(sock, refusing)
        if debug:
            with socket.socket() as sock, pytest.raises(ValueError, match="the socket must be non-blocking"):
                await loop.sock_connect(sock, listener.getsockname())

    run(main())


def test_sock_connect_cancelled(run, silent):
    async def main():
        loop = asyncio.get_running_loop()
        with socket.socket() as sock:
            sock.setblocking(False)
            task = loop.create_task(loop.sock_connect(sock, silent))
            await turns()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # nothing watches the fd any more
            assert loop.remove_writer(sock) is False

    run(main())
