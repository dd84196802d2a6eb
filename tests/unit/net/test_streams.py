"""Streams over TCP: each way to read, limits, end of stream, errors, the handlers of start_server.

Covers net/stream_feed.c (the native feed of StreamReader) and net/stream_read.c. Relies on tcp_support: the peer
is mostly a raw socket, so that the test decides how the bytes are cut.
"""

import asyncio
import contextlib
import gc
import socket
import sys

import pytest
from tcp_support import ask, pattern, recv_all, recv_exactly, reset, serving, stream, turns

pytestmark = pytest.mark.timeout(60)


def test_read(run, errors):
    async def main():
        async with stream() as (reader, writer, far):
            assert isinstance(reader, asyncio.StreamReader) and isinstance(writer, asyncio.StreamWriter)
            far.send(b"abcdef")
            assert await reader.read(4) == b"abcd"
            assert await reader.read(100) == b"ef"
            assert await reader.read(0) == b""
            waiting = asyncio.ensure_future(reader.read(100))
            await turns()
            assert not waiting.done()
            far.send(b"later")
            assert await waiting == b"later"
            far.send(b"the ")
            rest = asyncio.ensure_future(reader.read())
            await turns(10)
            far.send(b"rest")
            far.shutdown(socket.SHUT_WR)
            assert await rest == b"the rest"
            assert reader.at_eof()
            assert await reader.read() == await reader.read(5) == b""
            # the write side is still open
            writer.write(b"answer")
            assert await recv_exactly(far, 6) == b"answer"

    run(main())
    assert errors == []


def test_readexactly(run):
    async def main():
        async with stream() as (reader, writer, far):
            far.send(b"abcdef")
            assert await reader.readexactly(3) == b"abc"
            assert await reader.readexactly(0) == b""
            waiting = asyncio.ensure_future(reader.readexactly(5))
            await turns(10)
            far.send(b"gh!")
            assert await waiting == b"defgh"
            with pytest.raises(ValueError):
                await reader.readexactly(-1)
            far.shutdown(socket.SHUT_WR)
            with pytest.raises(asyncio.IncompleteReadError) as caught:
                await reader.readexactly(10)
            assert (caught.value.partial, caught.value.expected) == (b"!", 10)
            assert reader.at_eof()
            with pytest.raises(asyncio.IncompleteReadError):
                await reader.readexactly(1)

    run(main())


def test_readexactly_beyond_the_limit(run):
    async def main():
        async with stream(limit=1000) as (reader, writer, far):
            sending = asyncio.ensure_future(asyncio.get_running_loop().sock_sendall(far, pattern(1_000_000)))
            assert await reader.readexactly(999_999) == pattern(1_000_000)[:999_999]
            await sending
            assert await reader.readexactly(1) == pattern(1_000_000)[-1:]

    run(main())


def test_readline_and_readuntil(run):
    async def main():
        async with stream() as (reader, writer, far):
            far.send(b"one\ntwo\n\nhalf")
            assert [await reader.readline() for _ in range(3)] == [b"one\n", b"two\n", b"\n"]
            line = asyncio.ensure_future(reader.readline())
            await turns(10)
            assert not line.done()
            far.send(b" line\na--b-")
            assert await line == b"half line\n"
            assert await reader.readuntil(b"--") == b"a--"
            until = asyncio.ensure_future(reader.readuntil(b"-->"))
            await turns(10)
            far.send(b"->c")
            assert await until == b"b-->"
            with pytest.raises(ValueError):
                await reader.readuntil(b"")
            far.shutdown(socket.SHUT_WR)
            with pytest.raises(asyncio.IncompleteReadError) as caught:
                await reader.readuntil(b"x")
            assert (caught.value.partial, caught.value.expected) == (b"c", None)
            assert await reader.readline() == b""

    run(main())


def test_lines_by_iteration(run):
    async def main():
        async with stream() as (reader, writer, far):
            far.send(b"".join(b"line %d\n" % i for i in range(500)) + b"no newline")
            far.shutdown(socket.SHUT_WR)
            lines = [line async for line in reader]
            assert lines == [b"line %d\n" % i for i in range(500)] + [b"no newline"]

    run(main())


def test_limits(run):
    async def main():
        async with stream(limit=10) as (reader, writer, far):
            far.send(b"0123456789abcdef\nrest\n")
            with pytest.raises(asyncio.LimitOverrunError) as caught:
                await reader.readuntil(b"\n")
            assert caught.value.consumed == 16
            assert "Separator is found, but chunk is longer than limit" in str(caught.value)
            with pytest.raises(ValueError, match="Separator is found, but chunk is longer than limit"):
                await reader.readline()
            assert await reader.readline() == b"rest\n"
            far.send(b"no separator in here")
            with pytest.raises(asyncio.LimitOverrunError, match="Separator is not found"):
                await reader.readuntil(b"\n")
            with pytest.raises(ValueError, match="Separator is not found"):
                await reader.readline()
        with pytest.raises(ValueError, match="Limit cannot be <= 0"):
            await asyncio.open_connection("127.0.0.1", 1, limit=0)

    run(main())


def test_writer(run, errors):
    async def main():
        async with stream() as (reader, writer, far):
            writer.write(b"a")
            writer.writelines([b"b", bytearray(b"c")])
            assert await writer.drain() is None
            assert await recv_exactly(far, 3) == b"abc"
            assert writer.get_extra_info("peername") == far.getsockname()
            assert writer.get_extra_info("nothing", 1) == 1
            assert isinstance(writer.transport, asyncio.Transport)
            assert repr(writer.transport) in repr(writer)
            assert writer.can_write_eof() is True and not writer.is_closing()
            writer.write_eof()
            assert await recv_all(far) == b""
            far.send(b"back")
            assert await reader.read(10) == b"back"
            writer.close()
            assert writer.is_closing()
            assert await writer.wait_closed() is None
            assert await writer.wait_closed() is None
            assert reader.at_eof()
            with pytest.raises(ConnectionResetError, match="Connection lost"):
                await writer.drain()

    run(main())
    assert errors == []


def test_one_reader_at_a_time(run):
    async def main():
        async with stream() as (reader, writer, far):
            first = asyncio.ensure_future(reader.readline())
            await turns()
            with pytest.raises(RuntimeError) as caught:
                await reader.read(5)
            text = "read() called while another coroutine is already waiting for incoming data"
            assert str(caught.value) == text
            far.send(b"ok\n")
            assert await first == b"ok\n"

    run(main())


@pytest.mark.parametrize("method", ["read", "readline", "readexactly", "readuntil"])
def test_reset_during_a_read(run, errors, method):
    arguments = [10] if method == "readexactly" else []

    async def main():
        async with stream() as (reader, writer, far):
            waiting = asyncio.ensure_future(getattr(reader, method)(*arguments))
            if method != "read":
                far.send(b"partial")
                while bytes(reader._buffer) != b"partial":
                    await asyncio.sleep(0.001)
            await turns()
            reset(far)
            with pytest.raises(ConnectionResetError):
                await waiting
            assert isinstance(reader.exception(), ConnectionResetError)
            with pytest.raises(ConnectionResetError):
                await reader.read(5)
            with pytest.raises(ConnectionResetError):
                await writer.drain()
            writer.close()
            with pytest.raises(ConnectionResetError):
                await writer.wait_closed()

    run(main())
    assert errors == []


def test_set_exception(run):
    class Boom(Exception):
        pass

    async def main():
        async with stream() as (reader, writer, far):
            waiting = asyncio.ensure_future(reader.read(5))
            await turns()
            exc = Boom()
            reader.set_exception(exc)
            with pytest.raises(Boom):
                await waiting
            assert reader.exception() is exc
            far.send(b"too late")
            await turns(10)
            for read in (reader.read(5), reader.readexactly(1), reader.readline()):
                with pytest.raises(Boom):
                    await read

    run(main())


def test_cancelled_read_loses_nothing(run):
    async def main():
        async with stream() as (reader, writer, far):
            for method, arguments in (("read", [5]), ("readexactly", [5]), ("readline", [])):
                waiting = asyncio.ensure_future(getattr(reader, method)(*arguments))
                await turns()
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
                # the cancellation and the bytes fall into the same turn
                waiting = asyncio.ensure_future(getattr(reader, method)(*arguments))
                await turns()
                far.send(b"four\n")
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    assert await waiting == b"four\n"
                    continue
                assert await reader.readexactly(5) == b"four\n"
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.read(5), 0.001)
            far.send(b"end")
            assert await reader.read(5) == b"end"

    run(main())


@pytest.mark.parametrize("form", ["coroutine", "function", "method"])
def test_kinds_of_handler(run, errors, form):
    tasks = []

    async def answer(reader, writer):
        writer.write((await reader.read()).upper())
        writer.close()

    def function(reader, writer):
        tasks.append(asyncio.ensure_future(answer(reader, writer)))

    class Handler:
        async def method(self, reader, writer):
            await answer(reader, writer)

    handler = {"coroutine": answer, "function": function, "method": Handler().method}[form]

    async def main():
        async with serving(handler) as address:
            answers = await asyncio.gather(*(ask(address, b"client %d" % i) for i in range(5)))
            assert answers == [b"CLIENT %d" % i for i in range(5)]

    run(main())
    assert errors == []


@pytest.mark.parametrize("late", [False, True])
def test_handler_that_raises(run, errors, late):
    class Boom(Exception):
        pass

    async def handler(reader, writer):
        if late:
            await reader.read()
        raise Boom

    async def main():
        async with serving(handler) as address:
            assert await ask(address, b"x" if late else b"") == b""
            [context] = errors
            assert set(context) == {"message", "exception", "transport"}
            assert context["message"] == "Unhandled exception in client_connected_cb"
            assert type(context["exception"]) is Boom
            assert context["transport"].is_closing()

    run(main())


def test_function_handler_that_raises(run, errors):
    writers = []

    def handler(reader, writer):
        writers.append(writer)
        raise ZeroDivisionError

    async def main():
        async with serving(handler) as address:
            reader, writer = await asyncio.open_connection(*address)
            while not errors:
                await asyncio.sleep(0.001)
            [context] = errors
            assert type(context["exception"]) is ZeroDivisionError
            if context["message"] == "Unhandled exception in client_connected_cb":
                # Releases of 3.14 and later treat it as they do a coroutine that fails.
                assert sys.version_info >= (3, 13)
                assert context["transport"].is_closing()
                assert await reader.read() == b""
            else:
                assert context["message"].startswith("Exception in callback ")
                writers[0].write(b"still open")
                assert await reader.readexactly(10) == b"still open"
            writer.close()
            writers[0].close()
            await writer.wait_closed()

    run(main())


def test_server_holds_its_handlers(run, errors):
    """The task of a handler and its streams live although nothing of the program refers to them."""

    async def handler(reader, writer):
        while data := await reader.read(100):
            gc.collect()
            writer.write(data)
        writer.close()

    async def main():
        async with serving(handler) as address:
            reader, writer = await asyncio.open_connection(*address)
            for i in range(5):
                gc.collect()
                writer.write(b"round %d" % i)
                assert await reader.readexactly(7) == b"round %d" % i
            writer.close()
            await writer.wait_closed()

    run(main())
    assert errors == []
