"""TCP servers: what create_server binds, which options it sets and what it refuses.

Covers net/listener.c. Relies on server_support.
"""

import contextlib
import errno
import socket
import ssl

import pytest
from loop_support import until
from server_support import SINCE_3_13, client, create, listed
from tcp_support import open_fds

pytestmark = pytest.mark.timeout(60)


def addresses(server):
    return sorted(sock.getsockname()[0] for sock in server.sockets)


@pytest.mark.parametrize("host", [None, "", ["127.0.0.1", "127.0.0.2"], ("127.0.0.1", "127.0.0.1"), "127.0.0.1"])
def test_hosts(run, host):
    async def main():
        async with await create(host, 0) as server:
            if not host:
                assert "0.0.0.0" in addresses(server) and set(addresses(server)) <= {"0.0.0.0", "::"}
            else:
                assert addresses(server) == sorted({host} if isinstance(host, str) else set(host))
            for sock in server.sockets:
                assert sock.getsockname()[1] > 0
                if sock.family == socket.AF_INET6:
                    assert sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1

    run(main())


def test_family_and_flags(run):
    async def main():
        async with await create(None, 0, family=socket.AF_INET) as server:
            assert addresses(server) == ["0.0.0.0"]
        async with await create(None, 0, family=socket.AF_INET, flags=0) as server:
            assert addresses(server) == ["127.0.0.1"]

    run(main())


def test_socket_given(run):
    async def main():
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        factory, made = listed()
        server = await create(factory=factory, sock=sock)
        assert sock.gettimeout() == 0
        assert [s.fileno() for s in server.sockets] == [sock.fileno()]
        peer = await client(server)
        await until(lambda: made)
        peer.close()
        await made[0].lost
        server.close()
        assert sock.fileno() == -1
        await server.wait_closed()

    run(main())


BOTH = "host/port and sock can not be specified at the same time"
ONLY_SSL = "is only meaningful with ssl"
BAD = [
    ({}, ValueError, "Neither host/port nor sock were specified"),
    (
        {"host": "127.0.0.1", "sock": 1},
        ValueError,
        "host/port and sock can not be specified at the same time",
    ),
    ({"port": 0, "sock": 1}, ValueError, BOTH),
    ({"sock": socket.SOCK_DGRAM}, ValueError, "A Stream Socket was expected, got"),
    ({"sock": "tls"}, TypeError, "Socket cannot be of type SSLSocket"),
    ({"host": "127.0.0.1", "ssl": True}, TypeError, "ssl argument must be an SSLContext or None"),
    ({"host": "127.0.0.1", "ssl": False}, TypeError, "ssl argument must be an SSLContext or None"),
    (
        {"host": "x", "ssl_handshake_timeout": 1},
        ValueError,
        "ssl_handshake_timeout is only meaningful with ssl",
    ),
    (
        {"host": "x", "ssl_shutdown_timeout": 1},
        ValueError,
        "ssl_shutdown_timeout is only meaningful with ssl",
    ),
]


@pytest.mark.parametrize(("arguments", "error", "text"), BAD)
def test_bad_arguments(run, arguments, error, text):
    async def main():
        given = dict(arguments)
        with contextlib.ExitStack() as stack:
            if given.get("sock") == "tls":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                given["sock"] = stack.enter_context(context.wrap_socket(socket.socket(), server_side=True))
            elif "sock" in given:
                given["sock"] = stack.enter_context(socket.socket(type=given["sock"]))
            with pytest.raises(error) as caught:
                await create(**given)
            assert text in str(caught.value)

    run(main())


def test_address_in_use(run):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = taken.getsockname()
            before = open_fds()
            with pytest.raises(OSError) as caught:
                await create(["127.0.0.2", "127.0.0.1"], address[1])
            assert caught.value.errno == errno.EADDRINUSE
            assert f"error while attempting to bind on address {address}" in str(caught.value)
            assert open_fds() == before

    run(main())


def test_address_of_nobody(run):
    async def main():
        before = open_fds()
        with pytest.raises(OSError):
            await create("192.0.2.1", 0)
        assert open_fds() == before

    run(main())


@pytest.mark.parametrize(("option", "value"), [(None, 1), (True, 1), (False, 0)])
def test_reuse_address(run, option, value):
    async def main():
        async with await create("127.0.0.1", 0, reuse_address=option) as server:
            got = server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
            assert bool(got) is bool(value)

    run(main())


def test_reuse_port(run):
    async def main():
        async with await create("127.0.0.1", 0, reuse_port=True) as one:
            port = one.sockets[0].getsockname()[1]
            async with await create("127.0.0.1", port, reuse_port=True) as two:
                assert two.sockets[0].getsockname() == one.sockets[0].getsockname()
            with pytest.raises(OSError):
                await create("127.0.0.1", port)

    run(main())


@SINCE_3_13
@pytest.mark.parametrize("option", [None, False, True])
def test_keep_alive(run, option):
    async def main():
        async with await create("127.0.0.1", 0, keep_alive=option) as server:
            got = server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert bool(got) is bool(option)

    run(main())
