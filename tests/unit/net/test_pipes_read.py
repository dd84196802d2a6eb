"""Reading transports over pipes: data, end, pause and resume, close, what protocols raise.

Covers net/pipe.c, net/pipe_read.c and net/pipe_type.c. Relies on pipe_support for the ends.
"""

import asyncio
import contextvars
import logging
import os

import pytest
from pipe_support import CountedFile, fill, raw_pipe, reading
from tcp_support import Recorder, pattern, shape, turns

pytestmark = pytest.mark.timeout(60)


def test_data_and_end(run):
    async def main():
        async with reading() as (transport, protocol, far):
            assert protocol.transport is transport
            assert transport.is_reading() and not transport.is_closing()
            os.write(far.fileno(), b"one")
            assert await protocol.until_received(3) == b"one"
            os.write(far.fileno(), b"two")
            far.close()
            assert await protocol.lost is None
            assert protocol.received == b"onetwo"
            assert protocol.events == ["made", "data", "eof", "lost"]
            assert transport.is_closing() and not transport.is_reading()

    run(main())


def test_connection_made_comes_before_the_result(run):
    async def main():
        near, far = raw_pipe()
        os.write(far, b"early")
        protocol = Recorder()
        transport, same = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, CountedFile(near))
        assert same is protocol and protocol.events[0] == "made"
        assert await protocol.until_received(5) == b"early"
        os.close(far)
        await protocol.lost

    run(main())


def test_a_pipe_full_of_data_arrives_whole(run):
    async def main():
        data = pattern(1_000_000)
        async with reading() as (transport, protocol, far):
            sent = 0
            while sent < len(data):
                try:
                    sent += os.write(far.fileno(), data[sent : sent + 100_000])
                except BlockingIOError:
                    await asyncio.sleep(0)
            assert await protocol.until_received(len(data)) == data

    run(main())


def test_end_is_not_an_error_for_a_stream_reader(run):
    async def main():
        reader = asyncio.StreamReader()
        near, far = raw_pipe()
        pipe = os.fdopen(near, "rb", 0)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        os.write(far, b"line\nrest")
        os.close(far)
        assert await reader.readline() == b"line\n"
        assert await reader.read() == b"rest"
        await turns()
        assert pipe.closed

    run(main())


def test_pause_and_resume(run):
    async def main():
        async with reading() as (transport, protocol, far):
            transport.pause_reading()
            transport.pause_reading()
            assert not transport.is_reading()
            os.write(far.fileno(), b"kept")
            await turns(10)
            assert protocol.received == b""
            transport.resume_reading()
            transport.resume_reading()
            assert transport.is_reading()
            assert await protocol.until_received(4) == b"kept"

    run(main())


def test_paused_in_connection_made(run):
    class Paused(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.pause_reading()

    async def main():
        async with reading(Paused) as (transport, protocol, far):
            os.write(far.fileno(), b"kept")
            await turns(10)
            assert protocol.received == b""
            transport.resume_reading()
            assert await protocol.until_received(4) == b"kept"

    run(main())


class PausesAtOnce(Recorder):
    def connection_made(self, transport):
        super().connection_made(transport)
        transport.pause_reading()


def test_a_reader_of_the_user_stays_while_paused_from_the_start(run):
    async def main():
        loop = asyncio.get_running_loop()
        near, far = raw_pipe()
        got = loop.create_future()

        class LeavesItToTheUser(PausesAtOnce):
            def connection_made(self, transport):
                super().connection_made(transport)
                loop.add_reader(near, lambda: got.done() or got.set_result(os.read(near, 4)))

        transport, protocol = await loop.connect_read_pipe(LeavesItToTheUser, CountedFile(near))
        os.write(far, b"mine")
        assert await got == b"mine"
        assert protocol.received == b""
        transport.resume_reading()  # which takes it over, as add_reader does
        os.write(far, b"data")
        assert await protocol.until_received(4) == b"data"
        transport.close()
        await turns()
        os.close(far)

    run(main())


def test_a_device_is_not_looked_at_while_paused_from_the_start(run, errors):
    # /dev/zero cannot be watched, which is told by who starts to read.
    async def main():
        pipe = CountedFile(os.open("/dev/zero", os.O_RDONLY))
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(PausesAtOnce, pipe)
        await turns()
        assert errors == []
        with pytest.raises(PermissionError):
            transport.resume_reading()
        transport.close()
        await turns()
        assert pipe.closed == 1

    run(main())


def test_closed_in_connection_made(run):
    class Closed(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.close()

    async def main():
        near, far = raw_pipe()
        os.write(far, b"never read")
        pipe = CountedFile(near)
        transport, protocol = await asyncio.get_running_loop().connect_read_pipe(Closed, pipe)
        assert await protocol.lost is None
        assert protocol.events == ["made", "lost"]
        await turns()
        assert pipe.closed == 1
        os.close(far)

    run(main())


def test_close_from_data_received(run):
    class Once(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.close()

    async def main():
        async with reading(Once) as (transport, protocol, far):
            size = fill(far.fileno())
            assert size >= 4096
            assert await protocol.lost is None
            assert protocol.events == ["made", "data", "lost"] and protocol.chunks == 1

    run(main())


def test_close_twice_and_use_after_close(run, errors):
    async def main():
        async with reading() as (transport, protocol, far):
            transport.close()
            transport.close()
            transport.pause_reading()
            transport.resume_reading()
            assert transport.is_closing() and protocol.events == ["made"]
            assert await protocol.lost is None
            await turns()
            transport.close()
            transport.pause_reading()
            transport.resume_reading()
            assert not transport.is_reading() and transport.is_closing()
            assert transport.get_protocol() is None
            assert protocol.events == ["made", "lost"]

    run(main())
    assert errors == []


def test_protocol_is_switched(run):
    async def main():
        async with reading() as (transport, first, far):
            second = Recorder()
            second.events.append("made")
            assert transport.get_protocol() is first
            transport.set_protocol(second)
            assert transport.get_protocol() is second
            os.write(far.fileno(), b"data")
            assert await second.until_received(4) == b"data"
            assert first.received == b""
            transport.close()
            await second.lost
            assert not first.lost.done()

    run(main())


class Boom(Exception):
    pass


def test_data_received_raises_and_reading_goes_on(run, errors):
    class Raises(Recorder):
        def data_received(self, data):
            super().data_received(data)
            raise Boom(data)

    async def main():
        async with reading(Raises) as (transport, protocol, far):
            os.write(far.fileno(), b"one")
            await protocol.until_received(3)
            await turns()
            os.write(far.fileno(), b"two")
            await protocol.until_received(6)
            await turns()
            assert not transport.is_closing()
            assert [str(context["exception"]) for context in errors] == ["b'one'", "b'two'"]
            assert all("handle" in context and "_read_ready" in context["message"] for context in errors)

    run(main())


def test_eof_received_raises_and_the_pipe_is_lost(run, errors):
    class Raises(Recorder):
        def eof_received(self):
            super().eof_received()
            raise Boom

    async def main():
        async with reading(Raises) as (transport, protocol, far):
            far.close()
            assert await protocol.lost is None
            assert [type(context["exception"]) for context in errors] == [Boom]

    run(main())


def test_connection_lost_raises_and_the_pipe_is_closed(run, errors):
    class Raises(Recorder):
        def connection_lost(self, exc):
            super().connection_lost(exc)
            raise Boom

    async def main():
        async with reading(Raises) as (transport, protocol, far):
            transport.close()
            await protocol.lost
            await turns()
            assert [type(context["exception"]) for context in errors] == [Boom]

    run(main())


@pytest.mark.parametrize("method", ["connection_made", "data_received", "eof_received", "connection_lost"])
@pytest.mark.parametrize("exception", [KeyboardInterrupt, SystemExit])
def test_exits_leave_the_loop(new_loop, method, exception):
    class Exits(asyncio.Protocol):
        pass

    def leave(self, *args):
        raise exception

    setattr(Exits, method, leave)
    loop = new_loop()
    near, far = raw_pipe()
    pipe = CountedFile(near)

    async def main():
        await loop.connect_read_pipe(Exits, pipe)
        os.write(far, b"data")
        os.close(far)
        await asyncio.sleep(30)

    task = loop.create_task(main())
    with pytest.raises(exception):
        loop.run_until_complete(task)
    if method == "connection_made":
        os.close(far)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    for _ in range(5):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()


def test_read_error_loses_the_pipe(run, errors):
    async def main():
        near, far = raw_pipe()
        pipe = CountedFile(near)
        transport, protocol = await asyncio.get_running_loop().connect_read_pipe(Recorder, pipe)
        # A descriptor of that number that is ready and cannot be read.
        write_only = os.open("/dev/null", os.O_WRONLY)
        other, full = raw_pipe()
        os.dup2(full, near)
        os.close(other)
        transport.pause_reading()
        transport.resume_reading()
        exc = await protocol.lost
        assert isinstance(exc, OSError)
        [context] = errors
        assert context == {
            "message": "Fatal read error on pipe transport",
            "exception": exc,
            "transport": transport,
            "protocol": protocol,
        }
        await turns()
        for fd in (write_only, full, far):
            os.close(fd)

    run(main())


def test_context_of_the_calls(run):
    variable = contextvars.ContextVar("variable", default=0)
    seen = []

    class Notes(Recorder):
        def note(self, event):
            seen.append((event, variable.get()))
            super().note(event)

        def data_received(self, data):
            seen.append(("data", variable.get()))
            super().data_received(data)

    async def main():
        variable.set(1)
        async with reading(Notes) as (transport, protocol, far):
            variable.set(2)
            os.write(far.fileno(), b"data")
            await protocol.until_received(4)
            far.close()
            await protocol.lost
        assert seen == [("made", 1), ("data", 1), ("eof", 1), ("lost", 1)]

    run(main())


def test_repr_in_each_state(run):
    async def main():
        async with reading() as (transport, protocol, far):
            assert shape(transport) == "<T fd=N polling>"
            transport.pause_reading()
            assert shape(transport) == "<T fd=N idle>"
            transport.resume_reading()
            transport.close()
            assert shape(transport) == "<T closing fd=N idle>"
            await protocol.lost
            await turns()
            assert shape(transport) == "<T closed fd=N closed>"

    run(main())


def test_what_debug_mode_logs(run, loop, debug, caplog):
    async def main():
        async with reading() as (transport, protocol, far):
            transport.pause_reading()
            transport.resume_reading()
            far.close()
            await protocol.lost

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main())
    texts = [record.getMessage() for record in caplog.records]
    for words in ("pauses reading", "resumes reading", "was closed by peer", "Read pipe"):
        assert any(words in text for text in texts) is debug
