"""Life of a TCP transport: order of protocol calls, half-close, close and abort, pausing of the reader.

Covers net/transport.c, net/stream.c and net/stream_read.c. Relies on tcp_support for connected pairs.
"""

import asyncio
import contextlib
import errno
import socket

import pytest
from tcp_support import (
    BIG,
    KeepOpen,
    Recorder,
    connected,
    only_loopmod,
    pattern,
    recv_all,
    reset,
    turns,
)

pytestmark = pytest.mark.timeout(60)


def test_order_of_events(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            assert protocol.events == ["made"]
            assert protocol.transport is transport
            far.send(b"abc")
            assert await protocol.until_received(3) == b"abc"
            far.shutdown(socket.SHUT_WR)
            assert await protocol.lost is None
            assert protocol.events == ["made", "data", "eof", "lost"]
            assert await recv_all(far) == b""

    run(main())
    assert errors == []


def test_data_and_eof_in_one_go(run, errors):
    async def main():
        async with connected(KeepOpen) as (transport, protocol, far):
            await asyncio.get_running_loop().sock_sendall(far, pattern(100_000))
            far.close()
            await protocol.until(lambda: "eof" in protocol.events)
            assert protocol.received == pattern(100_000)
            assert protocol.events == ["made", "data", "eof"]

    run(main())
    assert errors == []


@pytest.mark.parametrize("answer", [False, None, 0, ""])
def test_false_eof_answer_closes(run, answer):
    async def main():
        async with connected() as (transport, protocol, far):
            protocol.keep_open = answer
            far.shutdown(socket.SHUT_WR)
            await protocol.lost
            assert transport.is_closing()
            assert protocol.events == ["made", "eof", "lost"]

    run(main())


@pytest.mark.parametrize("answer", [True, 1, "yes"])
def test_true_eof_answer_leaves_the_write_side_open(run, errors, answer):
    async def main():
        async with connected() as (transport, protocol, far):
            protocol.keep_open = answer
            far.shutdown(socket.SHUT_WR)
            await protocol.until(lambda: "eof" in protocol.events)
            await turns(10)
            assert protocol.events == ["made", "eof"]
            assert not transport.is_closing()
            data = pattern(BIG // 4)
            transport.write(data)
            transport.close()
            assert await recv_all(far) == data
            assert await protocol.lost is None

    run(main())
    assert errors == []


@pytest.mark.parametrize("first", ["close", "abort"])
@pytest.mark.parametrize("second", ["close", "abort"])
def test_connection_lost_once(run, errors, first, second):
    async def main():
        async with connected() as (transport, protocol, far):
            getattr(transport, first)()
            # connection_lost is never called from inside close() or abort()
            assert protocol.events == ["made"]
            assert transport.is_closing()
            getattr(transport, second)()
            assert await protocol.lost is None
            getattr(transport, second)()
            await turns()
            assert protocol.events == ["made", "lost"]
            assert await recv_all(far) == b""

    run(main())
    assert errors == []


def test_close_sends_what_is_queued(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            data = pattern(BIG)
            transport.write(data)
            assert transport.get_write_buffer_size() > 0
            transport.close()
            transport.close()
            assert transport.is_closing() and not transport.is_reading()
            assert await recv_all(far) == data
            assert await protocol.lost is None
            assert protocol.events == ["made", "pause", "resume", "lost"]

    run(main())
    assert errors == []


def test_closing_transport_delivers_nothing_more(run):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.write(pattern(BIG))
            transport.close()
            far.send(b"late")
            await turns(10)
            # what was not read turns the final FIN into RST, so the peer's end is an error or not
            with contextlib.suppress(ConnectionResetError):
                await recv_all(far)
            await protocol.lost
            assert protocol.received == b"" and "data" not in protocol.events

    run(main())


def test_abort_drops_what_is_queued(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            data = pattern(BIG)
            transport.write(data)
            transport.abort()
            assert transport.get_write_buffer_size() == 0
            assert await protocol.lost is None
            got = await recv_all(far)
            assert len(got) < len(data) and data.startswith(got)

    run(main())
    assert errors == []


def test_abort_while_closing(run):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.write(pattern(BIG))
            transport.close()
            await turns()
            assert "lost" not in protocol.events
            transport.abort()
            assert await protocol.lost is None
            assert len(await recv_all(far)) < BIG

    run(main())


def test_every_call_on_a_lost_transport(run, errors, kind):
    only_loopmod(kind, "asyncio's abort() and writelines() raise on some closed transports")

    async def main():
        async with connected() as (transport, protocol, far):
            transport.write(pattern(BIG))
            transport.close()
            await recv_all(far)
            await protocol.lost
            for call in (transport.abort, transport.close, transport.write_eof, transport.pause_reading):
                assert call() is None
            transport.write(b"x")
            transport.writelines([b"x", b"y"])
            assert transport.get_write_buffer_size() == 0
            assert transport.is_closing() and transport.can_write_eof()
            await turns()
            assert protocol.events.count("lost") == 1

    run(main())
    assert errors == []


@pytest.mark.parametrize("method", ["close", "abort"])
@pytest.mark.parametrize("place", ["connection_made", "data_received", "eof_received", "pause_writing"])
def test_end_inside_a_callback(run, errors, method, place):
    class Ends(Recorder):
        keep_open = True

    def ends(self, *args):
        result = getattr(super(Ends, self), place)(*args)
        getattr(self.transport, method)()
        return result

    setattr(Ends, place, ends)

    async def main():
        async with connected(Ends) as (transport, protocol, far):
            if place == "data_received":
                far.send(pattern(1000))
            elif place == "eof_received":
                far.shutdown(socket.SHUT_WR)
            elif place == "pause_writing":
                transport.write(pattern(BIG))
            got = await recv_all(far)
            assert await protocol.lost is None
            if place == "pause_writing":
                flushed = method == "close"
                assert (got == pattern(BIG)) is flushed and pattern(BIG).startswith(got)
            else:
                assert got == b""
            assert protocol.events.count("lost") == 1 and protocol.events[-1] == "lost"
            assert protocol.chunks <= 1

    run(main())
    assert errors == []


def test_close_in_data_received_stops_the_reading(run):
    class Closes(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.close()

    async def main():
        async with connected(Closes) as (transport, protocol, far):
            for _ in range(200):
                try:
                    far.send(pattern(4096))
                except BlockingIOError:
                    break
                except ConnectionError:
                    break
            await protocol.lost
            assert protocol.chunks == 1

    run(main())


def test_reset_gives_connection_reset_error(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            reset(far)
            exc = await protocol.lost
            assert type(exc) is ConnectionResetError and exc.errno == errno.ECONNRESET
            assert protocol.events == ["made", "lost"]
            assert transport.is_closing()

    run(main())
    assert errors == []


def test_reset_while_data_is_queued(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.pause_reading()
            transport.write(pattern(BIG))
            reset(far)
            assert isinstance(await protocol.lost, (ConnectionResetError, BrokenPipeError))
            assert transport.get_write_buffer_size() == 0
            transport.write(b"dropped")

    run(main())
    assert errors == []


def test_pause_and_resume_reading(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            assert transport.is_reading()
            transport.pause_reading()
            transport.pause_reading()
            assert not transport.is_reading()
            far.send(b"one")
            await turns(20)
            await asyncio.sleep(0.01)
            assert protocol.received == b""
            transport.resume_reading()
            transport.resume_reading()
            assert transport.is_reading()
            assert await protocol.until_received(3) == b"one"
            # pause and resume within one turn loses nothing
            far.send(b"two")
            transport.pause_reading()
            transport.resume_reading()
            assert await protocol.until_received(6) == b"onetwo"

    run(main())
    assert errors == []


def test_pause_in_data_received_is_at_once(run):
    class Pauses(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()

    async def main():
        async with connected(Pauses) as (transport, protocol, far):
            total = 4 * 1024 * 1024
            sender = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(far, pattern(total)))
            while len(protocol.received) < total:
                chunks = protocol.chunks
                await protocol.until(lambda: protocol.chunks > chunks)  # noqa: B023
                await turns(10)
                assert protocol.chunks == chunks + 1
                transport.resume_reading()
            await sender
            assert protocol.received == pattern(total)

    run(main())


def test_pause_in_connection_made(run):
    class Pauses(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    async def main():
        async with connected(Pauses) as (transport, protocol, far):
            far.send(b"x")
            await turns(20)
            assert protocol.received == b"" and not transport.is_reading()
            transport.resume_reading()
            await protocol.until_received(1)

    run(main())


def test_pause_holds_back_eof_and_reset(run):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.pause_reading()
            far.shutdown(socket.SHUT_WR)
            await turns(20)
            await asyncio.sleep(0.01)
            assert protocol.events == ["made"]
            transport.resume_reading()
            await protocol.lost
            assert protocol.events == ["made", "eof", "lost"]
        async with connected() as (transport, protocol, far):
            transport.pause_reading()
            reset(far)
            await turns(20)
            await asyncio.sleep(0.01)
            assert protocol.events == ["made"]
            transport.resume_reading()
            assert isinstance(await protocol.lost, ConnectionResetError)

    run(main())


def test_reading_calls_after_close(run, errors):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.pause_reading()
            transport.close()
            transport.resume_reading()
            transport.pause_reading()
            assert not transport.is_reading()
            await protocol.lost
            transport.resume_reading()
            transport.pause_reading()
            assert not transport.is_reading()

    run(main())
    assert errors == []
