"""Accepting under stress: factories that raise, no file descriptors left, bursts, one listener for two loops.

Covers net/listener.c. The shortage of descriptors is made with setrlimit in a process of its own.
"""

import asyncio
import contextlib
import os
import socket
import sys
import threading
import warnings

import pytest
from tcp_support import Recorder, only_loopmod, open_fds, recv_all, run_script, turns

pytestmark = pytest.mark.timeout(120)


# asyncio before 3.14 leaves the accepted socket of a failed factory to the garbage collector
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_factory_raises(run, errors, debug):
    made = []

    class Boom(Exception):
        pass

    def factory():
        if len(made) == 1:
            made.append(None)
            raise Boom
        made.append(Recorder())
        return made[-1]

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, "127.0.0.1", 0)
        peers = []
        for i in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            await loop.sock_connect(sock, server.sockets[0].getsockname())
            while len(made) <= i:
                await asyncio.sleep(0.001)
            peers.append(sock)
        await turns()
        # silent unless in debug mode, and only this connection is gone
        if debug:
            [context] = errors
            assert set(context) == {"message", "exception"}
            assert context["message"] == "Error on transport creation for incoming connection"
            assert type(context["exception"]) is Boom
            errors.clear()
            context.clear()
        assert errors == []
        assert await recv_all(peers[1]) == b""
        for i in (0, 2):
            peers[i].send(b"alive")
            assert await made[i].until_received(5) == b"alive"
        for peer in peers:
            peer.close()
        await made[0].lost
        await made[2].lost
        server.close()
        await server.wait_closed()

    run(main())


def test_connection_made_raises(run, errors):
    class Boom(Exception):
        pass

    made = []

    class Raises(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            made.append(self)
            raise Boom

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Raises, "127.0.0.1", 0)
        with socket.socket() as peer:
            peer.setblocking(False)
            await loop.sock_connect(peer, server.sockets[0].getsockname())
            peer.send(b"data")
            while not made:
                await asyncio.sleep(0.001)
            assert await made[0].until_received(4) == b"data"
        await made[0].lost
        server.close()
        await server.wait_closed()
        assert [type(context["exception"]) for context in errors] == [Boom]

    run(main())


SHORTAGE = """
import asyncio, os, resource, socket
from server_support import use_up_descriptors
kind, debug = sys.argv[1:]
loop = loop_factory(kind)()
loop.set_debug(debug == "True")
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
seen = []

def handler(loop, context):
    seen.append(context)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)

async def main():
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    peers = [socket.socket() for _ in range(5)]
    loop.set_exception_handler(handler)
    # the peers can connect, the server cannot accept
    fill = use_up_descriptors()
    for peer in peers:
        peer.setblocking(False)
        await loop.sock_connect(peer, address)
        await loop.sock_sendall(peer, b"hello")
    for peer in peers:
        assert await loop.sock_recv(peer, 5) == b"hello"
        peer.close()
    for fd in fill:
        os.close(fd)
    assert seen, "nothing was reported"
    for context in seen:
        assert set(context) == {"message", "exception", "socket"}, context
        assert context["message"] == "socket.accept() out of system resource"
        assert context["exception"].errno == 24
        assert type(context["socket"]) is asyncio.trsock.TransportSocket
    server.close()
    print("served", len(peers))

loop.run_until_complete(asyncio.wait_for(main(), 50))
"""


def test_no_descriptors_left(kind, debug):
    done = run_script(SHORTAGE, kind, str(debug))
    assert (done.returncode, done.stdout) == (0, "served 5\n"), done.stderr


@pytest.mark.parametrize("backlog", [1, 20, 500])
def test_burst(run, errors, backlog):
    """500 connections, as many at once as the queue holds (beyond that kernel timers set the pace)."""
    count = 500

    async def main():
        loop = asyncio.get_running_loop()
        served = set()
        places = asyncio.Semaphore(backlog)

        async def handle(reader, writer):
            number = await reader.readexactly(4)
            served.add(number)
            writer.write(number)
            writer.close()
            await writer.wait_closed()

        async def one(number):
            async with places:
                reader, writer = await asyncio.open_connection(*address)
                writer.write(b"%04d" % number)
                assert await reader.read() == b"%04d" % number
                writer.close()
                await writer.wait_closed()

        await loop.run_in_executor(None, int)
        before = open_fds()
        server = await asyncio.start_server(handle, "127.0.0.1", 0, backlog=backlog)
        address = server.sockets[0].getsockname()
        await asyncio.gather(*map(one, range(count)))
        assert len(served) == count
        server.close()
        await server.wait_closed()
        while open_fds() > before:
            await asyncio.sleep(0.001)

    run(main())
    assert errors == []


def test_clients_that_are_gone_before_accept(run, errors):
    made = []

    class Listed(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            made.append(self)

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Listed, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        # blocking connects: the loop accepts none of these before all are closed again
        for i in range(20):
            sock = socket.create_connection(address)
            if i % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            else:
                sock.sendall(b"last words")
            sock.close()
        while sum(protocol.received == b"last words" for protocol in made) < 10:
            await asyncio.sleep(0.001)
        for protocol in made:
            await protocol.lost
        server.close()
        await server.wait_closed()

    run(main())
    assert errors == []


def test_one_listener_shared_by_two_loops(new_loop):
    """Two loops in two threads accept from one socket: one of them serves each connection, none is lost."""
    count = 100
    lock = threading.Lock()
    served = []
    listener = socket.create_server(("127.0.0.1", 0), backlog=count)
    stops = []

    def serve(loop, ready):
        class Answers(asyncio.Protocol):
            def connection_made(self, transport):
                with lock:
                    served.append(loop)
                transport.write(b"ok")
                transport.close()

        async def main():
            stop = asyncio.Event()
            server = await loop.create_server(Answers, sock=listener.dup())
            stops.append(lambda: loop.call_soon_threadsafe(stop.set))
            ready.set()
            await stop.wait()
            server.close()
            await server.wait_closed()

        loop.run_until_complete(main())

    threads = []
    for loop in (new_loop(), new_loop()):
        ready = threading.Event()
        threads.append(threading.Thread(target=serve, args=(loop, ready)))
        threads[-1].start()
        assert ready.wait(30)
    for _ in range(count):
        with socket.create_connection(listener.getsockname(), timeout=30) as sock:
            assert sock.recv(10) == b"ok"
    for stop in stops:
        stop()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    listener.close()
    assert len(served) == count


class ForeignServer:
    """A server of another class than the loop's: it is shown each transport that is made."""

    def __init__(self, attach):
        self.attach = attach

    def _attach(self, *transports):
        self.attach(*transports)

    def _detach(self, *transports):
        pass


@contextlib.asynccontextmanager
async def served(attach):
    """A socket connected to a listener whose connections are attached by `attach`."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    loop._start_serving(Recorder, listener, server=ForeignServer(attach))
    peer = socket.socket()
    peer.setblocking(False)
    await loop.sock_connect(peer, listener.getsockname())
    try:
        yield peer
    finally:
        peer.close()
        loop._stop_serving(listener)
        await turns()


needs_transport = pytest.mark.skipif(sys.version_info < (3, 13), reason="_attach() is not told the transport")


@needs_transport
def test_a_server_of_another_class_finds_the_addresses(run):
    async def main():
        seen = asyncio.get_running_loop().create_future()

        def attach(transport):
            seen.set_result([transport.get_extra_info(name) for name in ("peername", "sockname")])

        async with served(attach) as peer:
            assert await seen == [peer.getsockname(), peer.getpeername()]

    run(main())


# asyncio leaves the accepted socket to the garbage collector
@needs_transport
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("uses", [False, True])
def test_a_server_of_another_class_refuses(kind, run, debug, errors, uses):
    only_loopmod(kind, "asyncio's half made transport may not be used")
    kept = []

    async def main():
        ended = asyncio.get_running_loop().create_future()

        def attach(transport):
            kept.append(transport)
            if uses:  # whatever is done with it, the descriptor stays whose it is
                kept.append(transport.get_extra_info("socket"))
                transport.pause_reading()
                transport.resume_reading()
                transport.write(b"x" * 4_000_000)
            number = os.dup(0)
            os.close(number)
            asyncio.get_running_loop().call_soon(ended.set_result, number)
            raise ValueError("refused")

        async with served(attach) as peer:
            await ended
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while data := await asyncio.get_running_loop().sock_recv(peer, 1 << 20):
                    received += len(data)
            assert (received > 0) == uses
        if uses:
            assert kept[1].fileno() == -1
        assert not kept[0].is_closing()
        kept[0].abort()
        await turns()
        errors.clear()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main())
