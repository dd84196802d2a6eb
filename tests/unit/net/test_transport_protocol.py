"""The protocol side of a TCP transport: BufferedProtocol, switching protocols, contexts of the callbacks.

Covers net/transport.c, net/stream_read.c and core/context.h. Relies on tcp_support for connected pairs.
"""

import asyncio
import contextvars
import socket
import sys

import pytest
from tcp_support import (
    BIG,
    BufferedRecorder,
    KeepOpen,
    Recorder,
    connected,
    linked,
    only_loopmod,
    pattern,
    recv_exactly,
    turns,
)

V315 = sys.version_info >= (3, 15)
pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("size", [1, 7, 4096, 300_000])
def test_buffered_protocol(run, errors, size):
    total = {1: 3_000, 7: 30_000}.get(size, 500_000)

    class Sized(BufferedRecorder):
        keep_open = True

    Sized.size = size

    async def main():
        async with connected(Sized) as (transport, protocol, far):
            await asyncio.get_running_loop().sock_sendall(far, pattern(total))
            far.shutdown(socket.SHUT_WR)
            await protocol.until(lambda: "eof" in protocol.events)
            assert protocol.received == pattern(total)
            assert set(protocol.hints) == {-1}
            assert protocol.events == ["made", "data", "eof"]

    run(main())
    assert errors == []


def test_reading_begun_anew_within_eof_received(run, errors):
    """The end is reported once: what eof_received() returns is about what is read from then on."""

    class Restless(Recorder):
        keep_open = True

        def eof_received(self):
            self.transport.pause_reading()
            self.transport.resume_reading()
            return super().eof_received()

    async def main():
        async with connected(Restless) as (transport, protocol, far):
            far.shutdown(socket.SHUT_WR)
            await protocol.until(lambda: "eof" in protocol.events)
            for _ in range(5):
                await asyncio.sleep(0)
            assert protocol.events == ["made", "eof"]
            transport.write(b"still open")
            assert await recv_exactly(far, 10) == b"still open"

    run(main())
    assert errors == []


@pytest.mark.parametrize("part", [slice(0, 10), slice(5, 1000)])
def test_buffered_protocol_giving_views(run, part):
    class Views(BufferedRecorder):
        def get_buffer(self, sizehint):
            self.view = memoryview(self.space)[part]
            return self.view

        def buffer_updated(self, nbytes):
            Recorder.data_received(self, bytes(self.view[:nbytes]))
            self.view.release()
            # nobody else may still hold the buffer
            self.space.extend(b"x")
            del self.space[-1:]

    async def main():
        async with connected(Views) as (transport, protocol, far):
            far.send(pattern(20_000))
            assert await protocol.until_received(20_000) == pattern(20_000)

    run(main())


def test_buffered_protocol_without_the_base_class(run, kind):
    only_loopmod(kind, "asyncio looks at the type instead of the methods")

    class Duck:
        def __init__(self):
            self.space = bytearray(100)
            self.received = bytearray()
            self.lost = asyncio.get_running_loop().create_future()

        def connection_made(self, transport):
            pass

        def get_buffer(self, sizehint):
            return self.space

        def buffer_updated(self, nbytes):
            self.received += self.space[:nbytes]

        def eof_received(self):
            pass

        def connection_lost(self, exc):
            self.lost.set_result(exc)

    async def main():
        async with connected(Duck) as (transport, protocol, far):
            far.send(pattern(1000))
            far.shutdown(socket.SHUT_WR)
            assert await protocol.lost is None
            assert protocol.received == pattern(1000)

    run(main())


def test_protocol_that_happens_to_have_get_buffer(run):
    class Both(Recorder):
        def get_buffer(self, sizehint):
            raise AssertionError("not a BufferedProtocol")

    async def main():
        async with connected(Both) as (transport, protocol, far):
            far.send(b"data")
            assert await protocol.until_received(4) == b"data"

    run(main())


def test_plain_class_as_protocol(run, errors):
    class Plain:
        """Only the methods that this connection comes to call, and found on the instance."""

        def __init__(self):
            self.lost = asyncio.get_running_loop().create_future()
            self.data = []
            self.connection_made = lambda transport: None
            self.data_received = self.data.append
            self.connection_lost = self.lost.set_result

    async def main():
        async with connected(Plain) as (transport, protocol, far):
            far.send(b"data")
            while not protocol.data:
                await asyncio.sleep(0.001)
            # looked up for each call: a method put on the instance later counts
            protocol.data_received = lambda data: protocol.data.append(data.upper())
            far.send(b"more")
            while len(protocol.data) < 2:
                await asyncio.sleep(0.001)
            assert protocol.data == [b"data", b"MORE"]
            transport.close()
            assert await protocol.lost is None

    run(main())
    assert errors == []


def test_class_patched_while_connected(run):
    class Patched(Recorder):
        pass

    async def main():
        async with connected(Patched) as (transport, protocol, far):
            far.send(b"one")
            await protocol.until_received(3)
            Patched.data_received = lambda self, data: Recorder.data_received(self, data[::-1])
            far.send(b"two")
            assert await protocol.until_received(6) == b"oneowt"

    run(main())


@pytest.mark.parametrize("first", [KeepOpen, BufferedRecorder])
@pytest.mark.parametrize("second", [KeepOpen, BufferedRecorder])
def test_switch_of_protocols(run, errors, first, second):
    async def main():
        async with connected(first) as (transport, old, far):
            assert transport.get_protocol() is old
            far.send(b"before")
            assert await old.until_received(6) == b"before"
            new = second()
            new.events.append("switched")
            assert transport.set_protocol(new) is None
            assert transport.get_protocol() is new
            far.send(b"after")
            assert await new.until_received(5) == b"after"
            transport.write(pattern(BIG))
            assert "pause" in new.events
            await recv_exactly(far, BIG)
            await new.until(lambda: "resume" in new.events)
            transport.close()
            assert await new.lost is None
            assert old.events == ["made", "data"] and old.received == b"before"
            assert new.events == ["switched", "data", "pause", "resume", "lost"]
            assert transport.get_protocol() is None

    run(main())
    assert errors == []


@pytest.mark.parametrize("first", [Recorder, BufferedRecorder])
@pytest.mark.parametrize("second", [Recorder, BufferedRecorder])
def test_switch_inside_a_read(run, errors, first, second):
    made = []

    class Hands(first):
        def take(self, data):
            made.append(second())
            made[0].events.append("switched")
            made[0].received += data
            self.transport.set_protocol(made[0])

        def data_received(self, data):
            self.take(data)

        def buffer_updated(self, nbytes):
            self.take(self.space[:nbytes])

    async def main():
        async with connected(Hands) as (transport, old, far):
            await asyncio.get_running_loop().sock_sendall(far, pattern(1_000_000))
            while not made:
                await asyncio.sleep(0.001)
            assert await made[0].until_received(1_000_000) == pattern(1_000_000)
            assert old.received == b""
            far.shutdown(socket.SHUT_WR)
            assert await made[0].lost is None
            assert old.events == ["made"]

    run(main())
    assert errors == []


WHERE = contextvars.ContextVar("WHERE", default="nowhere")


class Seen(KeepOpen):
    """Notes the value of WHERE in each callback instead of the bare name."""

    def note(self, event):
        super().note(f"{event} {WHERE.get()}")

    def data_received(self, data):
        self.received += data
        self.note("data")


def test_context_of_the_callbacks(run):
    async def main():
        WHERE.set("creator")
        async with connected(Seen) as (transport, protocol, far):
            WHERE.set("later")
            far.send(b"x")
            await protocol.until_received(1)
            WHERE.set("writer")
            transport.write(pattern(BIG))
            await recv_exactly(far, BIG)
            WHERE.set("other")
            far.shutdown(socket.SHUT_WR)
            await protocol.until(lambda: len(protocol.events) == 5)
            WHERE.set("closer")
            transport.close()
            await protocol.lost
            # Since 3.15 what the loop calls by itself runs in the one context of the connection.
            assert protocol.events == [
                "made creator",
                "data creator",
                "pause writer",
                "resume creator" if V315 else "resume writer",
                "eof creator",
                "lost creator" if V315 else "lost closer",
            ]

    run(main())


def test_context_of_the_loss_after_an_end_of_stream(run):
    class Ends(Seen):
        keep_open = False

    async def main():
        WHERE.set("creator")
        async with connected(Ends) as (transport, protocol, far):
            WHERE.set("later")
            far.shutdown(socket.SHUT_WR)
            await protocol.lost
            assert protocol.events == ["made creator", "eof creator", "lost creator"]

    run(main())


def test_context_after_resume_reading(run):
    async def main():
        WHERE.set("creator")
        async with connected(Seen) as (transport, protocol, far):
            transport.pause_reading()
            WHERE.set("resumer")
            transport.resume_reading()
            WHERE.set("later")
            far.send(b"x")
            await protocol.until_received(1)
            assert protocol.events == ["made creator", "data creator" if V315 else "data resumer"]

    run(main())


def test_context_of_a_connection(run):
    """What connection_made sets stays for the callbacks after it since 3.15, and never reaches the creator."""

    class Sets(Seen):
        def connection_made(self, transport):
            super().connection_made(transport)
            WHERE.set("connection")

    async def main():
        WHERE.set("creator")
        async with connected(Sets) as (transport, protocol, far):
            far.send(b"x")
            await protocol.until_received(1)
            transport.write(pattern(BIG))
            await recv_exactly(far, BIG)
            WHERE.set("closer")
            transport.abort()
            await protocol.lost
            assert WHERE.get() == "closer"
            if V315:
                kept = ["data connection", "pause creator", "resume connection", "lost connection"]
            else:
                kept = ["data creator", "pause creator", "resume creator", "lost closer"]
            assert protocol.events == ["made creator", *kept]

    run(main())


def test_contexts_of_accepted_connections(run):
    """Each accepted connection has a context of its own: what one sets, the next does not see."""
    made = []

    class Sets(Seen):
        def connection_made(self, transport):
            super().connection_made(transport)
            WHERE.set(f"connection {len(made)}")

    def factory():
        made.append(Sets())
        return made[-1]

    async def main():
        WHERE.set("server")
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        for count in (1, 2):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x")
            while len(made) < count:
                await asyncio.sleep(0.001)
            protocol = made[-1]
            await protocol.until_received(1)
            data = f"data connection {count}" if V315 else "data server"
            assert protocol.events == ["made server", data]
            protocol.transport.abort()
            await protocol.lost
            writer.close()
        server.close()
        await server.wait_closed()

    run(main())


def test_context_of_reads_is_one(run):
    class Counts(Recorder):
        def data_received(self, data):
            super().data_received(data)
            WHERE.set(WHERE.get() + len(data))

        def eof_received(self):
            self.sum = WHERE.get()

    async def main():
        WHERE.set(100)
        async with connected(Counts) as (transport, protocol, far):
            for i in range(1, 4):
                far.send(b"x" * i)
                await protocol.until_received(sum(range(i + 1)))
            far.shutdown(socket.SHUT_WR)
            await protocol.lost
            # what a read sets stays for the next read and does not reach the creator
            assert protocol.sum == 106
            assert WHERE.get() == 100

    run(main())


def test_context_on_the_accepting_side(run):
    made = []

    def factory():
        made.append(Seen())
        made[-1].events.append(f"factory {WHERE.get()}")
        return made[-1]

    async def main():
        WHERE.set("server")
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        WHERE.set("client")
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        while not made:
            await asyncio.sleep(0.001)
        await made[0].until_received(1)
        assert made[0].events == ["factory server", "made server", "data server"]
        writer.close()
        await made[0].until(lambda: "eof server" in made[0].events)
        made[0].transport.close()
        await made[0].lost
        server.close()
        await server.wait_closed()

    run(main())


def test_callbacks_run_one_at_a_time(run):
    class Depth(Recorder):
        depth = 0

        def data_received(self, data):
            assert self.depth == 0
            self.depth += 1
            super().data_received(data)
            self.transport.write(data[:10])
            self.depth -= 1

    async def main():
        async with linked(Depth, Recorder) as (near, far):
            for i in range(50):
                far.transport.write(b"%010d" % i)
                await turns(i % 3)
            await far.until(lambda: near.received[-10:] == b"%010d" % 49 and far.received[-10:])
            assert near.received == b"".join(b"%010d" % i for i in range(50))

    run(main())
