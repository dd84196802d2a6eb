"""Datagram transports over Unix sockets: paths, abstract names, peers without names, and flow control.

Covers net/datagram.c, net/outbuf.c and net/flow.c. A Unix socket takes a few datagrams and then no more until its
peer reads, which is the way to fill a buffer on purpose. Relies on udp_support.py.
"""

import asyncio
import contextlib
import os
import socket
import sys

import pytest
from udp_support import SENDS_EMPTY, Datagrams, close, endpoint, turns

OVERHEAD = 8 if SENDS_EMPTY else 0
# Early 3.13 adds the overhead and does not take it off again.
FORGETS_OVERHEAD = (3, 13) <= sys.version_info < (3, 13, 1)


def unix_socket(path=None):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if path is not None:
        sock.bind(path)
    sock.setblocking(False)
    return sock


@pytest.fixture
def names(tmp_path, monkeypatch):
    """Names of sockets: relative paths, and one in the abstract space."""
    monkeypatch.chdir(tmp_path)
    return {
        "path": "here",
        "utf-8": "h\xe9r\xe9",
        "long": "p" * 107,
        "abstract": f"\0{os.getpid()}-{os.urandom(6).hex()}",
    }


@pytest.mark.parametrize("name", ["path", "utf-8", "long", "abstract"])
def test_names(run, names, name):
    async def main():
        loop = asyncio.get_running_loop()
        here, there = names[name], names[name][:-1] + "X"
        transport, protocol = await endpoint(family=socket.AF_UNIX, local_addr=here)
        peer = unix_socket(there)
        assert transport.get_extra_info("sockname") == transport._sock.getsockname()
        for _ in range(2):
            await loop.sock_sendto(peer, b"hello", here)
            await protocol.until_received(1)
            data, addr = protocol.received.pop()
            assert data == b"hello"
            assert addr == peer.getsockname() and type(addr) is (bytes if name == "abstract" else str)
            transport.sendto(b"back", addr)
            assert await loop.sock_recvfrom(peer, 100) == (b"back", transport._sock.getsockname())
            transport.sendto(b"by name", there)
            transport.sendto(b"by bytes", os.fsencode(there))
            assert [await loop.sock_recv(peer, 100) for _ in range(2)] == [b"by name", b"by bytes"]
        await close(transport, peer)

    run(main())


def test_a_peer_without_a_name(run, names):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await endpoint(family=socket.AF_UNIX, local_addr=names["path"])
        named, unnamed = unix_socket("named"), unix_socket()
        for peer in (unnamed, named, unnamed):
            await loop.sock_sendto(peer, b"x", names["path"])
        await protocol.until_received(3)
        assert protocol.received == [(b"x", None), (b"x", "named"), (b"x", None)]
        await close(transport, named, unnamed)

    run(main())


def test_a_stale_name_is_removed(run, names):
    async def main():
        unix_socket(names["path"]).close()
        transport, _ = await endpoint(family=socket.AF_UNIX, local_addr=names["path"])
        await close(transport)
        with open("file", "w"):
            pass
        with pytest.raises(OSError):
            await endpoint(family=socket.AF_UNIX, local_addr="file")
        with pytest.raises(TypeError, match="string is expected"):
            await endpoint(family=socket.AF_UNIX, local_addr=("file", 0))

    run(main())


def test_with_a_peer(run, names):
    async def main():
        loop = asyncio.get_running_loop()
        peer = unix_socket("there")
        transport, protocol = await endpoint(family=socket.AF_UNIX, local_addr=names["path"], remote_addr="there")
        assert transport.get_extra_info("peername") == "there"
        transport.sendto(b"x")
        transport.sendto(b"x", "there")
        assert [await loop.sock_recvfrom(peer, 100) for _ in range(2)] == [(b"x", names["path"])] * 2
        with pytest.raises(ValueError, match="Invalid address: must be None or there"):
            transport.sendto(b"x", "elsewhere")
        peer.close()
        transport.sendto(b"x")
        assert isinstance(protocol.exceptions[0], ConnectionRefusedError)
        assert not transport.is_closing()
        await close(transport)

    run(main())


def test_nobody_there(run, errors):
    async def main():
        transport, protocol = await endpoint(family=socket.AF_UNIX)
        transport.sendto(b"x", "nobody")
        assert isinstance(protocol.exceptions[0], FileNotFoundError)
        assert not transport.is_closing()
        transport.sendto(b"x", "p" * 200)
        assert isinstance(protocol.exceptions[1], OSError)
        transport.sendto(b"x", ("127.0.0.1", 9))
        assert isinstance(await protocol.lost, TypeError)

    run(main())


def test_a_pair(run, errors):
    # The ends of a pair have no names: they hear, and asyncio does not know whom to speak to.
    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        far.setblocking(False)
        transport, protocol = await endpoint(sock=near)
        await loop.sock_sendall(far, b"x")
        await protocol.until_received(1)
        assert protocol.received == [(b"x", None)]
        transport.sendto(b"x")
        assert isinstance(await protocol.lost, TypeError)
        await close(far)

    run(main())


class Sender:
    """A transport whose peer does not read, and what was sent so far."""

    def __init__(self, transport, protocol, peer):
        self.transport, self.protocol, self.peer = transport, protocol, peer
        self.sent = []

    def send(self, size=100):
        data = (b"%d:" % len(self.sent)).ljust(size, b".")
        self.sent.append(data)
        self.transport.sendto(data)

    def fill(self, queued):
        """Send until that many datagrams wait."""
        while not self.transport.get_write_buffer_size():
            self.send()
        for _ in range(queued - 1):
            self.send()

    async def receive(self, count):
        loop = asyncio.get_running_loop()
        return [await loop.sock_recv(self.peer, 10_000) for _ in range(count)]


async def sender(factory=Datagrams):
    peer = unix_socket("peer")
    transport, protocol = await endpoint(factory, family=socket.AF_UNIX, remote_addr="peer")
    return Sender(transport, protocol, peer)


def test_what_is_queued_goes_out_in_order(run, names):
    async def main():
        box = await sender()
        box.fill(30)
        assert box.transport.get_write_buffer_size() == 30 * (100 + OVERHEAD)
        assert "write=<polling, bufsize=" in repr(box.transport)
        assert await box.receive(len(box.sent)) == box.sent
        while "write=<polling" in repr(box.transport):
            await turns()
        assert FORGETS_OVERHEAD or box.transport.get_write_buffer_size() == 0
        assert "pause" not in box.protocol.events
        box.send()
        assert await box.receive(1) == box.sent[-1:]
        await close(box.transport, box.peer)

    run(main())


def test_what_was_sent_is_what_arrives(run, names):
    # A buffer that is changed after sendto() has been copied; one that is not bytes is sent as bytes.
    async def main():
        box = await sender()
        box.fill(1)
        data = bytearray(b"before")
        box.transport.sendto(data)
        data[:] = b"after."
        box.transport.sendto(memoryview(b"012345")[::2])
        expected = [*box.sent, b"before", b"024"]
        if SENDS_EMPTY:
            box.transport.sendto(b"")
            expected.append(b"")
        box.transport.sendto(b"last")
        expected.append(b"last")
        assert await box.receive(len(expected)) == expected
        await close(box.transport, box.peer)

    run(main())


def test_flow_control(run, names):
    async def main():
        box = await sender()
        box.fill(1)
        box.transport.set_write_buffer_limits(high=5000, low=2000)
        while "pause" not in box.protocol.events:
            assert box.transport.get_write_buffer_size() <= 5000
            box.send()
        assert box.transport.get_write_buffer_size() > 5000
        box.send()
        assert box.protocol.events == ["made", "pause"]
        received = await box.receive(5)
        assert box.protocol.events == ["made", "pause"]
        received += await box.receive(len(box.sent) - 5)
        assert received == box.sent
        await box.protocol.until(lambda: "resume" in box.protocol.events)
        assert box.transport.get_write_buffer_size() <= 2000
        assert box.protocol.events == ["made", "pause", "resume"]
        await close(box.transport, box.peer)

    run(main())


def test_limits_below_what_is_queued(run, names):
    async def main():
        box = await sender()
        box.fill(10)
        box.transport.set_write_buffer_limits(high=500)
        assert box.protocol.events == ["made", "pause"]
        with pytest.raises(ValueError):
            box.transport.set_write_buffer_limits(high=1, low=2)
        box.transport.abort()
        await box.protocol.lost
        await close(box.peer)

    run(main())


def test_close_sends_what_is_queued(run, names):
    async def main():
        box = await sender()
        box.fill(20)
        box.transport.close()
        box.send()  # asyncio takes it still
        assert box.protocol.events == ["made"] and box.transport.is_closing()
        assert await box.receive(len(box.sent)) == box.sent
        assert await box.protocol.lost is None
        assert box.protocol.events == ["made", "lost"]
        await close(box.peer)

    run(main())


def test_abort_drops_what_is_queued(run, names):
    async def main():
        box = await sender()
        box.fill(20)
        before = len(box.sent) - 20
        box.transport.abort()
        assert await box.protocol.lost is None
        assert await box.receive(before) == box.sent[:before]
        await turns()
        with pytest.raises(BlockingIOError):
            box.peer.recv(100)
        await close(box.peer)

    run(main())


@pytest.mark.parametrize("is_closing", [False, True])
def test_the_peer_goes_with_datagrams_queued(run, names, is_closing):
    # Each of them fails for itself.
    async def main():
        box = await sender()
        box.fill(5)
        if is_closing:
            box.transport.close()
        box.peer.close()
        await box.protocol.until_failed(5)
        assert all(isinstance(exc, OSError) for exc in box.protocol.exceptions)
        if is_closing:
            assert await box.protocol.lost is None
        else:
            while "write=<polling" in repr(box.transport):
                await turns()
            assert not box.transport.is_closing()
            await close(box.transport)
        assert len(box.protocol.exceptions) == 5

    run(main())


def test_sending_while_resuming(run, names, kind):
    if kind == "asyncio" and FORGETS_OVERHEAD:
        pytest.skip("the buffer's size never comes down to the low mark")

    class Fills(Datagrams):
        def resume_writing(self):
            super().resume_writing()
            if len(self.events) < 10:
                self.act()

    async def main():
        box = await sender(Fills)
        box.transport.set_write_buffer_limits(high=1000, low=500)

        def act():
            while box.protocol.events[-1] != "pause":
                box.send()

        box.protocol.act = act
        act()
        received = []
        while len(received) < len(box.sent):
            received += await box.receive(1)
        assert received == box.sent
        assert box.protocol.events[:5] == ["made", "pause", "resume", "pause", "resume"]
        await close(box.transport, box.peer)

    run(main())


@pytest.mark.parametrize("way", ["close", "abort"])
@pytest.mark.parametrize("method", ["pause_writing", "resume_writing", "error_received"])
def test_ended_in_a_call(run, names, errors, way, method):
    class Ends(Datagrams):
        def __getattribute__(self, name):
            call = super().__getattribute__(name)
            if name != method or self.lost.done():
                return call

            def call_and_end(*args):
                call(*args)
                getattr(self.transport, way)()

            return call_and_end

    async def main():
        box = await sender(Ends)
        box.transport.set_write_buffer_limits(high=2000, low=1900)
        box.fill(30)
        if method == "error_received":
            box.peer.close()
        while not box.protocol.lost.done():
            await asyncio.sleep(0)
            with contextlib.suppress(OSError):
                box.peer.recv(10_000)
        assert await box.protocol.lost is None
        assert errors == [] and box.protocol.events[-1] == "lost"
        await close(box.peer)

    run(main())
