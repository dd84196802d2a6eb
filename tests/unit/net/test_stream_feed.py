"""What a StreamReader is fed, with attributes that are not what asyncio put there.

Covers net/stream_feed.c, which does in C what StreamReaderProtocol.data_received and StreamReader.feed_data do as
long as nobody can tell. Each test warms the connection first, so that its bytes go that way. Relies on tcp_support.
"""

import asyncio
import contextlib
import gc
import socket
import sys
import weakref

import pytest
from loop_support import until
from tcp_support import only_loopmod, stream, turns

pytestmark = pytest.mark.timeout(60)

FAILED = "Fatal error: protocol.data_received() call failed."


@contextlib.asynccontextmanager
async def warm(**options):
    """A stream that has carried two messages."""
    async with stream(**options) as (reader, writer, far):
        for message in (b"warm", b"warmer"):
            far.send(message)
            assert await reader.readexactly(len(message)) == message
        yield reader, writer, far


async def fault(writer, errors):
    """The exception that the transport reports and ends with."""
    await until(writer.is_closing)
    assert errors[0]["message"] == FAILED
    assert errors[0]["transport"] is writer.transport
    return errors[0]["exception"]


def frames(exc):
    names = []
    tb = exc.__traceback__
    while tb is not None:
        names.append(tb.tb_frame.f_code.co_name)
        tb = tb.tb_next
    return names


def test_without_a_python_frame(run, kind):
    only_loopmod(kind, "asyncio's methods are called there")
    called = []

    def note(frame, event, argument):
        if event == "call":
            called.append(frame.f_code.co_name)

    async def main():
        async with warm() as (reader, writer, far):
            waiting = asyncio.ensure_future(reader.readexactly(4))
            await turns()
            sys.setprofile(note)
            try:
                far.send(b"data")
                assert await waiting == b"data"
            finally:
                sys.setprofile(None)

    run(main())
    assert called and not {"data_received", "feed_data", "_wakeup_waiter"} & set(called)


def test_every_length(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            for size in (1, 2, 7, 8, 9, 100, 1023, 1024, 1025, 4096, 65535):
                data = bytes(range(256)) * (size // 256 + 1)
                far.send(data[:size])
                assert await reader.readexactly(size) == data[:size]
                far.send(data[:size])
                await until(lambda size=size: len(reader._buffer) == size)
                assert bytes(reader._buffer) == data[:size]
                reader._buffer.clear()

    run(main())
    assert errors == []


def test_the_waiter_is_let_go_of(run):
    async def main():
        async with warm() as (reader, writer, far):
            waiting = asyncio.ensure_future(reader.read(100))
            await turns()
            waiter = weakref.ref(reader._waiter)
            seen = []
            reader._waiter.add_done_callback(lambda future: seen.append((future.result(), reader._waiter)))
            far.send(b"x")
            assert await waiting == b"x"
            assert seen == [(None, None)]
            gc.collect()
            assert waiter() is None and reader._waiter is None

    run(main())


class Tracking(bytearray):
    extended = 0

    def extend(self, data):
        self.extended += 1
        super().extend(data)


def test_buffer_replaced(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            reader._buffer = bytearray(b"new:")
            far.send(b"one")
            assert await reader.readexactly(7) == b"new:one"
            tracking = reader._buffer = Tracking()
            far.send(b"two")
            assert await reader.readexactly(3) == b"two"
            assert tracking.extended == 1
            held = reader._buffer = bytearray()
            far.send(b"three")
            await until(lambda: held)
            reader._buffer = bytearray()
            assert held == b"three"
            far.send(b"four")
            assert await reader.readexactly(4) == b"four"

    run(main())
    assert errors == []


@pytest.mark.parametrize("buffer", [None, b"", 5, ""], ids=repr)
def test_buffer_of_another_type(run, errors, buffer):
    async def main():
        async with warm() as (reader, writer, far):
            reader._buffer = buffer
            far.send(b"x")
            exc = await fault(writer, errors)
            assert type(exc) is AttributeError and exc.name == "extend" and exc.obj is buffer
            assert frames(exc)[-1] == "feed_data"

    run(main())


def test_buffer_with_an_export(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            reader._buffer += b"held"
            waiter = reader._waiter = asyncio.get_running_loop().create_future()
            with memoryview(reader._buffer) as view:
                far.send(b"x")
                exc = await fault(writer, errors)
                assert type(exc) is BufferError and frames(exc)[-1] == "feed_data"
                assert bytes(view) == b"held"
            assert reader._buffer == b"held"
            await turns()
            assert waiter.exception() is exc

    run(main())
    assert len(errors) == 1


class Future(asyncio.Future):
    def set_result(self, result):
        self.seen = result
        super().set_result(result)


class PyFuture(asyncio.futures._PyFuture):
    pass


@pytest.mark.parametrize("make", [asyncio.Future, Future, PyFuture, asyncio.futures._PyFuture])
def test_waiters_of_other_types(run, errors, make):
    async def main():
        async with warm() as (reader, writer, far):
            waiter = reader._waiter = make(loop=asyncio.get_running_loop())
            far.send(b"x")
            assert await waiter is None
            assert reader._waiter is None and reader._buffer == b"x"
            if make is Future:
                assert waiter.seen is None

    run(main())
    assert errors == []


def test_waiter_that_is_cancelled(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            waiter = reader._waiter = asyncio.get_running_loop().create_future()
            waiter.cancel()
            far.send(b"x")
            await until(lambda: reader._buffer)
            assert reader._waiter is None and waiter.cancelled()

    run(main())
    assert errors == []


def test_waiter_that_is_done(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            waiter = reader._waiter = asyncio.get_running_loop().create_future()
            waiter.set_result("before")
            far.send(b"x")
            exc = await fault(writer, errors)
            assert type(exc) is asyncio.InvalidStateError and frames(exc)[-1] == "_wakeup_waiter"
            assert reader._waiter is None and reader._buffer == b"x"

    run(main())
    assert len(errors) == 1


def test_waiter_that_is_no_future(run, errors):
    class Refuses:
        def cancelled(self):
            return False

        def set_result(self, result):
            raise ZeroDivisionError(result)

    async def main():
        async with warm() as (reader, writer, far):
            reader._waiter = Refuses()
            far.send(b"x")
            exc = await fault(writer, errors)
            assert type(exc) is ZeroDivisionError and exc.args == (None,)
            assert reader._waiter is None and reader._buffer == b"x"
        errors.clear()
        async with warm() as (reader, writer, far):
            reader._waiter = 5
            far.send(b"x")
            exc = await fault(writer, errors)
            assert type(exc) is AttributeError and exc.name == "cancelled"

    run(main())


def test_a_task_as_waiter(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            task = reader._waiter = asyncio.ensure_future(asyncio.sleep(0.01))
            far.send(b"x")
            assert type(await fault(writer, errors)) is RuntimeError
            await task

    run(main())


def test_waiter_of_another_loop(run, new_loop, errors):
    other = new_loop()

    async def main():
        async with warm() as (reader, writer, far):
            waiter = reader._waiter = other.create_future()
            seen = []
            waiter.add_done_callback(seen.append)
            far.send(b"x")
            await until(lambda: reader._buffer)
            assert waiter.done() and seen == [] and reader._waiter is None
            return waiter, seen

    waiter, seen = run(main())
    other.call_soon(other.stop)
    other.run_forever()
    assert seen == [waiter]
    assert errors == []


def test_waiter_of_a_closed_loop(run, new_loop, errors):
    other = new_loop()

    async def main():
        async with warm() as (reader, writer, far):
            waiter = reader._waiter = other.create_future()
            waiter.add_done_callback(print)
            other.close()
            far.send(b"x")
            exc = await fault(writer, errors)
            assert type(exc) is RuntimeError and str(exc) == "Event loop is closed"
            assert reader._buffer == b"x" and reader._waiter is None

    run(main())
    assert len(errors) == 1


def test_waiter_that_closes_the_transport(run, errors):
    class Closes(asyncio.Future):
        def set_result(self, result):
            self.writer.transport.abort()
            super().set_result(result)

    async def main():
        async with warm(limit=1) as (reader, writer, far):
            waiter = reader._waiter = Closes(loop=asyncio.get_running_loop())
            waiter.writer = writer
            far.send(b"more than twice the limit")
            await waiter
            assert writer.is_closing() and reader._paused
            await turns()
            assert reader.at_eof() is False and reader._eof
        async with warm() as (reader, writer, far):
            waiter = reader._waiter = asyncio.get_running_loop().create_future()
            waiter.add_done_callback(lambda future: writer.transport.abort())
            far.send(b"x")
            await until(lambda: reader._eof)
            assert await reader.read() == b"x"

    run(main())
    assert errors == []


@pytest.mark.parametrize("limit", [2.5, True, 2**70], ids=repr)
def test_odd_limits(run, errors, limit):
    async def main():
        async with warm() as (reader, writer, far):
            reader._limit = limit
            far.send(b"123456")
            await until(lambda: len(reader._buffer) == 6)
            assert reader._paused is (limit < 3)
            assert await reader.readexactly(6) == b"123456"
            far.send(b"7")
            assert await reader.readexactly(1) == b"7"

    run(main())
    assert errors == []


@pytest.mark.parametrize(
    ("limit", "paused"), [(0, True), (-1, True), (2, True), (3, False), (4, False), (sys.maxsize, False)]
)
def test_pauses_beyond_twice_the_limit(run, errors, limit, paused):
    async def main():
        async with warm() as (reader, writer, far):
            reader._limit = limit
            far.send(b"12345" if limit == 2 else b"123456")
            await until(lambda: reader._buffer)
            assert reader._paused is paused
            assert writer.transport.is_reading() is not paused

    run(main())
    assert errors == []


@pytest.mark.parametrize("limit", ["1", None], ids=repr)
def test_limit_that_cannot_be_compared(run, errors, limit):
    async def main():
        async with warm() as (reader, writer, far):
            reader._transport = None
            reader._limit = limit
            far.send(b"unasked")
            assert await reader.readexactly(0) == b""
            await until(lambda: reader._buffer)
            reader._transport = writer.transport
            far.send(b"x")
            exc = await fault(writer, errors)
            assert type(exc) is TypeError and frames(exc)[-1] == "feed_data"
            assert reader._buffer == b"unaskedx"

    run(main())


@pytest.mark.parametrize("name", ["_buffer", "_eof", "_limit", "_waiter", "_transport", "_paused"])
def test_attribute_deleted(run, errors, name):
    async def main():
        async with warm(limit=2) as (reader, writer, far):
            delattr(reader, name)
            far.send(b"longer than the limit")
            exc = await fault(writer, errors)
            assert type(exc) is AttributeError and exc.name == name and exc.obj is reader

    run(main())


def test_attributes_that_do_not_matter(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            reader.tag = "mine"
            reader.call_me = print
            del reader._exception
            far.send(b"x")
            await until(lambda: reader._buffer == b"x")
            del reader._loop
            far.send(b"y")
            await until(lambda: reader._buffer == b"xy")
            reader._exception = None

    run(main())
    assert errors == []


def test_eof_of_another_type(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            reader._eof = 0
            far.send(b"x")
            await until(lambda: reader._buffer == b"x")
            reader._eof = 1
            far.send(b"y")
            exc = await fault(writer, errors)
            assert type(exc) is AssertionError and frames(exc)[-1] == "feed_data"

    run(main())


@pytest.mark.parametrize("reaction", [NotImplementedError, ZeroDivisionError, None])
def test_transport_that_does_not_pause(run, errors, reaction):
    class Pausing:
        paused = 0

        def pause_reading(self):
            self.paused += 1
            if reaction is not None:
                raise reaction

        def resume_reading(self):
            self.paused -= 1

    async def main():
        async with warm(limit=2) as (reader, writer, far):
            other = reader._transport = Pausing()
            far.send(b"12345")
            await until(lambda: other.paused)
            assert reader._buffer == b"12345"
            if reaction is ZeroDivisionError:
                assert type(await fault(writer, errors)) is ZeroDivisionError
                assert reader._paused is False
                return
            assert reader._paused is (reaction is None)
            assert reader._transport is (other if reaction is None else None)
            far.send(b"6")
            await until(lambda: reader._buffer == b"123456")
            assert other.paused == 1

    run(main())
    assert len(errors) == (reaction is ZeroDivisionError)


def test_paused_by_hand(run, errors):
    async def main():
        async with warm(limit=2) as (reader, writer, far):
            reader._paused = "yes"
            far.send(b"12345")
            await until(lambda: reader._buffer)
            assert reader._paused == "yes" and writer.transport.is_reading()
            assert await reader.readexactly(5) == b"12345"
            assert reader._paused is False
            far.send(b"12345")
            assert await reader.readexactly(5) == b"12345"
            assert writer.transport.is_reading()

    run(main())
    assert errors == []


def test_data_behind_an_end(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            far.send(b"last")
            far.shutdown(socket.SHUT_WR)
            assert await reader.read() == b"last"
            assert reader._eof is True

    run(main())
    assert errors == []
