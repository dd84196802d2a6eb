"""Who owns a number, and who is told: released things are released by identity, and what was counted comes back.

Covers net/readers.c, net/kept.c and net/listener.c.
"""

import asyncio
import contextlib
import decimal
import fractions
import gc
import os
import socket
import sys

import pytest
from fd_support import LOOPS, Notes, noting, play
from tcp_support import turns
from tls_support import client_context, server_context

pytestmark = pytest.mark.timeout(60)


def place_at(sock, fd):
    """Return a socket of the same connection that has the free number."""
    if sock.fileno() == fd:
        return sock
    os.dup2(sock.fileno(), fd)
    family, type_ = sock.family, sock.type
    sock.close()
    return socket.socket(family, type_, fileno=fd)


def pair_at(fd):
    ours, other = socket.socketpair()
    if other.fileno() == fd:
        ours, other = other, ours
    ours = place_at(ours, fd)
    ours.setblocking(False)
    other.setblocking(False)
    return ours, other


@pytest.mark.parametrize("end", ["abort", "close"])
def test_an_old_transport_ends_after_a_new_one_has_the_number(run, end):
    async def main():
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        old, _ = await loop.create_connection(Notes, sock=a)
        getattr(old, end)()
        fd = a.fileno()
        a.close()
        c, d = pair_at(fd)
        new, protocol = await loop.create_connection(Notes, sock=c)
        await turns()
        for method in (loop.add_reader, loop.add_writer):
            with pytest.raises(RuntimeError, match="is used by transport"):
                method(fd, print)
        d.send(b"for the new one")
        while not protocol.events:
            await asyncio.sleep(0)
        assert protocol.events == [("data", b"for the new one")]
        new.write(b"back")
        assert d.recv(100) == b"back"
        del old
        gc.collect()
        with pytest.raises(RuntimeError):
            loop.add_reader(fd, print)
        new.abort()
        await turns()
        loop.remove_reader(d)
        b.close()
        d.close()

    run(main())


def test_a_number_of_an_open_transport_is_refused(run):
    """Its socket was closed by others; asyncio does not look."""

    async def main():
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        old, _ = await loop.create_connection(Notes, sock=a)
        fd = a.fileno()
        a.close()
        c, d = pair_at(fd)
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(fd, print)
        if sys.version_info >= (3, 13):
            with pytest.raises(RuntimeError, match="is used by transport"):
                await loop.create_connection(Notes, sock=c)
        if c.fileno() < 0:
            # Later asyncio closes a socket that no transport could be made of.
            assert d.recv(1) == b""
            d.close()
            c, d = pair_at(fd)
        d.send(b"x")
        assert c.recv(1) == b"x"
        old.abort()
        await turns()
        seen = []
        loop.add_reader(c, seen.append, 1)
        d.send(b"x")
        while not seen:
            await asyncio.sleep(0)
        loop.remove_reader(c)
        for each in (b, c, d):
            each.close()

    run(main())


@pytest.mark.parametrize("loop", LOOPS)
def test_an_accepted_connection_gets_the_number_of_a_lost_socket(loop):
    """It is served, and the transport that had the number before is told; asyncio would refuse the connection."""

    async def main(seen):
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        old, lost = await loop.create_connection(Notes, sock=a)
        made = []

        class Echo(Notes):
            def connection_made(self, transport):
                self.transport = transport
                made.append(transport)

            def data_received(self, data):
                self.transport.write(data)

        server = await loop.create_server(Echo, "127.0.0.1", 0)
        client = socket.socket()
        fd = a.fileno()
        holes = []
        while (hole := os.open(os.devnull, os.O_RDONLY)) < fd:
            holes.append(hole)
        os.close(hole)
        a.close()
        client.connect(server.sockets[0].getsockname())
        while not made:
            await asyncio.sleep(0)
        assert made[0]._sock_fd == fd
        client.send(b"hello")
        while ("lost", "EBADF") not in lost.events:
            await asyncio.sleep(0)
        client.setblocking(False)
        seen.append(await loop.sock_recv(client, 100))
        with pytest.raises(RuntimeError):
            loop.add_reader(fd, print)
        made[0].abort()
        server.close()
        for each in (client, b):
            each.close()
        for hole in holes:
            os.close(hole)

    assert play(LOOPS[loop], main) == [b"hello"]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_pipe_that_lost_its_number_does_not_deafen_the_next(loop):
    async def main(seen):
        loop = asyncio.get_running_loop()
        for ends in (lambda old: old.close(), lambda old: old.pause_reading()):
            reading, writing = os.pipe()
            file = open(reading, "rb", 0)
            old, _ = await loop.connect_read_pipe(Notes, file)
            await turns()
            fd = file.fileno()
            file.close()
            c, d = pair_at(fd)
            new, protocol = await loop.create_connection(Notes, sock=c)
            await turns()
            ends(old)
            await turns()
            d.send(b"heard")
            while not protocol.events:
                await asyncio.sleep(0)
            seen += protocol.events
            new.abort()
            old.close()
            await turns()
            os.close(writing)
            d.close()

    assert play(LOOPS[loop], main) == [("data", b"heard")] * 2


@pytest.mark.parametrize("loop", LOOPS)
def test_a_listener_that_lost_its_socket(loop):
    """Nothing is accepted from the next one with its number, and the server ends."""

    async def main(seen):
        loop = asyncio.get_running_loop()
        served = []
        server = await loop.create_server(lambda: served.append(1) or Notes(), "127.0.0.1", 0)
        sock = server.sockets[0]._sock
        fd = sock.fileno()
        sock.close()
        listening = place_at(socket.create_server(("127.0.0.1", 0)), fd)
        listening.setblocking(False)
        other = await loop.create_server(lambda: seen.append("served") or Notes(), sock=listening)
        client = socket.create_connection(listening.getsockname())
        while not seen:
            await asyncio.sleep(0)
        assert not served
        assert len(loop._listeners) == 2
        with contextlib.suppress(ValueError):
            server.close()
        another = socket.create_connection(listening.getsockname())
        while len(seen) < 2:
            await asyncio.sleep(0)
        other.close()
        assert not loop._listeners
        client.close()
        another.close()

    assert play(LOOPS[loop], main) == ["served", "served"]


def test_a_server_whose_socket_was_closed(run):
    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Notes, "127.0.0.1", 0)
        server.sockets[0]._sock.close()
        try:
            server.close()
        except Exception as exc:
            return type(exc)
        return None

    assert run(main()) is play_server_close()


def play_server_close():
    """What asyncio makes of it on this version."""

    async def main(seen):
        server = await asyncio.get_running_loop().create_server(Notes, "127.0.0.1", 0)
        server.sockets[0]._sock.close()
        try:
            server.close()
        except Exception as exc:
            seen.append(type(exc))
        else:
            seen.append(None)

    return play(asyncio.SelectorEventLoop, main)[0]


FAILING = {
    "no connection_made": lambda: object(),
    "an odd connection_made": lambda: type("Odd", (), {"connection_made": property(lambda self: 1 / 0)})(),
}


@pytest.mark.parametrize("what", FAILING)
@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("loop", LOOPS)
def test_what_a_failed_set_up_was_counted_for(loop, is_tls, what):
    """wait_closed() waits for the connections that live, not for those that could not be made."""

    async def main(seen):
        loop = asyncio.get_running_loop()
        made = []

        def factory():
            made.append(FAILING[what]() if not made else Notes())
            return made[-1]

        context = server_context() if is_tls else None
        server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context)
        address = server.sockets[0].getsockname()
        first = socket.create_connection(address)
        while not made:
            await asyncio.sleep(0)
        await turns()
        if is_tls:
            first.close()
            await asyncio.sleep(0.01)
        else:
            seen.append(first.recv(1))
        first.close()
        _, writer = await asyncio.open_connection(
            *address, ssl=client_context() if is_tls else None, server_hostname="localhost" if is_tls else None
        )
        await turns(8)
        server.close()
        waiting = asyncio.create_task(server.wait_closed())
        await turns()
        writer.close()
        await asyncio.wait_for(waiting, 10)
        while server._active_count:  # up to 3.11 wait_closed() waits for nothing
            await asyncio.sleep(0)
        await turns(8)

    assert play(LOOPS[loop], main) == ([] if is_tls else [b""])


LIMITS = [
    (),
    (sys.maxsize,),
    (sys.maxsize - 512,),
    (2**63,),
    (2**64,),
    (2**70, 2**69),
    (None, sys.maxsize),
    (None, 2**62),
    (0,),
    (0, 0),
    (True,),
    (10.5,),
    (10.5, 2.5),
    (float("inf"),),
    (float("inf"), 7),
    (float("nan"),),
    (-1,),
    (1, 2),
    (2**63, 2**64),
    (fractions.Fraction(7, 2),),
    (decimal.Decimal(9),),
    (5, None),
    (None, 5),
    ("10",),
    (None, "10"),
    ([],),
    (1 << 31, 1 << 30),
]


async def transports(seen, kind):
    """Yield a transport of the kind and how to end all."""
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    if kind == "stream":
        transport, _ = await loop.create_connection(Notes, sock=a)
        return transport, [b]
    if kind == "datagram":
        a.close(), b.close()
        a, b = socket.socketpair(type=socket.SOCK_DGRAM)
        transport, _ = await loop.create_datagram_endpoint(Notes, sock=a)
        return transport, [b]
    if kind == "pipe":
        a.close(), b.close()
        reading, writing = os.pipe()
        transport, _ = await loop.connect_write_pipe(Notes, open(writing, "wb", 0))
        return transport, [open(reading, "rb", 0)]
    if kind == "reading pipe":
        a.close(), b.close()
        reading, writing = os.pipe()
        transport, _ = await loop.connect_read_pipe(Notes, open(reading, "rb", 0))
        return transport, [open(writing, "wb", 0)]
    task = loop.create_task(loop.connect_accepted_socket(Notes, b, ssl=server_context()))
    transport, _ = await loop.create_connection(Notes, sock=a, ssl=client_context(), server_hostname="localhost")
    return transport, [(await task)[0]]


async def limits(seen, kind, which):
    transport, others = await transports(seen, kind)
    for args in LIMITS:
        with noting(seen):
            getattr(transport, f"set_{which}_buffer_limits")(*args)
        low, high = getattr(transport, f"get_{which}_buffer_limits")()
        seen.append((args, repr(low), repr(high)))
    transport.abort()
    for other in others:
        other.close()
    await turns(8)


@pytest.mark.parametrize(
    "kind, which", [("stream", "write"), ("datagram", "write"), ("pipe", "write"), ("tls", "write"), ("tls", "read")]
)
@pytest.mark.parametrize("loop", LOOPS)
def test_any_limits(loop, kind, which):
    expected = play(asyncio.SelectorEventLoop, limits, kind, which)
    assert play(LOOPS[loop], limits, kind, which) == expected


@pytest.mark.parametrize("high, size, pauses", [(10.5, 10, False), (10.5, 11, True), (10, 10, False), (10, 11, True)])
def test_a_mark_between_two_sizes(run, high, size, pauses):
    async def main():
        a, b = socket.socketpair()
        transport, protocol = await asyncio.get_running_loop().create_connection(Notes, sock=a)
        while not transport.get_write_buffer_size():
            transport.write(b"x" * 100_000)
        queued = transport.get_write_buffer_size()
        protocol.events.clear()
        transport.set_write_buffer_limits(queued + high)
        transport.write(b"y" * size)
        paused = transport._protocol_paused
        transport.abort()
        await turns()
        b.close()
        return paused

    assert run(main()) is pauses


# What changes nothing for the next; asyncio's fail where they are left out.
NAMES = (
    "is_closing",
    "is_reading",
    "get_protocol",
    "get_write_buffer_size",
    "get_write_buffer_limits",
    "can_write_eof",
)
MORE = {
    "stream": ("pause_reading", "resume_reading", "close", "abort"),
    "datagram": ("pause_reading", "resume_reading", "close", "abort"),
    "pipe": ("close",),
    "reading pipe": ("pause_reading", "resume_reading", "close"),
    "tls": ("pause_reading", "resume_reading"),
}


async def after_the_end(seen, kind):
    transport, others = await transports(seen, kind)
    transport.abort() if kind != "reading pipe" else transport.close()
    await asyncio.sleep(0.01)
    await turns(8)
    for name in (*NAMES, *MORE[kind]):
        if hasattr(transport, name):
            with noting(seen):
                seen.append((name, getattr(transport, name)()))
    if kind != "reading pipe":
        with noting(seen):
            seen.append(transport.set_write_buffer_limits(5))
            seen.append(transport.get_write_buffer_limits())
    for protocol in (Notes(), asyncio.BufferedProtocol(), Notes()):
        with noting(seen):
            transport.set_protocol(protocol)
            seen.append(transport.get_protocol() is protocol)
    for name in ("peername", "sockname", "nothing"):
        with noting(seen):
            seen.append((name, transport.get_extra_info(name, "fallback")))
    await turns()
    seen.append(protocol.events)
    for other in others:
        other.close()
    await turns(8)


@pytest.mark.parametrize("kind", ["stream", "datagram", "pipe", "reading pipe", "tls"])
@pytest.mark.parametrize("loop", LOOPS)
def test_getters_and_setters_after_the_end(loop, kind):
    expected = play(asyncio.SelectorEventLoop, after_the_end, kind)
    assert play(LOOPS[loop], after_the_end, kind) == expected
