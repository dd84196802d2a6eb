"""Servers that are closed while connections come in, and servers that run out of descriptors.

Covers src/net/listener.c over TCP and Unix sockets alike. Descriptors run short in a process of its own.
"""

import asyncio
import contextlib
import gc
import socket

import pytest
from loop_support import until
from server_support import Listed, listed
from tcp_support import only_loopmod, recv_all, run_script, turns
from unix_support import no_fd_left

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=["inet", "unix"])
def serve(request, tmp_path):
    """`await serve(factory, **options)`: a server of each family in turn."""

    def start(factory, **options):
        loop = asyncio.get_running_loop()
        if request.param == "inet":
            return loop.create_server(factory, "127.0.0.1", 0, **options)
        return loop.create_unix_server(factory, tmp_path / "s", **options)

    return start


def clients(server, count):
    """Sockets that are connected before the loop gets to accept them."""
    [sock] = server.sockets
    made = []
    for _ in range(count):
        made.append(socket.socket(sock.family))
        made[-1].connect(sock.getsockname())
        made[-1].setblocking(False)
    return made


async def end_of(sock):
    with contextlib.suppress(ConnectionResetError):
        assert await recv_all(sock) == b""


@pytest.mark.parametrize("when", ["at once", "first in the turn of the accept", "after a turn"])
def test_close_with_connections_waiting(run, errors, serve, when):
    """Whoever was not accepted yet is hung up on; nothing is reported and nothing stays open."""

    async def main():
        factory, made = listed()
        with no_fd_left():
            server = await serve(factory)
            peers = clients(server, 5)
            if when == "at once":
                server.close()
            elif when == "first in the turn of the accept":
                asyncio.get_running_loop().call_soon(server.close)
            else:
                await turns(1)
                server.close()
            await turns()
            # these were accepted before
            for protocol in made:
                protocol.transport.abort()
            for peer in peers:
                await end_of(peer)
                peer.close()
            await server.wait_closed()
            made.clear()
            await turns()

    # asyncio accepts what it may not attach to a closed server any more, and leaves the sockets to the collector
    run(main())
    errors[:] = [context for context in errors if context["message"] != SETUP_FAILED]
    assert errors == []


SETUP_FAILED = "Error on transport creation for incoming connection"


def test_close_in_the_first_connection_made(run, errors, serve):
    """All that were accepted in the same turn are served."""

    class Closes(Listed):
        def connection_made(self, transport):
            super().connection_made(transport)
            self.server.close()
            assert self.server.sockets == ()

    async def main():
        factory, made = listed(Closes)
        factory.server = server = await serve(factory)
        peers = clients(server, 5)
        await until(lambda: len(made) == 5)
        for peer in peers:
            peer.send(b"hello")
        for protocol in made:
            assert await protocol.until_received(5) == b"hello"
        for peer in peers:
            peer.close()
        await server.wait_closed()
        for protocol in made:
            await protocol.lost

    run(main())
    assert errors == []


# asyncio leaves the accepted sockets to the collector
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_close_in_the_factory(run, loop, debug, serve):
    """A server that is closed takes nobody any more, not even who it was called for; debug mode says so."""
    told = []

    async def main():
        called = []
        # nothing but these: the contexts would keep asyncio's sockets open
        loop.set_exception_handler(lambda loop, each: told.append((each["message"], type(each["exception"]))))

        def factory():
            called.append(server.close())
            return Listed()

        server = await serve(factory)
        peers = clients(server, 3)
        await until(lambda: called)
        await turns()
        gc.collect()
        for peer in peers:
            await end_of(peer)
            peer.close()
        await server.wait_closed()

    run(main())
    assert set(told) == ({(SETUP_FAILED, AssertionError)} if debug else set())


def test_factory_that_exits(new_loop, serve):
    """SystemExit leaves the run; the server goes on in the next."""
    loop = new_loop()
    factory, made = listed()
    exits = [SystemExit(3)]

    def raises():
        if exits:
            raise exits.pop()
        return factory()

    async def start():
        return await serve(raises)

    server = loop.run_until_complete(start())
    [first] = clients(server, 1)
    with pytest.raises(SystemExit):
        loop.run_forever()
    [second] = clients(server, 1)

    async def main():
        await until(lambda: made)
        first.close()
        second.close()
        await made[0].lost
        server.close()
        await turns()

    # the coroutine that asyncio sets a connection up in may hold the accepted socket
    gc.collect()
    loop.run_until_complete(main())


SHORTAGE = """
import asyncio, gc, os, resource, socket
from server_support import use_up_descriptors
kind, debug, ending = sys.argv[1:]
asyncio.constants.ACCEPT_RETRY_DELAY = DELAY = 0.05
loop = loop_factory(kind)()
loop.set_debug(debug == "True")
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
seen, others = [], []

def handler(loop, context):
    if "out of system resource" in context["message"]:
        seen.append(loop.time())
    else:
        others.append(context)

class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)

async def main():
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    with socket.socket() as peer:
        peer.setblocking(False)
        loop.set_exception_handler(handler)
        fill = use_up_descriptors()
        await loop.sock_connect(peer, server.sockets[0].getsockname())
        while len(seen) < 3:
            await asyncio.sleep(DELAY)
        if kind == "loopmod":
            # each time it looked away; asyncio says it as often as the backlog is long in one turn
            assert all(late - early >= DELAY - 1e-6 for early, late in zip(seen, seen[1:])), seen
        for fd in fill:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if ending == "goes on":
            await loop.sock_sendall(peer, b"hello")
            assert await loop.sock_recv(peer, 5) == b"hello"
            server.close()
        else:
            # while it looks away; the number of its socket finds another user
            number = server.sockets[0].fileno()
            server.close()
            reading, writing = os.pipe()
            if number not in (reading, writing):
                os.dup2(reading, number)
            count = len(seen)
            await asyncio.sleep(4 * DELAY)
            assert len(seen) == count, seen
    await asyncio.sleep(0.01)
    # asyncio's timers come back to a server that was closed meanwhile, and fail
    assert others == [] or kind == "asyncio", others
    print("ok")

loop.run_until_complete(asyncio.wait_for(main(), 50))
"""


@pytest.mark.parametrize("ending", ["goes on", "closed"])
def test_looks_away_while_descriptors_are_short(kind, debug, ending):
    if ending == "closed":
        only_loopmod(kind, "asyncio comes back to a server that was closed meanwhile")
    done = run_script(SHORTAGE, kind, str(debug), ending)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr
