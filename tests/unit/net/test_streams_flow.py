"""Streams under load and under observation: drain, paused reading, many clients, overridden feeding.

Covers net/flow.c and net/stream_feed.c, whose native feed of a StreamReader nobody may notice. Relies on
tcp_support.
"""

import asyncio
import socket

import pytest
from tcp_support import BIG, ask, connected, pattern, recv_all, recv_exactly, reset, serving, stream, turns

pytestmark = pytest.mark.timeout(60)


def test_drain_waits_for_a_slow_peer(run, errors):
    async def main():
        async with stream() as (reader, writer, far):
            writer.write(b"small")
            await writer.drain()
            await recv_exactly(far, 5)
            writer.write(pattern(BIG))
            draining = [asyncio.ensure_future(writer.drain()) for _ in range(5)]
            await turns(20)
            assert not any(waiter.done() for waiter in draining)
            assert await recv_exactly(far, BIG) == pattern(BIG)
            assert await asyncio.gather(*draining) == [None] * 5
            assert writer.transport.get_write_buffer_size() <= writer.transport.get_write_buffer_limits()[0]

    run(main())
    assert errors == []


def test_drain_keeps_the_buffer_small(run):
    async def main():
        async with stream() as (reader, writer, far):
            reading = asyncio.ensure_future(recv_all(far))
            limit = writer.transport.get_write_buffer_limits()[1]
            data = pattern(BIG)
            for at in range(0, BIG, 10_000):
                writer.write(data[at : at + 10_000])
                assert writer.transport.get_write_buffer_size() <= limit + 10_000
                await writer.drain()
            writer.close()
            assert await reading == data
            await writer.wait_closed()

    run(main())


def test_drain_cancelled(run):
    async def main():
        async with stream() as (reader, writer, far):
            writer.write(pattern(BIG))
            one, two = (asyncio.ensure_future(writer.drain()) for _ in range(2))
            await turns()
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
            assert not two.done()
            assert await recv_exactly(far, BIG) == pattern(BIG)
            await two

    run(main())


@pytest.mark.parametrize("how", ["reset", "abort"])
def test_drain_ends_with_the_connection(run, errors, how):
    async def main():
        async with stream() as (reader, writer, far):
            writer.write(pattern(BIG))
            draining = asyncio.ensure_future(writer.drain())
            await turns()
            if how == "reset":
                reset(far)
                with pytest.raises(ConnectionError):
                    await draining
            else:
                writer.transport.abort()
                await draining
            with pytest.raises(ConnectionError):
                await writer.drain()

    run(main())
    assert errors == []


def test_reading_pauses_beyond_twice_the_limit(run):
    async def main():
        async with stream(limit=1000) as (reader, writer, far):
            far.send(pattern(2000))
            while len(reader._buffer) < 2000:
                await asyncio.sleep(0.001)
            assert writer.transport.is_reading()
            far.send(b"x")
            while writer.transport.is_reading():
                await asyncio.sleep(0.001)
            far.send(b"held back")
            await turns(20)
            assert bytes(reader._buffer) == pattern(2000) + b"x"
            assert await reader.read(1000) == pattern(2000)[:1000]
            assert not writer.transport.is_reading()
            # at the limit, not above it
            assert await reader.readexactly(1) == pattern(2000)[1000:1001]
            assert writer.transport.is_reading()
            assert await reader.readexactly(1009) == pattern(2000)[1001:] + b"x" + b"held back"

    run(main())


def test_paused_stream_carries_everything(run):
    async def main():
        async with stream(limit=100) as (reader, writer, far):
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(far, pattern(BIG // 4)))
            got = bytearray()
            while len(got) < BIG // 4:
                got += await reader.read(len(got) % 5000 + 1)
                if len(got) % 7 == 0:
                    await asyncio.sleep(0)
            await sending
            assert got == pattern(BIG // 4)

    run(main())


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def test_echo_of_many_clients(run, errors):
    async def main():
        async with serving(echo) as address:
            wanted = [pattern(1000 * i + 1, i) for i in range(50)]
            assert await asyncio.gather(*(ask(address, data) for data in wanted)) == wanted

    run(main())
    assert errors == []


def test_echo_of_five_mebibytes(run, errors):
    size = 5 * 1024 * 1024

    async def main():
        async with serving(echo) as address:
            reader, writer = await asyncio.open_connection(*address)

            async def send():
                writer.write(pattern(size))
                await writer.drain()
                writer.write_eof()

            sending = asyncio.ensure_future(send())
            assert await reader.readexactly(size) == pattern(size)
            assert await reader.read() == b""
            await sending
            writer.close()
            await writer.wait_closed()

    run(main())
    assert errors == []


class UpperReader(asyncio.StreamReader):
    def feed_data(self, data):
        super().feed_data(data.upper())


class CountingReader(asyncio.StreamReader):
    ends = 0

    def feed_eof(self):
        self.ends += 1
        super().feed_eof()


class UpperProtocol(asyncio.StreamReaderProtocol):
    def data_received(self, data):
        super().data_received(data.upper())


@pytest.mark.parametrize(
    ("reader_class", "protocol_class"),
    [(UpperReader, asyncio.StreamReaderProtocol), (asyncio.StreamReader, UpperProtocol)],
    ids=["reader", "protocol"],
)
def test_overridden_in_a_subclass(run, reader_class, protocol_class):
    async def main():
        loop = asyncio.get_running_loop()
        reader = reader_class(loop=loop)
        async with connected(lambda: protocol_class(reader, loop=loop)) as (transport, protocol, far):
            far.send(b"seen\n")
            assert await reader.readline() == b"SEEN\n"

    run(main())


def test_overridden_eof(run):
    async def main():
        loop = asyncio.get_running_loop()
        reader = CountingReader(loop=loop)
        async with connected(lambda: asyncio.StreamReaderProtocol(reader, loop=loop)) as (transport, _, far):
            far.send(b"x")
            far.shutdown(socket.SHUT_WR)
            assert await reader.read() == b"x"
            assert reader.ends == 1 and not transport.is_closing()
            transport.close()
            await turns()
            assert reader.ends == 2

    run(main())


@pytest.mark.parametrize("owner", [asyncio.StreamReader, asyncio.StreamReaderProtocol], ids=lambda c: c.__name__)
def test_class_patched_before(run, monkeypatch, owner):
    name = "feed_data" if owner is asyncio.StreamReader else "data_received"
    plain = getattr(owner, name)
    seen = []

    def patched(self, data):
        seen.append(bytes(data))
        plain(self, data)

    async def main():
        monkeypatch.setattr(owner, name, patched)
        async with stream() as (reader, writer, far):
            far.send(b"one")
            assert await reader.readexactly(3) == b"one"
            far.send(b"two")
            assert await reader.readexactly(3) == b"two"
            assert seen == [b"one", b"two"]

    run(main())


def test_fed_by_hand_as_well(run):
    async def main():
        async with stream() as (reader, writer, far):
            reader.feed_data(b"by hand,")
            far.send(b"by peer,")
            assert await reader.readexactly(16) == b"by hand,by peer,"
            waiting = asyncio.ensure_future(reader.read(100))
            await turns()
            reader.feed_data(b"woken")
            assert await waiting == b"woken"
            reader.feed_eof()
            assert await reader.read() == b""
            assert reader.at_eof()

    run(main())


def test_data_after_an_end_fed_by_hand(run, errors):
    async def main():
        async with stream() as (reader, writer, far):
            reader.feed_eof()
            far.send(b"x")
            # the assertion of feed_data ends the connection
            while not writer.is_closing():
                await asyncio.sleep(0.001)
            [context] = errors
            assert context["message"] == "Fatal error: protocol.data_received() call failed."
            assert type(context["exception"]) is AssertionError
            assert str(context["exception"]) == "feed_data after feed_eof"

    run(main())


def test_reader_dropped_while_connected(run, errors):
    async def main():
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        async with connected(lambda: protocol) as (transport, _, far):
            del reader
            # the protocol holds its reader weakly only; what comes for nobody is dropped
            far.send(b"for nobody")
            await turns(20)
            transport.write(b"alive")
            assert await recv_exactly(far, 5) == b"alive"

    run(main())
    assert errors == []


def test_state_of_the_reader_is_visible(run):
    async def main():
        async with stream() as (reader, writer, far):
            waiting = asyncio.ensure_future(reader.readexactly(10))
            await turns()
            assert reader._waiter is not None and "waiter=" in repr(reader)
            far.send(b"12345")
            while not reader._buffer:
                await asyncio.sleep(0.001)
            assert type(reader._buffer) is bytearray and reader._buffer == b"12345"
            assert "5 bytes" in repr(reader)
            far.send(b"67890")
            assert await waiting == b"1234567890"
            far.shutdown(socket.SHUT_WR)
            assert await reader.read() == b""
            assert "eof" in repr(reader)

    run(main())
