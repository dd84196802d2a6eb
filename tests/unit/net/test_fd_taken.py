"""A number that is no longer the transport's: nothing is sent to, read from or shut down on whoever has it now.

Covers net/sock_fd.c and each call of a transport on its number. asyncio calls the socket's methods, which say
EBADF; what everybody sees is compared with what is seen there.
"""

import asyncio
import gc
import itertools
import os
import socket

import pytest
from fd_support import LOOPS, Notes, Stranger, noting, play, without_repeats
from tcp_support import turns
from tls_support import client_context, server_context

pytestmark = pytest.mark.timeout(60)

NEXT = ["none", "socket", "datagrams", "pipe", "file"]
ENDS = ["close", "detach"]


def take(obj, how):
    """End the object's hold on its descriptor; return the number, which is free then."""
    fd = obj.fileno()
    if how == "detach":
        os.close(obj.detach())
    else:
        obj.close()
    return fd


def stranger_at(kind, fd):
    return Stranger(kind, fd) if kind != "none" else None


def as_on_asyncio(scenario, *args):
    """Play the scenario on every loop, compare with asyncio's, and return what was seen."""
    expected = play(asyncio.SelectorEventLoop, scenario, *args)
    for name, factory in LOOPS.items():
        assert play(factory, scenario, *args) == expected, (name, args)
    return expected


async def unix_stream():
    """Return (transport, protocol, its socket, the other end) by a given socket."""
    ours, other = socket.socketpair()
    transport, protocol = await asyncio.get_running_loop().create_connection(Notes, sock=ours)
    return transport, protocol, ours, other


async def tcp_client():
    """The same by the loop's own connect."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(Notes, *listener.getsockname())
        other, _ = listener.accept()
    return transport, protocol, transport.get_extra_info("socket")._sock, other


async def tcp_accepted():
    """The same by a server, with a socket that is made when it is asked for."""
    loop = asyncio.get_running_loop()
    made = loop.create_future()

    class Accepted(Notes):
        def connection_made(self, transport):
            made.set_result((transport, self))

    server = await loop.create_server(Accepted, "127.0.0.1", 0)
    other = socket.create_connection(server.sockets[0].getsockname())
    transport, protocol = await made
    server.close()
    await turns()
    return transport, protocol, transport.get_extra_info("socket")._sock, other


STREAMS = {"unix": unix_stream, "tcp": tcp_client, "accepted": tcp_accepted}


def fill(transport):
    """Queue what the socket does not take."""
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 100_000)


OPERATIONS = {
    "write": lambda transport: transport.write(b"stray"),
    "write bytearray": lambda transport: transport.write(bytearray(b"stray")),
    "writelines": lambda transport: transport.writelines([b"st", b"ray"]),
    "write_eof": lambda transport: transport.write_eof(),
    "pause": lambda transport: transport.pause_reading(),
    "resume": lambda transport: (transport.pause_reading(), transport.resume_reading()),
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "write, close": lambda transport: (transport.write(b"stray"), transport.close()),
    "nothing": lambda transport: None,
    "names": lambda transport: (transport.get_extra_info("sockname"), transport.get_write_buffer_size()),
}


async def go_on(seen, transport, operation, stranger):
    """Use the transport, and have something come for the stranger, if any, who has its number."""
    with noting(seen):
        OPERATIONS[operation](transport)
    await turns()
    if stranger is not None:
        stranger.speak()
    await asyncio.sleep(0.002)


async def stream(seen, make, how, kind, operation):
    transport, protocol, sock, other = await make()
    fd = take(sock, how)
    stranger = stranger_at(kind, fd)
    await go_on(seen, transport, operation, stranger)
    seen.append(list(protocol.events))
    with noting(seen):
        transport.write(b"later")
    with noting(seen):
        transport.close()
    await turns()
    seen.append(list(protocol.events))
    if stranger is not None:
        seen.append(stranger.finish())
    seen.append((transport.is_closing(), transport.get_write_buffer_size()))
    transport.abort()
    await turns()
    seen.append(list(protocol.events))
    other.close()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("make", STREAMS)
def test_streams(make, operation):
    for how, kind in itertools.product(ENDS, NEXT):
        expected = as_on_asyncio(stream, STREAMS[make], how, kind, operation)
        if kind in ("socket", "datagrams"):
            assert [b"mine", b"alive"] in expected


async def with_a_queue(seen, how, kind, operation, reads):
    """Here asyncio's methods raise what epoll says of the number; nothing of that is the owner's to handle."""
    transport, protocol, sock, other = await unix_stream()
    fill(transport)
    await turns(3 if reads else 0)
    if not reads:
        transport.pause_reading()
    stranger = stranger_at(kind, take(sock, how))
    await go_on(seen, transport, operation, stranger)
    transport.abort()
    await turns()
    seen.append([event for event in protocol.events if event not in ("pause", "resume")])
    if stranger is not None:
        seen.append(stranger.finish())
    other.close()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("loop", LOOPS)
def test_streams_with_a_queue(loop, operation):
    for how, kind, reads in itertools.product(ENDS, NEXT, (False, True)):
        seen = play(LOOPS[loop], with_a_queue, how, kind, operation, reads)
        if kind != "none":
            assert seen.pop() == ([b"mine"] if kind in ("pipe", "file") else [b"mine", b"alive"])
        assert seen.pop() in ([("lost", "EBADF")], [("lost", "NoneType")])
        assert seen in ([], [("raised", "EBADF")], [("raised", "EPERM")])
        assert not seen or operation == "resume"


async def dropped(seen, make, how, kind):
    transport, protocol, sock, other = await make()
    transport.pause_reading()
    stranger = stranger_at(kind, take(sock, how))
    del transport
    protocol.transport = None
    gc.collect()
    await turns()
    if stranger is not None:
        stranger.speak()
        seen.append(stranger.finish())
    other.close()


def test_a_dropped_transport():
    for how, kind in itertools.product(ENDS, NEXT):
        as_on_asyncio(dropped, unix_stream, how, kind)


async def handed_on(seen, make, operation):
    """The descriptor is taken out and used by somebody else: it is still the same connection."""
    transport, protocol, sock, other = await make()
    mine = socket.socket(fileno=sock.detach())
    mine.setblocking(False)
    other.setblocking(False)
    with noting(seen):
        OPERATIONS[operation](transport)
    await turns()
    mine.send(b"alive")
    other.send(b"back")
    await asyncio.sleep(0.002)
    seen.append((mine.recv(100), other.recv(100)))
    seen.append(list(protocol.events))
    transport.abort()
    await turns()
    mine.send(b"still")
    seen.append((other.recv(100), protocol.events))
    mine.close()
    other.close()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("make", STREAMS)
def test_handed_on(make, operation):
    as_on_asyncio(handed_on, STREAMS[make], operation)


async def over_tls(seen, how, kind, operation):
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    peer = loop.create_task(loop.connect_accepted_socket(Notes, theirs, ssl=server_context()))
    transport, protocol = await loop.create_connection(
        Notes, sock=ours, ssl=client_context(), server_hostname="localhost"
    )
    other, _ = await peer
    await turns(8)
    stranger = stranger_at(kind, take(ours, how))
    await go_on(seen, transport, operation, stranger)
    transport.abort()
    await turns()
    seen.append(list(protocol.events))
    if stranger is not None:
        seen.append(stranger.finish())
    other.abort()
    await turns()


TLS_OPERATIONS = [name for name in OPERATIONS if name not in ("write_eof",)]


@pytest.mark.parametrize("operation", TLS_OPERATIONS)
def test_tls(operation):
    for how, kind in itertools.product(ENDS, ["none", "socket", "pipe"]):
        as_on_asyncio(over_tls, how, kind, operation)


def datagram_sockets(family):
    """Return (ours, theirs, where to send to): of "connected" nowhere."""
    if family == "inet":
        ours, theirs = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        ours.bind(("127.0.0.1", 0))
        theirs.bind(("127.0.0.1", 0))
        return ours, theirs, theirs.getsockname()
    ours, theirs = socket.socketpair(type=socket.SOCK_DGRAM)
    if family == "connected":
        ours.close()
        theirs.close()
        ours, theirs, address = datagram_sockets("inet")
        ours.connect(address)
    return ours, theirs, None


async def datagrams(seen, family, how, kind, operation):
    ours, other, address = datagram_sockets(family)
    transport, protocol = await asyncio.get_running_loop().create_datagram_endpoint(Notes, sock=ours)
    stranger = stranger_at(kind, take(ours, how))
    with noting(seen):
        if operation == "sendto":
            transport.sendto(b"stray", address)
        else:
            OPERATIONS[operation](transport)
    await turns()
    if stranger is not None:
        stranger.speak()
    await asyncio.sleep(0.002)
    seen.append((transport.is_closing(), without_repeats(protocol.events)))
    transport.abort()
    await turns()
    seen.append(without_repeats(protocol.events))
    if stranger is not None:
        seen.append(stranger.finish())
    other.close()


@pytest.mark.parametrize("operation", ["sendto", "resume", "close", "abort", "nothing", "names"])
@pytest.mark.parametrize("family", ["inet", "connected", "unix"])
def test_datagrams(family, operation):
    for how, kind in itertools.product(ENDS, NEXT):
        as_on_asyncio(datagrams, family, how, kind, operation)


async def pipes(seen, is_writer, how, kind, operation):
    """Here asyncio goes on with the number: the stranger is looked at without it."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    file, other = (open(writing, "wb", 0), reading) if is_writer else (open(reading, "rb", 0), writing)
    connect = loop.connect_write_pipe if is_writer else loop.connect_read_pipe
    transport, protocol = await connect(Notes, file)
    fd = file.fileno()
    file.close()
    stranger = stranger_at(kind, fd)
    with noting(seen):
        if is_writer:
            {"write": lambda: transport.write(b"stray"), "close": transport.close, "nothing": lambda: None}[
                operation
            ]()
        else:
            {
                "resume": lambda: (transport.pause_reading(), transport.resume_reading()),
                "close": transport.close,
                "nothing": lambda: None,
            }[operation]()
    await turns()
    if stranger is not None:
        stranger.speak()
    await asyncio.sleep(0.002)
    if operation == "close" or kind == "none":
        seen.append(list(protocol.events))
    else:
        assert set(protocol.events) <= {("lost", "EBADF")}, protocol.events
    transport.close()
    await turns()
    if stranger is not None:
        seen.append(stranger.finish())
    os.close(other)


PIPE_CASES = [
    (True, "write"),
    (True, "close"),
    (True, "nothing"),
    (False, "resume"),
    (False, "close"),
    (False, "nothing"),
]


@pytest.mark.parametrize("is_writer, operation", PIPE_CASES)
def test_pipes_as_on_asyncio(is_writer, operation):
    expected = play(asyncio.SelectorEventLoop, pipes, is_writer, "close", "none", operation)
    assert play(LOOPS["ordinary"], pipes, is_writer, "close", "none", operation) == expected


@pytest.mark.parametrize("is_writer, operation", PIPE_CASES)
@pytest.mark.parametrize("kind", NEXT[1:-1])
def test_pipes_and_a_stranger(kind, is_writer, operation):
    seen = play(LOOPS["ordinary"], pipes, is_writer, "close", kind, operation)
    assert seen[-1] == ([b"mine"] if kind == "pipe" else [b"mine", b"alive"])
