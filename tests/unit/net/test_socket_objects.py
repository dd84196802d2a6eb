"""Sockets with methods of their own, and mocks: a transport calls the methods that asyncio's calls, and no others.

Covers net/sock_way.c.
"""

import asyncio
import os
import socket
import unittest.mock

import pytest
from fd_support import LOOPS, Notes, noting, play
from loop_support import until
from tcp_support import turns
from tls_support import client_context, server_context

pytestmark = pytest.mark.timeout(60)

METHODS = ("recv", "recv_into", "send", "sendmsg", "shutdown", "sendto", "recvfrom", "getpeername", "getsockname")


class Told(socket.socket):
    """Notes which of its methods were called."""

    calls: list[str] = []


def telling(name):
    def method(self, *args):
        result = getattr(socket.socket, name)(self, *args)
        self.calls.append(name)
        return result

    return method


for _name in METHODS:
    setattr(Told, _name, telling(_name))


def told_pair(type_=socket.SOCK_STREAM):
    a, b = socket.socketpair(type=type_)
    Told.calls = []
    b.setblocking(False)
    return Told(fileno=a.detach()), b


async def stream(seen):
    ours, other = told_pair()
    transport, protocol = await asyncio.get_running_loop().create_connection(Notes, sock=ours)
    transport.write(b"one")
    transport.writelines([b"two", b"three"])
    other.send(b"data")
    await until(lambda: protocol.events)
    seen.append((other.recv(100), list(ours.calls)))
    ours.calls.clear()
    while not transport.get_write_buffer_size():
        transport.write(b"x" * 100_000)
    ours.calls.clear()
    transport.write(b"end")
    transport.write_eof()
    size = transport.get_write_buffer_size()
    got = b""
    while not got.endswith(b"end"):
        await asyncio.sleep(0)
        try:
            got += other.recv(1 << 20)
        except BlockingIOError:
            continue
    assert len(got) >= size
    await until(lambda: "shutdown" in ours.calls)
    seen.append(sorted(set(ours.calls)))
    other.close()
    await until(lambda: len(protocol.events) > 1 and ("lost", "NoneType") in protocol.events)
    seen.append([event for event in protocol.events if event not in ("pause", "resume")])


def test_a_stream(kind):
    expected = play(asyncio.SelectorEventLoop, stream)
    for factory in LOOPS.values():
        assert play(factory, stream) == expected
    assert expected[0][1][:2] == ["getsockname", "getpeername"]


class Buffered(asyncio.BufferedProtocol):
    def __init__(self):
        self.room = bytearray(10)
        self.got = b""

    def get_buffer(self, sizehint):
        return self.room

    def buffer_updated(self, count):
        self.got += self.room[:count]


async def buffered(seen):
    ours, other = told_pair()
    transport, protocol = await asyncio.get_running_loop().create_connection(Buffered, sock=ours)
    ours.calls.clear()
    other.send(b"twelve bytes")
    await until(lambda: len(protocol.got) == 12)
    seen.append((protocol.got, list(ours.calls)))
    transport.abort()
    await turns()
    other.close()


def test_a_buffered_protocol():
    expected = play(asyncio.SelectorEventLoop, buffered)
    assert expected == [(b"twelve bytes", ["recv_into"] * 2)]
    for factory in LOOPS.values():
        assert play(factory, buffered) == expected


async def over_tls(seen):
    ours, theirs = told_pair()
    loop = asyncio.get_running_loop()
    task = loop.create_task(loop.connect_accepted_socket(Notes, theirs, ssl=server_context()))
    transport, protocol = await loop.create_connection(
        Notes, sock=ours, ssl=client_context(), server_hostname="localhost"
    )
    other, received = await task
    transport.write(b"x" * 100_000)
    other.write(b"y" * 100_000)
    await until(lambda: sum(len(e[1]) for e in received.events if e[0] == "data") == 100_000)
    await until(lambda: sum(len(e[1]) for e in protocol.events if e[0] == "data") == 100_000)
    seen.append(set(ours.calls) & {"recv", "recv_into", "send"})
    transport.close()
    await until(lambda: "eof" in received.events or any(e[0] == "lost" for e in received.events))
    other.close()
    await turns(8)


def test_tls():
    expected = play(asyncio.SelectorEventLoop, over_tls)
    for factory in LOOPS.values():
        assert play(factory, over_tls) == expected


async def datagrams(seen, is_connected):
    ours, other = told_pair(socket.SOCK_DGRAM)
    if not is_connected:
        ours.close()
        other.close()
        ours, other = Told(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        ours.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        other.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Notes, sock=ours)
    address = None if is_connected else other.getsockname()
    seen.append(bool(transport.get_extra_info("peername")))
    ours.calls.clear()
    with noting(seen):
        transport.sendto(b"out", address)
    if not is_connected:
        other.sendto(b"in", ours.getsockname())
        ours.calls.remove("getsockname")
        await until(lambda: protocol.events)
        seen.append(other.recv(10))
    seen.append((list(protocol.events), list(ours.calls)[:2]))
    transport.abort()
    await turns()
    other.close()


@pytest.mark.parametrize("is_connected", [False, True])
def test_datagrams(is_connected):
    expected = play(asyncio.SelectorEventLoop, datagrams, is_connected)
    assert play(LOOPS["ordinary"], datagrams, is_connected) == expected


class Listening(socket.socket):
    accepted: list[object] = []

    def accept(self):
        if self.accepted == ["fail"]:
            self.accepted.append("failed")
            raise ConnectionAbortedError
        sock, _ = super().accept()
        self.accepted.append(sock)
        return sock, ("somewhere", 1)


async def listener(seen, first):
    listening = Listening()
    listening.bind(("127.0.0.1", 0))
    Listening.accepted = list(first)
    made = []

    class Accepted(Notes):
        def connection_made(self, transport):
            made.append((transport, self))

    server = await asyncio.get_running_loop().create_server(Accepted, sock=listening)
    client = socket.create_connection(listening.getsockname())
    await until(lambda: made)
    transport, protocol = made[0]
    seen.append(transport.get_extra_info("peername"))
    assert transport.get_extra_info("socket")._sock is Listening.accepted[-1]
    client.send(b"hello")
    await until(lambda: protocol.events)
    seen.append(protocol.events)
    transport.abort()
    server.close()
    client.close()
    await turns()


@pytest.mark.parametrize("first", [(), ("fail",)])
def test_a_listener(first):
    expected = play(asyncio.SelectorEventLoop, listener, first)
    for factory in LOOPS.values():
        assert play(factory, listener, first) == expected


def mocked(fd):
    sock = unittest.mock.Mock()
    sock.fileno.return_value = fd
    sock.family, sock.type, sock.proto = socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    sock.getsockname.return_value = ("here", 1)
    sock.getpeername.return_value = ("there", 2)
    sock.send.side_effect = len
    sock.sendmsg.side_effect = lambda pieces: sum(map(len, pieces))
    sock.recv.return_value = b"from a mock"
    return sock


async def mock(seen):
    reading, writing = os.pipe()
    sock = mocked(reading)
    loop = asyncio.get_running_loop()
    protocol = Notes()
    transport = loop._make_socket_transport(sock, protocol)
    await turns()
    seen.append((transport.get_extra_info("sockname"), transport.get_extra_info("peername")))
    transport.write(b"bytes")
    transport.writelines([b"more", b"bytes"])
    os.write(writing, b"x")
    await until(lambda: protocol.events)
    transport.pause_reading()
    seen.append(protocol.events[0])
    transport.write_eof()
    sock.recv.side_effect = ConnectionResetError(104, "reset")
    transport.resume_reading()
    await until(lambda: protocol.events[-1][0] == "lost")
    seen.append(protocol.events[-1])
    names = [call[0] for call in sock.mock_calls if call[0] not in ("fileno", "recv")]
    seen.append(sorted(set(names)))
    sock.setsockopt.assert_called_once_with(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    os.close(reading)
    os.close(writing)


def test_a_mock():
    expected = play(asyncio.SelectorEventLoop, mock)
    for factory in LOOPS.values():
        assert play(factory, mock) == expected


async def failing(seen, name, exc):
    """A method that raises in place of the system."""
    reading, writing = os.pipe()
    sock = mocked(reading)
    getattr(sock, name).side_effect = exc
    protocol = Notes()
    transport = asyncio.get_running_loop()._make_socket_transport(sock, protocol)
    await turns()
    with noting(seen):
        {
            "send": lambda: transport.write(b"x"),
            "recv": lambda: os.write(writing, b"x"),
            "shutdown": transport.write_eof,
        }[name]()
    await asyncio.sleep(0.005)
    transport.pause_reading()
    seen.append(protocol.events)
    transport.abort()
    await turns()
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    "exc", [OSError(5, "odd"), BlockingIOError(), InterruptedError(), ValueError("odd")], ids=repr
)
@pytest.mark.parametrize("name", ["send", "recv", "shutdown"])
def test_methods_that_fail(name, exc):
    expected = play(asyncio.SelectorEventLoop, failing, name, exc)
    for factory in LOOPS.values():
        assert play(factory, failing, name, exc) == expected


@pytest.mark.parametrize("name", ["recv", "send", "shutdown"])
def test_methods_that_end_the_transport(run, name):
    """They run within the transport's call."""

    async def main():
        reading, writing = os.pipe()
        sock = mocked(reading)
        protocol = Notes()
        transport = asyncio.get_running_loop()._make_socket_transport(sock, protocol)
        await turns()

        def end(*args):
            transport.abort()
            return b"late" if name == "recv" else 0

        getattr(sock, name).side_effect = end
        if name == "recv":
            os.write(writing, b"x")
        elif name == "send":
            transport.write(b"x")
        else:
            transport.write_eof()
        await until(lambda: ("lost", "NoneType") in protocol.events)
        assert sock.close.call_count == 1
        os.close(reading)
        os.close(writing)

    run(main())
