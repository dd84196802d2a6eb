"""Writing transports over pipes: at once, queued, flow control, closing, the other end going away.

Covers net/pipe.c, net/pipe_write.c, net/flow.c and net/pipe_type.c. Relies on pipe_support for the ends.
"""

import asyncio
import logging

import pytest
from pipe_support import CountedFile, drain, drain_until, fill, raw_pipe, writing
from tcp_support import Recorder, only_loopmod, pattern, shape, turns

pytestmark = pytest.mark.timeout(60)
BIG = 500_000


@pytest.mark.parametrize("kind_of_data", [bytes, bytearray, memoryview])
def test_written_at_once(run, kind_of_data):
    async def main():
        async with writing() as (transport, protocol, far):
            transport.write(kind_of_data(b"hello"))
            transport.write(kind_of_data(b""))
            assert drain(far) == b"hello"
            assert transport.get_write_buffer_size() == 0
            transport.writelines([kind_of_data(b"a"), kind_of_data(b"b")])
            assert drain(far) == b"ab"
            transport.close()
            await protocol.lost
            assert drain(far) is None
            assert protocol.events == ["made", "lost"]

    run(main())


@pytest.mark.parametrize("kind_of_data", [bytes, bytearray, memoryview])
def test_more_than_the_pipe_holds(run, kind_of_data):
    async def main():
        data = bytearray(pattern(BIG))
        async with writing() as (transport, protocol, far):
            given = kind_of_data(data)
            transport.write(given)
            assert 0 < transport.get_write_buffer_size() < BIG
            if kind_of_data is bytearray:
                given[:] = bytes(BIG)  # what was written is what is sent
            transport.write(b"tail")
            transport.write(memoryview(b"-end"))
            assert await drain_until(far, BIG + 8) == data + b"tail-end"
            await turns()
            assert transport.get_write_buffer_size() == 0
            assert protocol.events == ["made", "pause", "resume"]

    run(main())


@pytest.mark.parametrize("data", ["text", 5, None, [b"x"]])
def test_wrong_data(run, data):
    async def main():
        async with writing() as (transport, protocol, far):
            with pytest.raises(AssertionError):
                transport.write(data)
            transport.write(b"fine")
            assert drain(far) == b"fine"

    run(main())


def test_many_small_pieces_behind_a_full_pipe(run):
    async def main():
        async with writing() as (transport, protocol, far):
            size = fill(transport.get_extra_info("pipe").fileno())
            pieces = [b"%d," % number for number in range(3000)]
            for piece in pieces:
                transport.write(piece)
            whole = b"".join(pieces)
            assert transport.get_write_buffer_size() == len(whole)
            assert (await drain_until(far, size + len(whole)))[size:] == whole

    run(main())


def test_flow_control(run):
    async def main():
        async with writing() as (transport, protocol, far):
            assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
            transport.set_write_buffer_limits(high=100, low=10)
            assert transport.get_write_buffer_limits() == (10, 100)
            size = fill(transport.get_extra_info("pipe").fileno())
            transport.write(b"x" * 100)
            assert protocol.events == ["made"]
            transport.write(b"x")
            assert protocol.events == ["made", "pause"]
            await drain_until(far, size + 101)
            await protocol.until(lambda: "resume" in protocol.events)
            transport.set_write_buffer_limits(low=5)
            assert transport.get_write_buffer_limits() == (5, 20)
            with pytest.raises(ValueError, match="must be >= low"):
                transport.set_write_buffer_limits(high=1, low=2)

    run(main())


def test_limits_lowered_below_what_is_queued(run):
    async def main():
        async with writing() as (transport, protocol, far):
            size = fill(transport.get_extra_info("pipe").fileno())
            transport.write(b"x" * 1000)
            transport.set_write_buffer_limits(high=500)
            assert protocol.events == ["made", "pause"]
            await drain_until(far, size + 1000)
            await protocol.until(lambda: "resume" in protocol.events)

    run(main())


@pytest.mark.parametrize("method", ["close", "write_eof"])
def test_close_sends_what_is_queued(run, method):
    async def main():
        data = pattern(BIG)
        async with writing() as (transport, protocol, far):
            transport.write(data)
            assert transport.can_write_eof()
            getattr(transport, method)()
            getattr(transport, method)()
            assert transport.is_closing()
            transport.write(b"dropped")
            assert await drain_until(far, BIG) == data
            assert await protocol.lost is None
            await turns()
            assert drain(far) is None

    run(main())


def test_resume_writing_writes_and_closes(run, kind):
    only_loopmod(kind, "asyncio loses what is written by resume_writing() right before close()")

    class Last(Recorder):
        def resume_writing(self):
            super().resume_writing()
            self.transport.write(pattern(BIG, 2))
            self.transport.close()

    async def main():
        async with writing(Last) as (transport, protocol, far):
            transport.write(pattern(BIG))
            assert await drain_until(far, 2 * BIG) == pattern(BIG) + pattern(BIG, 2)
            assert await protocol.lost is None
            assert protocol.events.count("lost") == 1

    run(main())


def test_close_in_resume_writing(run, kind, errors):
    only_loopmod(kind, "asyncio calls connection_lost() twice")

    class Closes(Recorder):
        def resume_writing(self):
            super().resume_writing()
            self.transport.close()

    async def main():
        async with writing(Closes) as (transport, protocol, far):
            transport.write(pattern(BIG))
            await drain_until(far, BIG)
            assert await protocol.lost is None
            await turns()
            assert protocol.events == ["made", "pause", "resume", "lost"]

    run(main())
    assert errors == []


def test_abort_drops_what_is_queued(run):
    async def main():
        async with writing() as (transport, protocol, far):
            transport.write(pattern(BIG))
            transport.abort()
            assert transport.is_closing() and transport.get_write_buffer_size() == 0
            assert await protocol.lost is None
            await turns()
            assert len(drain(far)) < BIG

    run(main())


def test_abort_after_close_and_after_the_end(run, kind, errors):
    only_loopmod(kind, "asyncio calls connection_lost() on None, and fails on a closed transport")

    async def main():
        async with writing() as (transport, protocol, far):
            transport.close()
            transport.abort()
            assert await protocol.lost is None
            await turns()
            transport.abort()
            assert protocol.events == ["made", "lost"]

    run(main())
    assert errors == []


def test_reader_goes_away_while_idle(run, errors):
    async def main():
        async with writing() as (transport, protocol, far):
            far.close()
            assert await protocol.lost is None
            assert protocol.events == ["made", "lost"]

    run(main())
    assert errors == []


def test_reader_goes_away_with_data_queued(run, errors):
    async def main():
        async with writing() as (transport, protocol, far):
            transport.write(pattern(BIG))
            far.close()
            assert type(await protocol.lost) is BrokenPipeError
            assert transport.get_write_buffer_size() == 0

    run(main())
    assert errors == []


def test_reader_goes_away_while_closing(run, errors):
    async def main():
        async with writing() as (transport, protocol, far):
            transport.write(pattern(BIG))
            transport.close()
            far.close()
            assert type(await protocol.lost) is BrokenPipeError
            assert protocol.events.count("lost") == 1

    run(main())
    assert errors == []


def test_write_to_a_broken_pipe(run, errors):
    async def main():
        async with writing() as (transport, protocol, far):
            far.close()
            transport.write(b"nobody reads this")
            assert transport.is_closing()
            assert type(await protocol.lost) is BrokenPipeError

    run(main())
    assert errors == []


def test_writes_after_the_end_are_dropped(run, errors, caplog):
    # uvloop raises RuntimeError here.
    async def main():
        async with writing() as (transport, protocol, far):
            far.close()
            await protocol.lost
            await turns()
            for _ in range(5):
                transport.write(b"dropped")
            assert not caplog.records
            transport.write(b"dropped")
            transport.writelines([b"dropped", b"too"])
            transport.write_eof()
            transport.close()
            transport.set_write_buffer_limits(5, 1)
            assert transport.get_write_buffer_size() == 0
            transport.write(b"")

    with caplog.at_level(logging.WARNING, "asyncio"):
        run(main())
    assert errors == []
    texts = [record.getMessage() for record in caplog.records]
    assert texts == ["pipe closed by peer or os.write(pipe, data) raised exception."] * 2


def test_pause_writing_raises(run, errors):
    class Raises(Recorder):
        def pause_writing(self):
            super().pause_writing()
            raise ValueError("pause")

        def resume_writing(self):
            super().resume_writing()
            raise ValueError("resume")

    async def main():
        async with writing(Raises) as (transport, protocol, far):
            transport.write(pattern(BIG))
            assert await drain_until(far, BIG) == pattern(BIG)
            await protocol.until(lambda: "resume" in protocol.events)
            assert [context["message"] for context in errors] == [
                "protocol.pause_writing() failed",
                "protocol.resume_writing() failed",
            ]
            assert not transport.is_closing()

    run(main())


def test_abort_in_pause_writing(run):
    class Aborts(Recorder):
        def pause_writing(self):
            super().pause_writing()
            self.transport.abort()

    async def main():
        async with writing(Aborts) as (transport, protocol, far):
            transport.write(pattern(BIG))
            assert transport.is_closing() and transport.get_write_buffer_size() == 0
            assert await protocol.lost is None

    run(main())


def test_closed_in_connection_made(run):
    class Closed(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.write(b"hello")
            transport.close()

    async def main():
        far, near = raw_pipe()
        pipe, far = CountedFile(near), CountedFile(far)
        transport, protocol = await asyncio.get_running_loop().connect_write_pipe(Closed, pipe)
        assert await protocol.lost is None
        await turns()
        assert pipe.closed == 1 and drain(far) == b"hello"
        far.close()

    run(main())


def test_stream_writer(run):
    class Drained(asyncio.streams.FlowControlMixin):
        pass

    async def main():
        loop = asyncio.get_running_loop()
        async with writing(Drained) as (transport, protocol, far):
            writer = asyncio.StreamWriter(transport, protocol, None, loop)
            collected = loop.create_task(drain_until(far, 5 * BIG))
            for number in range(5):
                writer.write(pattern(BIG, number))
                await writer.drain()
            assert await collected == b"".join(pattern(BIG, number) for number in range(5))

    run(main())


def test_repr_in_each_state(run):
    async def main():
        async with writing() as (transport, protocol, far):
            assert shape(transport) == "<T fd=N idle bufsize=0>"
            size = fill(transport.get_extra_info("pipe").fileno())
            transport.write(b"x" * 10)
            assert shape(transport) == "<T fd=N polling bufsize=10>"
            transport.close()
            assert shape(transport) == "<T closing fd=N polling bufsize=10>"
            await drain_until(far, size + 10)
            await protocol.lost
            await turns()
            assert shape(transport) == "<T closed fd=N closed>"

    run(main())


def test_what_debug_mode_logs(run, debug, caplog):
    async def main():
        async with writing() as (transport, protocol, far):
            far.close()
            await protocol.lost
        async with writing() as (transport, protocol, far):
            far.close()
            transport.write(b"broken")
            await protocol.lost

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main())
    texts = [record.getMessage() for record in caplog.records]
    for words in ("was closed by peer", "Fatal write error on pipe transport", "Write pipe"):
        assert any(words in text for text in texts) is debug
