"""Writing on a TCP transport: kinds of data, large and many writes, write_eof, dead connections.

Covers net/stream_write.c and net/outbuf.c. Relies on tcp_support for connected pairs.
"""

import array
import asyncio
import contextlib
import hashlib
import logging
import socket
import sys
import tracemalloc

import pytest
from tcp_support import (
    BIG,
    KeepOpen,
    Recorder,
    connected,
    linked,
    only_loopmod,
    pattern,
    recv_all,
    recv_exactly,
    reset,
    turns,
)

pytestmark = pytest.mark.timeout(60)


class Bytes(bytes):
    pass


def test_kinds_of_data(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.write(b"bytes,")
            transport.write(bytearray(b"bytearray,"))
            transport.write(memoryview(b"memoryview,"))
            transport.write(memoryview(b"_slice_")[1:-1])
            transport.write(Bytes(b",subclass"))
            transport.write(b"")
            transport.write(bytearray())
            transport.write(memoryview(b""))
            transport.write(memoryview(array.array("I", [1, 2, 3])))
            wanted = b"bytes,bytearray,memoryview,slice,subclass" + array.array("I", [1, 2, 3]).tobytes()
            assert await recv_exactly(far, len(wanted)) == wanted
            assert transport.get_write_buffer_size() == 0

    run(main())
    assert errors == []


@pytest.mark.parametrize(
    "data", ["text", None, 5, [b"x"], array.array("B", b"x")], ids=lambda data: type(data).__name__
)
def test_other_kinds_are_refused(run, errors, data):
    # The words differ between releases; stock asyncio looks at the kind before anything of the transport.
    stock = asyncio.selector_events._SelectorSocketTransport
    with pytest.raises(TypeError, match="^data argument must be ") as expected:
        stock.write(stock.__new__(stock), data)

    async def main():
        async with connected() as (transport, protocol, far):
            with pytest.raises(TypeError) as caught:
                transport.write(data)
            assert str(caught.value) == str(expected.value)
            transport.write(b"alive")
            assert await recv_exactly(far, 5) == b"alive"

    run(main())
    assert errors == []


def test_large_view_of_items_wider_than_a_byte(run, kind):
    only_loopmod(kind, "asyncio counts items instead of bytes after a partial send")

    async def main():
        async with connected() as (transport, protocol, far):
            numbers = array.array("Q", range(BIG // 8))
            transport.write(memoryview(numbers))
            transport.close()
            assert await recv_all(far) == numbers.tobytes()

    run(main())


def test_small_mutable_data_is_sent_before_write_returns(run):
    async def main():
        async with connected() as (transport, protocol, far):
            data = bytearray(b"first")
            transport.write(data)
            data[:] = b"other"
            assert await recv_exactly(far, 5) == b"first"
            # sent by write() itself: the bytes are there although the loop does not get to run
            transport.write(b"now")
            far.setblocking(True)
            far.settimeout(30)
            assert far.recv(3) == b"now"
            far.setblocking(False)

    run(main())


@pytest.mark.parametrize("form", ["bytearray", "memoryview", "writelines"])
def test_queued_mutable_data_is_kept_as_written(run, kind, form):
    only_loopmod(kind, "asyncio keeps a view of the caller's buffer")

    async def main():
        async with connected() as (transport, protocol, far):
            wanted = pattern(BIG)
            data = bytearray(wanted)
            if form == "writelines":
                transport.writelines([data[: BIG // 2], data[BIG // 2 :], data])
                wanted += wanted
            else:
                transport.write(data if form == "bytearray" else memoryview(data))
            assert transport.get_write_buffer_size() > 0
            data[:] = bytes(BIG)
            data.clear()
            transport.close()
            assert await recv_all(far) == wanted

    run(main())


@pytest.mark.parametrize("form", ["write", "writelines"])
def test_queued_views_of_bytes_are_not_copied(run, kind, form):
    if sys.version_info < (3, 12):
        only_loopmod(kind, "asyncio copies whatever it queues")
    data = pattern(2 * BIG)

    async def main():
        async with connected() as (transport, protocol, far):
            view = memoryview(data)[1:-1]
            tracemalloc.start()
            try:
                before = tracemalloc.get_traced_memory()[0]
                if form == "write":
                    transport.write(view)
                else:
                    transport.writelines([view])
                grown = tracemalloc.get_traced_memory()[0] - before
            finally:
                tracemalloc.stop()
            assert transport.get_write_buffer_size() > BIG
            assert grown < BIG / 2
            view.release()
            assert await recv_exactly(far, len(data) - 2) == data[1:-1]

    run(main())


def test_large_writes_both_ways(run, errors):
    async def main():
        async with linked(KeepOpen, KeepOpen) as (near, far):
            one, two = pattern(BIG, 1), pattern(BIG + 12345, 2)
            near.transport.write(one)
            far.transport.write(two)
            near.transport.write_eof()
            far.transport.write_eof()
            await near.until(lambda: "eof" in near.events)
            await far.until(lambda: "eof" in far.events)
            assert hashlib.sha256(far.received).digest() == hashlib.sha256(one).digest()
            assert hashlib.sha256(near.received).digest() == hashlib.sha256(two).digest()

    run(main())
    assert errors == []


class EndsOnResume(KeepOpen):
    def resume_writing(self):
        super().resume_writing()
        self.transport.write(b"end")
        self.transport.write_eof()


def test_the_end_written_as_the_rest_is_sent(run, errors, kind):
    """The peer has ended before: with our end the connection is over, and the system refuses a second one."""
    only_loopmod(kind, "asyncio ends it twice, and the exception handler is told of ENOTCONN")

    async def main():
        async with connected(EndsOnResume) as (transport, protocol, far):
            far.shutdown(socket.SHUT_WR)
            await protocol.until(lambda: "eof" in protocol.events)
            transport.write(pattern(BIG))
            assert "pause" in protocol.events
            assert await recv_all(far) == pattern(BIG) + b"end"
            await turns(3)
            assert "resume" in protocol.events and "lost" not in protocol.events

    run(main())
    assert errors == []


def test_many_small_writes_behind_a_large_one(run):
    async def main():
        async with connected() as (transport, protocol, far):
            wanted = bytearray(pattern(BIG // 2))
            transport.write(bytes(wanted))
            before = transport.get_write_buffer_size()
            assert before > 0
            # more buffers than one sendmsg takes (IOV_MAX)
            for i in range(2500):
                part = b"%d," % i
                transport.write(part)
                wanted += part
            assert transport.get_write_buffer_size() == before + len(wanted) - BIG // 2
            transport.writelines(b"<%d>" % i for i in range(2000))
            wanted += b"".join(b"<%d>" % i for i in range(2000))
            transport.close()
            assert await recv_all(far) == wanted

    run(main())


def test_writelines(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.writelines([b"a", bytearray(b"bc"), memoryview(b"def")])
            transport.writelines((b"1", b"2"))
            transport.writelines(part for part in (b"x", b"", b"yz"))
            transport.writelines([])
            transport.writelines(())
            assert await recv_exactly(far, 11) == b"abcdef12xyz"
            transport.writelines([pattern(BIG // 4)] * 4)
            transport.writelines([b"end"])
            transport.close()
            assert await recv_all(far) == pattern(BIG // 4) * 4 + b"end"

    run(main())
    assert errors == []


@pytest.mark.parametrize("lines", [[b"a", "b"], [7], 5], ids=["str", "int", "no list"])
def test_writelines_of_wrong_things(run, lines):
    async def main():
        async with connected() as (transport, protocol, far):
            with pytest.raises(TypeError):
                transport.writelines(lines)
            assert not transport.is_closing()

    run(main())


def test_writelines_of_nothing(run, errors, kind):
    only_loopmod(kind, "asyncio 3.12+ fails an assertion or spins on an empty buffer at the end")

    async def main():
        async with connected() as (transport, protocol, far):
            transport.writelines(iter([]))
            transport.writelines([b"", b""])
            transport.writelines([b"ali", b"", b"ve", b""])
            assert await recv_exactly(far, 5) == b"alive"
            assert transport.get_write_buffer_size() == 0
            transport.close()
            assert await protocol.lost is None

    run(main())
    assert errors == []


def test_write_eof(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            assert transport.can_write_eof() is True
            transport.write(b"last")
            transport.write_eof()
            transport.write_eof()
            with pytest.raises(RuntimeError) as caught:
                transport.write(b"more")
            assert str(caught.value) == "Cannot call write() after write_eof()"
            with pytest.raises(RuntimeError, match=r"Cannot call write(lines)?\(\) after write_eof\(\)"):
                transport.writelines([b"more"])
            assert await recv_all(far) == b"last"
            # the other direction stays open
            far.send(b"answer")
            assert await protocol.until_received(6) == b"answer"
            assert not transport.is_closing()
            transport.close()
            assert await protocol.lost is None

    run(main())
    assert errors == []


def test_write_eof_waits_for_the_queue(run):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.write(pattern(BIG))
            transport.write_eof()
            assert await recv_all(far) == pattern(BIG)
            far.send(b"still there")
            assert await protocol.until_received(11) == b"still there"

    run(main())


def test_write_eof_then_close_with_data_queued(run):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.write(pattern(BIG))
            transport.write_eof()
            transport.close()
            transport.write_eof()
            assert await recv_all(far) == pattern(BIG)
            assert await protocol.lost is None

    run(main())


def test_write_on_a_closed_transport_is_dropped(run, errors, caplog):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.close()
            for _ in range(10):
                transport.write(b"dropped")
            transport.write_eof()
            await protocol.lost
            transport.write(b"dropped")
            assert transport.get_write_buffer_size() == 0
            assert await recv_all(far) == b""
            with pytest.raises(TypeError):
                transport.write("text")

    caplog.set_level(logging.WARNING, "asyncio")
    run(main())
    # silent at first, then a warning each: the fifth write on a lost connection and those after it
    assert [record.getMessage() for record in caplog.records] == ["socket.send() raised exception."] * 7
    assert errors == []


def test_writelines_on_a_closed_transport_is_dropped(run, errors, kind):
    only_loopmod(kind, "asyncio 3.12.0-3.13.0 raises TypeError")

    async def main():
        async with connected() as (transport, protocol, far):
            transport.close()
            transport.writelines([b"dropped", b"too"])
            await protocol.lost
            transport.writelines([b"dropped", b"too"])
            assert await recv_all(far) == b""

    run(main())
    assert errors == []


def test_write_to_a_peer_that_reset(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.pause_reading()  # so that the write finds the reset first
            reset(far)
            await turns()
            for _ in range(3):
                transport.write(b"nobody reads this")
            assert transport.is_closing()
            assert isinstance(await protocol.lost, (ConnectionResetError, BrokenPipeError))
            assert protocol.events == ["made", "lost"]

    run(main())
    assert errors == []


def test_write_in_connection_made_goes_first(run):
    class Greets(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"hello ")
            transport.writelines([b"there", b", "])

    async def main():
        async with connected(Greets) as (transport, protocol, far):
            transport.write(b"you")
            transport.close()
            assert await recv_all(far) == b"hello there, you"

    run(main())


def test_slow_peer_and_a_tiny_send_buffer(run):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            wanted = b"".join(pattern(700 + i, i) for i in range(300))
            at = 0
            for i in range(300):
                transport.write(wanted[at : at + 700 + i])
                at += 700 + i
            transport.close()
            got = bytearray()
            with contextlib.suppress(ConnectionResetError):
                while part := await asyncio.get_running_loop().sock_recv(far, 777):
                    got += part
            assert got == wanted

    run(main())
