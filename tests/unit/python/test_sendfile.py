"""`loop.sendfile` over transports and `loop.sock_sendfile`: what arrives, positions, refusals, ends in mid-send.

Covers loopmod/sendfile.py. Relies on the fixtures of tests/conftest.py and on tcp_support. Where asyncio would hang
or break, the test says so and runs on loopmod alone.
"""

import asyncio
import errno
import io
import os
import socket
import sys

import pytest
from tcp_support import (
    BIG,
    Recorder,
    connected,
    only_loopmod,
    pattern,
    recv_all,
    recv_exactly,
    reset,
    tcp_pair,
    turns,
)

pytestmark = pytest.mark.timeout(60)

DATA = pattern(100_000)


@pytest.fixture
def file(tmp_path):
    """A binary file of 100,000 bytes, open for reading and at its start."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    with open(path, "rb") as opened:
        yield opened


@pytest.fixture
def big(tmp_path):
    """The same with more than loopback takes at once."""
    path = tmp_path / "big"
    path.write_bytes(pattern(2 * BIG))
    with open(path, "rb") as opened:
        yield opened


class OnlyReads:
    """A file that has no descriptor: the fallback reads it."""

    mode = "rb"

    def __init__(self, data):
        self._file = io.BytesIO(data)
        self.readinto = self._file.readinto
        self.seek = self._file.seek
        self.tell = self._file.tell


# sock_sendfile


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [
        (0, None, slice(None)),
        (1000, None, slice(1000, None)),
        (0, 5, slice(5)),
        (99_990, 5, slice(99_990, 99_995)),
        (99_990, 500, slice(99_990, None)),
        (0, 2**40, slice(None)),
    ],
)
@pytest.mark.parametrize("native", [True, False])
def test_sock_sendfile(run, loop, file, native, offset, count, expected):
    source = file if native else OnlyReads(DATA)

    async def main():
        near, far = tcp_pair()
        with far:
            with near:
                receiving = loop.create_task(recv_all(far))
                sent = await loop.sock_sendfile(near, source, offset, count, fallback=not native)
                assert sent == len(DATA[expected])
                assert source.tell() == offset + sent
            assert await receiving == DATA[expected]

    run(main())


@pytest.mark.parametrize("native", [True, False])
def test_offset_at_the_end(run, loop, file, native):
    source = file if native else OnlyReads(DATA)

    async def main():
        near, far = tcp_pair()
        with near, far:
            assert await loop.sock_sendfile(near, source, len(DATA), fallback=not native) == 0
            with pytest.raises(BlockingIOError):
                far.recv(1)

    run(main())


def test_where_a_sent_file_stands_without_offset(run, loop, file):
    # A position of its own does not count: an offset of 0 is the start of the file. From 3.14 on this
    # holds for what has to be read, too.
    async def main():
        near, far = tcp_pair()
        with near, far:
            file.seek(99_000)
            assert await loop.sock_sendfile(near, file, 0, 10) == 10
            assert far.recv(100) == DATA[:10] and file.tell() == 10
            source = OnlyReads(DATA)
            source.seek(500)
            assert await loop.sock_sendfile(near, source, 0, 10) == 10
            begin = 0 if sys.version_info >= (3, 14) else 500
            assert far.recv(100) == DATA[begin : begin + 10]
            assert source.tell() == 10

    run(main())


def test_an_empty_file(run, loop, tmp_path):
    path = tmp_path / "empty"
    path.touch()

    async def main():
        async with connected() as (transport, _, _):
            with path.open("rb") as source:
                assert await loop.sendfile(transport, source) == 0
                near, far = tcp_pair()
                with near, far:
                    assert await loop.sock_sendfile(near, source) == 0

    run(main())


@pytest.mark.parametrize(
    ("args", "error"),
    [
        ((-1,), ValueError),
        ((1.5,), TypeError),
        ((0, 0), ValueError),
        ((0, -1), ValueError),
        ((0, 1.5), TypeError),
    ],
)
def test_bad_arguments(run, loop, file, args, error):
    async def main():
        near, far = tcp_pair()
        with near, far:
            with pytest.raises(error):
                await loop.sock_sendfile(near, file, *args)
            with open(file.name, encoding="utf-8") as text, pytest.raises(ValueError, match="binary mode"):
                await loop.sock_sendfile(near, text)
        with socket.socket(type=socket.SOCK_DGRAM) as datagrams:
            datagrams.setblocking(False)
            with pytest.raises(ValueError, match="SOCK_STREAM"):
                await loop.sock_sendfile(datagrams, file)

    run(main())


def test_without_fallback(run, loop):
    async def main():
        near, far = tcp_pair()
        with near, far:
            with pytest.raises(asyncio.SendfileNotAvailableError):
                await loop.sock_sendfile(near, OnlyReads(DATA), fallback=False)
        async with connected() as (transport, _, _):
            with pytest.raises(asyncio.SendfileNotAvailableError):
                await loop.sendfile(transport, OnlyReads(DATA), fallback=False)
            # Nothing is left over: it writes and reads.
            transport.write(b"x")
            assert transport.is_reading()

    run(main())


def test_a_pipe_falls_back(run, loop):
    # A descriptor that the system call refuses.
    async def main():
        reader, writer = os.pipe()
        os.write(writer, b"from a pipe")
        os.close(writer)
        near, far = tcp_pair()
        with near, far, open(reader, "rb", buffering=0) as source:
            # Its size is 0: an empty file, as far as the call is concerned.
            assert await loop.sock_sendfile(near, source) == 0

    run(main())


def test_sock_sendfile_cancelled(run, loop, big):
    async def main():
        near, far = tcp_pair()
        with near, far:
            sending = loop.create_task(loop.sock_sendfile(near, big))
            first = await recv_exactly(far, 100_000)
            assert not sending.done()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert loop.remove_writer(near) is False
            near.shutdown(socket.SHUT_WR)
            rest = await recv_all(far)
            sent = first + rest
            assert sent == pattern(2 * BIG)[: len(sent)] and len(sent) < 2 * BIG

    run(main())


def test_a_socket_that_cannot_be_watched_any_more(run, loop, kind, big, monkeypatch):
    only_loopmod(kind, "asyncio waits for ever: only the exception handler is told")
    add_writer, calls = loop.add_writer, []

    def refused_at_last(*args):
        calls.append(args)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, "refused")
        add_writer(*args)

    async def main():
        near, far = tcp_pair()
        with near, far:
            monkeypatch.setattr(loop, "add_writer", refused_at_last)
            sending = loop.create_task(loop.sock_sendfile(near, big))
            receiving = loop.create_task(recv_all(far))
            with pytest.raises(OSError, match="refused"):
                await sending
            assert loop.remove_writer(near) is False
            near.close()
            received = await receiving
            assert 0 < len(received) < 2 * BIG and received == pattern(2 * BIG)[: len(received)]

    run(main())


def test_sock_sendfile_to_nobody(run, loop, big):
    async def main():
        near, far = tcp_pair()
        with near:
            sending = loop.create_task(loop.sock_sendfile(near, big))
            await recv_exactly(far, 100_000)
            reset(far)
            with pytest.raises(ConnectionError):
                await sending
            assert loop.remove_writer(near) is False
            # How far it came.
            assert 0 < big.tell() < 2 * BIG

    run(main())


# sendfile over a transport


@pytest.mark.parametrize("source_of", ["file", "reads"])
@pytest.mark.parametrize(("offset", "count"), [(0, None), (1000, None), (10, 20)])
def test_sendfile(run, loop, file, source_of, offset, count):
    source = file if source_of == "file" else OnlyReads(DATA)
    expected = DATA[offset:] if count is None else DATA[offset : offset + count]

    async def main():
        async with connected() as (transport, protocol, far):
            transport.write(b"before ")
            assert await loop.sendfile(transport, source, offset, count) == len(expected)
            assert source.tell() == offset + len(expected)
            transport.write(b" after")
            assert await recv_exactly(far, len(expected) + 13) == b"before " + expected + b" after"
            far.send(b"answer")
            assert await protocol.until_received(6) == b"answer"
            assert protocol.events == ["made", "data"]

    run(main())


def test_sendfile_waits_for_what_was_written(run, loop, big):
    async def main():
        async with connected() as (transport, _, far):
            transport.write(pattern(BIG, seed=2))
            assert transport.get_write_buffer_size() > 0
            sending = loop.create_task(loop.sendfile(transport, big))
            assert await recv_exactly(far, 3 * BIG) == pattern(BIG, seed=2) + pattern(2 * BIG)
            assert await sending == 2 * BIG

    run(main())


def test_nothing_else_is_sent_or_read_meanwhile(run, loop, big):
    async def main():
        async with connected() as (transport, protocol, far):
            sending = loop.create_task(loop.sendfile(transport, big))
            first = await recv_exactly(far, 100_000)
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                transport.write(b"x")
            with pytest.raises(RuntimeError, match="sendfile is in progress"):
                transport.writelines([b"x"])
            assert not transport.is_reading()
            far.send(b"question")
            rest = await recv_exactly(far, 2 * BIG - 100_000)
            assert first + rest == pattern(2 * BIG)
            assert protocol.events == ["made"]
            assert await sending == 2 * BIG
            assert await protocol.until_received(8) == b"question"

    run(main())


def test_paused_before_paused_after(run, loop, file):
    async def main():
        async with connected() as (transport, _, far):
            transport.pause_reading()
            await loop.sendfile(transport, file)
            assert not transport.is_reading()
            assert await recv_exactly(far, len(DATA)) == DATA

    run(main())


def test_reading_resumed_in_mid_send(run, loop, big):
    async def main():
        async with connected() as (transport, protocol, far):
            sending = loop.create_task(loop.sendfile(transport, big))
            first = await recv_exactly(far, 100_000)
            transport.resume_reading()
            rest = await recv_exactly(far, 2 * BIG - 100_000)
            assert first + rest == pattern(2 * BIG)
            await sending
            far.send(b"question")
            assert await protocol.until_received(8) == b"question"

    run(main())


def test_two_at_once(run, loop, kind, big, file):
    async def main():
        async with connected() as (transport, _, far):
            sending = loop.create_task(loop.sendfile(transport, big))
            first = await recv_exactly(far, 100_000)
            with pytest.raises(RuntimeError if kind == "loopmod" else (RuntimeError, KeyError)):
                await loop.sendfile(transport, file)
            rest = await recv_exactly(far, 2 * BIG - 100_000)
            assert first + rest == pattern(2 * BIG)
            assert await sending == 2 * BIG

    run(main())


@pytest.mark.parametrize("waits", [False, True], ids=["sending", "waiting"])
def test_sendfile_cancelled(run, loop, kind, big, waits, errors):
    if waits:
        only_loopmod(kind, "asyncio leaves the transport unable to write")

    async def main():
        async with connected() as (transport, protocol, far):
            if waits:
                transport.write(bytes(BIG))
            sending = loop.create_task(loop.sendfile(transport, big))
            received = 0
            if waits:
                await turns(3)
            else:
                received += len(await recv_exactly(far, 100_000))
            assert not sending.done()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert transport.is_reading()
            far.send(b"hello")
            assert await protocol.until_received(5) == b"hello"
            transport.write(b"the end")
            transport.close()
            rest = await recv_all(far)
            assert rest.endswith(b"the end")
            if waits:
                assert len(rest) == BIG + 7
            else:
                sent = received + len(rest) - 7
                assert 0 < sent < 2 * BIG and rest[:-7] == pattern(2 * BIG)[received:sent]
            await protocol.lost
        assert errors == []

    run(main())


def test_the_peer_goes_in_mid_send(run, loop, big):
    async def main():
        async with connected() as (transport, protocol, far):
            sending = loop.create_task(loop.sendfile(transport, big))
            await recv_exactly(far, 100_000)
            reset(far)
            with pytest.raises(ConnectionError):
                await sending
            # Reading, resumed, finds out too.
            await protocol.lost
            assert protocol.events[-1] == "lost"

    run(main())


def test_the_peer_goes_while_it_waits(run, loop, big, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.write(bytes(BIG))
            sending = loop.create_task(loop.sendfile(transport, big, fallback=False))
            await turns(3)
            reset(far)
            with pytest.raises(ConnectionError):
                await sending
            await protocol.lost

    run(main())


@pytest.mark.parametrize("how", ["abort", "close"])
def test_closed_in_mid_send(run, loop, kind, big, how, errors):
    only_loopmod(kind, "asyncio waits for ever for a descriptor that is closed")

    async def main():
        async with connected() as (transport, protocol, far):
            sending = loop.create_task(loop.sendfile(transport, big))
            await recv_exactly(far, 100_000)
            getattr(transport, how)()
            with pytest.raises(OSError):
                await asyncio.wait_for(sending, 10)
            await protocol.lost
        assert errors == []
        # The loop and the number are well.
        near, far = tcp_pair()
        with near, far:
            near.send(b"x")
            assert await loop.sock_recv(far, 1) == b"x"

    run(main())


def test_a_closing_transport_refuses(run, loop, file):
    async def main():
        async with connected() as (transport, _, _):
            transport.close()
            with pytest.raises(RuntimeError, match="Transport is closing"):
                await loop.sendfile(transport, file)

    run(main())


def test_a_transport_that_cannot(run, loop, file):
    async def main():
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
        with pytest.raises(RuntimeError, match="sendfile is not supported for transport"):
            await loop.sendfile(transport, file)
        transport.close()
        await turns(2)

    run(main())


def test_the_fallback_gives_the_protocol_back(run, loop, kind):
    async def main():
        async with connected() as (transport, protocol, far):
            sending = loop.create_task(loop.sendfile(transport, OnlyReads(pattern(BIG))))
            received = await recv_exactly(far, BIG)
            # asyncio, from 3.12 on, may read the next block into the buffer that its transport still has to send.
            if kind == "loopmod" or sys.version_info < (3, 12):
                assert received == pattern(BIG)
            assert await sending == BIG
            assert transport.get_protocol() is protocol
            far.send(b"x")
            assert await protocol.until_received(1) == b"x"
            assert type(protocol) is Recorder

    run(main())
