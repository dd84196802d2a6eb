"""TCP servers: the Server object, serving, closing, waiting for the clients.

Covers net/server.c and loopmod/server.py. Relies on server_support.
"""

import asyncio
import gc
import re
import socket
import sys

import pytest
from loop_support import until
from server_support import SINCE_3_13, client, create, listed
from tcp_support import BIG, pattern, recv_all, recv_exactly, turns

pytestmark = pytest.mark.timeout(60)


def test_server_object(run, loop):
    async def main():
        server = await create("127.0.0.1", 0)
        assert isinstance(server, asyncio.AbstractServer)
        assert server.get_loop() is loop
        assert server.is_serving() is True
        assert type(server.sockets) is tuple
        [sock] = server.sockets
        assert type(sock) is asyncio.trsock.TransportSocket
        assert re.fullmatch(r"<\w*Server sockets=\(<asyncio.TransportSocket fd=\d+, .*>,\)>", repr(server))
        # read by libraries that wrap servers
        assert server._ssl_context is None
        server.close()
        server.close()
        assert server.is_serving() is False
        assert server.sockets == () and type(server.sockets) is tuple
        assert re.fullmatch(r"<\w*Server sockets=\(\)>", repr(server))
        assert sock.fileno() == -1
        await server.wait_closed()
        assert server.get_loop() is loop

    run(main())


def test_start_serving_later(run):
    async def main():
        factory, made = listed()
        server = await create("127.0.0.1", 0, factory=factory, start_serving=False)
        assert not server.is_serving() and len(server.sockets) == 1
        with pytest.raises(ConnectionRefusedError):
            await client(server)
        assert await server.start_serving() is None
        assert server.is_serving()
        await server.start_serving()
        with await client(server):
            await until(lambda: made)
        await made[0].lost
        server.close()
        await server.wait_closed()

    run(main())


def test_accepted_transport(run, errors):
    async def main():
        factory, made = listed()
        async with await create("127.0.0.1", 0, factory=factory) as server:
            peer = await client(server)
            await until(lambda: made)
            transport = made[0].transport
            assert transport.get_extra_info("peername") == peer.getsockname()
            assert transport.get_extra_info("sockname") == peer.getpeername()
            sock = transport.get_extra_info("socket")
            assert type(sock) is asyncio.trsock.TransportSocket
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            peer.send(b"abc")
            assert await made[0].until_received(3) == b"abc"
            transport.write(b"defg")
            assert await recv_exactly(peer, 4) == b"defg"
            peer.close()
            await made[0].lost

    run(main())
    assert errors == []


def test_serve_forever(run):
    async def main():
        loop = asyncio.get_running_loop()
        server = await create("127.0.0.1", 0, start_serving=False)
        task = loop.create_task(server.serve_forever())
        await turns()
        assert server.is_serving()
        with pytest.raises(RuntimeError) as caught:
            await server.serve_forever()
        assert str(caught.value) == f"server {server!r} is already being awaited on serve_forever()"
        (await client(server)).close()
        await turns(20)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not server.is_serving() and server.sockets == ()
        with pytest.raises(RuntimeError) as caught:
            await server.serve_forever()
        assert str(caught.value) == f"server {server!r} is closed"

    run(main())


def test_close_ends_serve_forever(run):
    async def main():
        server = await create("127.0.0.1", 0)
        task = asyncio.get_running_loop().create_task(server.serve_forever())
        await turns()
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.wait_closed()

    run(main())


def test_async_with(run):
    async def main():
        server = await create("127.0.0.1", 0)
        async with server as entered:
            assert entered is server and server.is_serving()
        assert not server.is_serving() and server.sockets == ()
        with pytest.raises(ZeroDivisionError):
            async with await create("127.0.0.1", 0) as server:
                _ = 1 / 0
        assert not server.is_serving()

    run(main())


def test_close_leaves_connections_alone(run, errors):
    async def main():
        factory, made = listed()
        server = await create("127.0.0.1", 0, factory=factory)
        peer = await client(server)
        await until(lambda: made)
        server.close()
        peer.send(b"abc")
        assert await made[0].until_received(3) == b"abc"
        made[0].transport.write(pattern(BIG))
        made[0].transport.close()
        assert await recv_all(peer) == pattern(BIG)
        peer.close()
        await server.wait_closed()
        assert made[0].events[-1] == "lost"

    run(main())
    assert errors == []


def test_wait_closed(run):
    async def main():
        loop = asyncio.get_running_loop()
        factory, made = listed()
        server = await create("127.0.0.1", 0, factory=factory)
        early = loop.create_task(server.wait_closed())
        peer = await client(server)
        await until(lambda: made)
        await turns()
        assert not early.done()
        server.close()
        late = loop.create_task(server.wait_closed())
        await turns(10)
        assert not early.done()
        # until 3.12.1 whoever came after close() did not wait
        assert late.done() is (sys.version_info < (3, 12, 1))
        peer.close()
        await early
        await late
        assert made[0].events[-1] == "lost"
        await server.wait_closed()

    run(main())


@SINCE_3_13
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_clients_are_closed_or_aborted(run, errors, method):
    async def main():
        factory, made = listed()
        server = await create("127.0.0.1", 0, factory=factory)
        peers = [await client(server) for _ in range(3)]
        await until(lambda: len(made) == 3)
        for protocol in made:
            protocol.transport.write(pattern(BIG))
        server.close()
        assert getattr(server, method)() is None
        got = [await recv_all(peer) for peer in peers]
        await server.wait_closed()
        for data, protocol, peer in zip(got, made, peers, strict=True):
            assert (data == pattern(BIG)) is (method == "close_clients")
            assert protocol.events[-1] == "lost" and protocol.exception is None
            peer.close()
        getattr(server, method)()

    run(main())
    assert errors == []


def test_server_that_nobody_holds_goes_on(run):
    async def main():
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            factory, made = listed()
            await create(sock=sock, factory=factory)
            gc.collect()
            peer = socket.create_connection(sock.getsockname())
            await until(lambda: made)
            peer.close()
            await made[0].lost
            asyncio.get_running_loop().remove_reader(sock)

    run(main())
