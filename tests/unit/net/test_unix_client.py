"""Unix connections: by path and over a socket, refused ones, bad arguments, cancellation.

Covers create_unix_connection over our transports. Relies on unix_support.
"""

import asyncio
import socket

import pytest
from tcp_support import BIG, Recorder, pattern, recv_all, turns
from unix_support import leave_stale, no_fd_left, refused

pytestmark = pytest.mark.timeout(60)


def connect(*args, factory=Recorder, **options):
    return asyncio.get_running_loop().create_unix_connection(factory, *args, **options)


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "s"))
        sock.listen()
        sock.setblocking(False)
        yield sock


def test_bytes_and_ends(run, errors, tmp_path, listener):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await connect(tmp_path / "s")
        assert protocol.transport is transport and protocol.events == ["made"]
        peer, _ = await loop.sock_accept(listener)
        transport.write(pattern(BIG))
        transport.write_eof()
        assert await recv_all(peer) == pattern(BIG)
        await loop.sock_sendall(peer, pattern(BIG, 2))
        peer.close()
        assert await protocol.lost is None
        assert protocol.received == pattern(BIG, 2)
        assert protocol.events == ["made", "pause", "resume", "data", "eof", "lost"]

    run(main())
    assert errors == []


def test_connected_socket_given(run, errors):
    async def main():
        near, far = socket.socketpair()
        with far:
            transport, protocol = await connect(sock=near)
            assert near.gettimeout() == 0
            assert transport.get_extra_info("peername") == ""
            assert transport.get_extra_info("socket").fileno() == near.fileno()
            far.send(b"hello")
            assert await protocol.until_received(5) == b"hello"
            transport.close()
            await protocol.lost
            assert near.fileno() == -1

    run(main())
    assert errors == []


@pytest.mark.parametrize("what", ["missing", "stale", "file", "directory"])
def test_refused(run, tmp_path, what):
    path = tmp_path / "x"
    {"missing": lambda: None, "stale": lambda: leave_stale(path), "file": path.touch, "directory": path.mkdir}[what]()

    async def main():
        error = FileNotFoundError if what == "missing" else ConnectionRefusedError
        with no_fd_left(), pytest.raises(error):
            await connect(path)

    run(main())


def test_unusable_names(run):
    async def main():
        for name, error in (("x" * 200, OSError), (b"\0" + b"x" * 200, OSError), (5, TypeError)):
            with no_fd_left(), pytest.raises(error):
                await connect(name)

    run(main())


def test_protocol_factory_raises(run, tmp_path, listener):
    def factory():
        raise ZeroDivisionError

    async def main():
        with pytest.raises(ZeroDivisionError):
            await connect(tmp_path / "s", factory=factory)

    run(main())


ONLY_SSL = "is only meaningful with ssl"
BAD = [
    ({}, ValueError, "no path and sock were specified"),
    ({"path": "x", "sock": "unix"}, ValueError, "path and sock can not be specified at the same time"),
    ({"sock": "inet"}, ValueError, "A UNIX Domain Stream Socket was expected, got"),
    ({"sock": "datagram"}, ValueError, "A UNIX Domain Stream Socket was expected, got"),
    ({"path": "x", "server_hostname": "y"}, ValueError, f"server_hostname {ONLY_SSL}"),
    ({"path": "x", "ssl_handshake_timeout": 1}, ValueError, f"ssl_handshake_timeout {ONLY_SSL}"),
    ({"path": "x", "ssl_shutdown_timeout": 1}, ValueError, f"ssl_shutdown_timeout {ONLY_SSL}"),
    ({"path": "x", "ssl": "context"}, ValueError, "you have to pass server_hostname when using ssl"),
    ({"path": "x", "ssl": True}, ValueError, "you have to pass server_hostname when using ssl"),
    ({"path": "x", "nonsense": 1}, TypeError, "nonsense"),
]


@pytest.mark.parametrize(("arguments", "error", "text"), BAD)
def test_bad_arguments(run, arguments, error, text):
    run(refused(connect, arguments, error, text))


@pytest.mark.parametrize("after", range(4))
def test_cancelled(run, errors, tmp_path, listener, after):
    """Whichever turn the cancellation meets, nothing stays open."""

    async def main():
        loop = asyncio.get_running_loop()
        with no_fd_left():
            task = loop.create_task(connect(tmp_path / "s"))
            await turns(after)
            task.cancel()
            try:
                transport, protocol = await task
            except asyncio.CancelledError:
                await turns()
            else:
                transport.abort()
                await protocol.lost
            peer, _ = await loop.sock_accept(listener) if after else (None, None)
            if peer is not None:
                assert await recv_all(peer) == b""
                peer.close()

    run(main())
    assert errors == []
