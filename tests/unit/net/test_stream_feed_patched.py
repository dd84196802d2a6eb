"""What a StreamReader is fed while classes, instances and protocols are replaced under it, over every transport.

Covers the conditions of net/stream_feed.c: a method that is not asyncio's own is called, whenever it was put there.
Relies on test_stream_feed for warmed connections and on tls_support.
"""

import asyncio
import os
import types
import weakref

import pytest
from loop_support import until
from tcp_support import Recorder, connected, recv_exactly, stream, tcp_pair, turns
from test_stream_feed import fault, warm
from tls_support import client_context, server_context

pytestmark = pytest.mark.timeout(60)

Reader, Protocol = asyncio.StreamReader, asyncio.StreamReaderProtocol
METHODS = [(Reader, "feed_data"), (Reader, "_wakeup_waiter"), (Protocol, "data_received")]


def counting(function, seen):
    def wrapper(self, *args):
        seen.append(args)
        return function(self, *args)

    return wrapper


async def echoed(reader, far, message):
    """Whether a message arrives, by a read that waits for it."""
    reading = asyncio.ensure_future(reader.readexactly(len(message)))
    await turns()
    far.send(message)
    return await reading == message


@pytest.mark.parametrize(("owner", "name"), METHODS)
def test_method_patched_and_restored(run, errors, owner, name):
    plain, seen = getattr(owner, name), []

    async def main():
        async with warm() as (reader, writer, far):
            for _ in range(3):
                setattr(owner, name, counting(plain, seen))
                assert await echoed(reader, far, b"patched")
                assert await echoed(reader, far, b"patched still")
                assert len(seen) == 2
                setattr(owner, name, plain)
                assert await echoed(reader, far, b"restored")
                assert await echoed(reader, far, b"restored still")
                assert len(seen) == 2
                seen.clear()

    try:
        run(main())
    finally:
        setattr(owner, name, plain)
    assert errors == []


@pytest.mark.parametrize(("owner", "name"), METHODS)
def test_method_deleted(run, errors, owner, name):
    plain = getattr(owner, name)

    async def main():
        async with warm() as (reader, writer, far):
            reader._waiter = asyncio.get_running_loop().create_future()
            delattr(owner, name)
            try:
                far.send(b"x")
                # Protocol has a data_received of its own, which does nothing.
                if name == "data_received":
                    await asyncio.sleep(0.02)
                    assert not reader._buffer
                else:
                    exc = await fault(writer, errors)
                    assert type(exc) is AttributeError and exc.name == name
            finally:
                setattr(owner, name, plain)

    run(main())


@pytest.mark.parametrize(("owner", "name"), METHODS)
def test_code_replaced(run, errors, owner, name):
    # As tools do that load a changed module into a running program.
    function = getattr(owner, name)
    plain, seen = function.__code__, []
    copy = types.FunctionType(plain, function.__globals__)

    def by_module(self, *args):
        return _replacement(self, *args)  # noqa: F821

    function.__globals__["_replacement"] = counting(copy, seen)

    async def main():
        async with warm() as (reader, writer, far):
            function.__code__ = by_module.__code__
            try:
                assert await echoed(reader, far, b"replaced")
                assert len(seen) == 1
            finally:
                function.__code__ = plain
            assert await echoed(reader, far, b"restored")
            assert len(seen) == 1

    try:
        run(main())
    finally:
        del function.__globals__["_replacement"]
    assert errors == []


def test_property_patched(run, monkeypatch):
    async def main():
        async with warm() as (reader, writer, far):
            other = Reader()
            monkeypatch.setattr(Protocol, "_stream_reader", property(lambda self: other))
            far.send(b"to the other")
            assert await other.readexactly(12) == b"to the other"
            monkeypatch.undo()
            assert await echoed(reader, far, b"back")

    run(main())


@pytest.mark.parametrize("name", ["_buffer", "_limit", "_waiter"])
def test_field_that_became_a_descriptor(run, monkeypatch, name):
    async def main():
        async with warm() as (reader, writer, far):
            asked = []

            def get(self):
                asked.append(name)
                return vars(self)[name]

            def put(self, value):
                vars(self)[name] = value

            monkeypatch.setattr(Reader, name, property(get, put), raising=False)
            far.send(b"x")
            await until(lambda: vars(reader)["_buffer"] == b"x")
            assert name in asked

    run(main())


@pytest.mark.parametrize("owner", [Reader, Protocol, asyncio.Protocol], ids=lambda owner: owner.__name__)
def test_attribute_hook_of_the_class(run, monkeypatch, owner):
    async def main():
        async with warm() as (reader, writer, far):
            asked = []

            def hook(self, name):
                asked.append(name)
                return object.__getattribute__(self, name)

            monkeypatch.setattr(owner, "__getattribute__", hook, raising=False)
            far.send(b"x")
            await until(lambda: vars(reader)["_buffer"] == b"x")
            monkeypatch.undo()
            assert (
                "feed_data" if owner is Protocol else "_waiter" if owner is Reader else "data_received"
            ) in asked or ("data_received" in asked)
            assert await reader.readexactly(1) == b"x"
            assert await echoed(reader, far, b"restored")

    run(main())


def test_class_changed_all_the_time(run, errors):
    # Often enough to use up the versions that a class may have.
    async def main():
        async with warm() as (reader, writer, far):
            seen = []
            plain = Reader.feed_data
            try:
                for number in range(1200):
                    Reader.feed_data = counting(plain, seen) if number % 2 else plain
                    far.send(b"x")
                    assert await reader.readexactly(1) == b"x"
                    assert len(seen) == (number + 1) // 2
            finally:
                Reader.feed_data = plain

    run(main())
    assert errors == []


def test_method_of_the_instance(run, errors):
    async def main():
        for name in ("feed_data", "_wakeup_waiter"):
            async with warm() as (reader, writer, far):
                seen = []
                plain = getattr(reader, name)
                setattr(reader, name, lambda *args, plain=plain, seen=seen: (seen.append(args), plain(*args)))
                assert await echoed(reader, far, b"own")
                assert len(seen) == 1
                delattr(reader, name)
                assert await echoed(reader, far, b"restored")
                vars(reader)[name] = lambda *args, plain=plain, seen=seen: (seen.append(args), plain(*args))
                assert await echoed(reader, far, b"own again")
                assert len(seen) == 2
                del vars(reader)[name]
                assert await echoed(reader, far, b"restored again")
                assert len(seen) == 2

    run(main())
    assert errors == []


@pytest.mark.parametrize("name", ["feed_data", "_wakeup_waiter"])
@pytest.mark.parametrize("value", [None, 5, "", asyncio], ids=str)
def test_method_of_the_instance_that_cannot_be_called(run, errors, name, value):
    async def main():
        async with warm() as (reader, writer, far):
            setattr(reader, name, value)
            far.send(b"x")
            exc = await fault(writer, errors)
            assert type(exc) is TypeError and "not callable" in str(exc)
            delattr(reader, name)

    run(main())


def test_method_hidden_behind_a_deleted_attribute(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            loop, seen = reader._loop, []
            del reader._loop
            reader.feed_data = seen.append
            far.send(b"x")
            await until(lambda: seen)
            assert seen == [b"x"] and reader._buffer == b""
            reader._loop = loop

    run(main())
    assert errors == []


def test_protocol_of_the_instance(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            protocol, seen = writer.transport.get_protocol(), []
            protocol.data_received = seen.append
            far.send(b"x")
            await until(lambda: seen)
            assert seen == [b"x"] and type(seen[0]) is bytes
            del protocol.data_received
            assert await echoed(reader, far, b"restored")
            protocol.data_received = None
            far.send(b"x")
            assert type(await fault(writer, errors)) is TypeError

    run(main())


class Shouting(Reader):
    def feed_data(self, data):
        super().feed_data(data.upper())


class Framed(Protocol):
    def data_received(self, data):
        super().data_received(b"<" + data + b">")


def test_class_of_the_instance(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            reader.__class__ = Shouting
            far.send(b"loud")
            assert await reader.readexactly(4) == b"LOUD"
            reader.__class__ = Reader
            assert await echoed(reader, far, b"quiet")
            protocol = writer.transport.get_protocol()
            protocol.__class__ = Framed
            far.send(b"x")
            assert await reader.readexactly(3) == b"<x>"
            protocol.__class__ = Protocol
            assert await echoed(reader, far, b"restored")

    run(main())
    assert errors == []


@pytest.mark.parametrize("how", ["ref", "subclass", "function"])
def test_reader_replaced(run, errors, how):
    class Ref(weakref.ref):
        def __call__(self):
            return self.other

    async def main():
        async with warm() as (reader, writer, far):
            protocol, other = writer.transport.get_protocol(), Reader()
            if how == "subclass":
                protocol._stream_reader_wr = Ref(reader)
                protocol._stream_reader_wr.other = other
            else:
                protocol._stream_reader_wr = weakref.ref(other) if how == "ref" else lambda: other
            far.send(b"for the other")
            assert await other.readexactly(13) == b"for the other"
            assert reader._buffer == b""
            protocol._stream_reader_wr = weakref.ref(reader)
            assert await echoed(reader, far, b"restored")

    run(main())
    assert errors == []


@pytest.mark.parametrize("value", [None, weakref.ref(type("Gone", (), {})())], ids=["none", "dead"])
def test_no_reader(run, errors, value):
    async def main():
        async with warm() as (reader, writer, far):
            protocol = writer.transport.get_protocol()
            protocol._stream_reader_wr = value
            far.send(b"for nobody")
            await asyncio.sleep(0.02)
            assert reader._buffer == b""
            writer.write(b"alive")
            assert await recv_exactly(far, 5) == b"alive"
            protocol._stream_reader_wr = weakref.ref(reader)
            assert await echoed(reader, far, b"restored")

    run(main())
    assert errors == []


def test_reference_that_is_gone_or_wrong(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            protocol = writer.transport.get_protocol()
            del protocol._stream_reader_wr
            far.send(b"x")
            exc = await fault(writer, errors)
            assert type(exc) is AttributeError and exc.name == "_stream_reader_wr"
            protocol._stream_reader_wr = None
        errors.clear()
        async with warm() as (reader, writer, far):
            protocol = writer.transport.get_protocol()
            protocol._stream_reader_wr = weakref.ref(protocol)
            far.send(b"x")
            exc = await fault(writer, errors)
            assert type(exc) is AttributeError and exc.name == "feed_data"
            protocol._stream_reader_wr = None

    run(main())


def test_protocol_switched(run, errors):
    async def main():
        loop = asyncio.get_running_loop()
        async with warm() as (reader, writer, far):
            transport, first = writer.transport, writer.transport.get_protocol()
            recorder = Recorder()
            recorder.connection_made(transport)
            transport.set_protocol(recorder)
            far.send(b"recorded")
            assert await recorder.until_received(8) == b"recorded"
            other = Reader(loop=loop)
            second = Protocol(other, loop=loop)
            transport.set_protocol(second)
            assert await echoed(other, far, b"other reader")
            transport.set_protocol(first)
            assert await echoed(reader, far, b"first reader")
            assert reader._buffer == other._buffer == b""

    run(main())
    assert errors == []


def test_end_and_loss_in_one_turn(run, errors):
    async def main():
        async with warm() as (reader, writer, far):
            lines = asyncio.ensure_future(reader.readline())
            await turns()
            far.send(b"line\nrest")
            far.close()
            assert await lines == b"line\n"
            assert await reader.read() == b"rest"

    run(main())
    assert errors == []


def test_over_a_pipe(run, errors):
    async def main():
        loop = asyncio.get_running_loop()
        reader = Reader(limit=4, loop=loop)
        read_end, write_end = os.pipe()
        transport, _ = await loop.connect_read_pipe(lambda: Protocol(reader, loop=loop), os.fdopen(read_end, "rb", 0))
        try:
            for message in (b"one", b"two", b"longer than the limit"):
                os.write(write_end, message)
                assert await reader.readexactly(len(message)) == message
            os.write(write_end, b"longer than the limit")
            await until(lambda: reader._paused)
            assert not transport.is_reading()
            assert await reader.readexactly(21) == b"longer than the limit"
            assert transport.is_reading()
        finally:
            os.close(write_end)
        assert await reader.read() == b""

    run(main())
    assert errors == []


async def tls_streams(limit=2**16):
    """(reader, writer) of both ends of a TLS connection whose client began in plain text."""
    loop = asyncio.get_running_loop()
    near, far = tcp_pair()
    accepted = []
    server = Protocol(Reader(limit=limit, loop=loop), lambda *streams: accepted.append(streams), loop=loop)
    await loop.connect_accepted_socket(lambda: server, sock=far)
    connected = await asyncio.open_connection(sock=near, limit=limit)
    await turns()
    return connected, *accepted


async def say(writer, reader, message):
    writer.write(message)
    assert await reader.readexactly(len(message)) == message


def test_tls_in_mid_stream(run, errors):
    async def main():
        (reader, writer), (far_reader, far_writer) = await tls_streams(limit=1000)
        for size in (1, 1000, 100_000):
            await say(writer, far_reader, b"p" * size)
            await say(far_writer, reader, b"q" * size)
        await asyncio.gather(
            writer.start_tls(client_context(), server_hostname="localhost"), far_writer.start_tls(server_context())
        )
        for size in (1, 1000, 16384, 100_000, 1_000_000):
            await say(writer, far_reader, b"r" * size)
            await say(far_writer, reader, b"s" * size)
        writer.close()
        assert await far_reader.read() == b""
        far_writer.close()
        await turns(20)

    run(main())
    assert errors == []


def test_patched_while_tls(run, errors):
    plain, seen = Reader.feed_data, []

    async def main():
        (reader, writer), (far_reader, far_writer) = await tls_streams()
        await asyncio.gather(
            writer.start_tls(client_context(), server_hostname="localhost"), far_writer.start_tls(server_context())
        )
        await say(writer, far_reader, b"warm")
        await say(writer, far_reader, b"warmer")
        Reader.feed_data = counting(plain, seen)
        await say(writer, far_reader, b"patched")
        assert seen == [(b"patched",)]
        Reader.feed_data = plain
        await say(writer, far_reader, b"restored")
        assert len(seen) == 1
        far_reader._waiter = 5
        writer.write(b"x")
        await until(lambda: errors)
        assert errors[0]["message"] == "Fatal error on SSL protocol"
        assert type(errors[0]["exception"]) is AttributeError
        for each in (writer, far_writer):
            each.transport.abort()
        await turns(20)

    try:
        run(main())
    finally:
        Reader.feed_data = plain


def test_streams_side_by_side(run, errors):
    async def main():
        async with stream() as (one, _, far_one), stream() as (two, _, far_two), connected() as (_, recorder, far):
            for number in range(50):
                message = b"%d" % number
                far_one.send(message)
                far_two.send(message)
                far.send(message)
                assert await one.readexactly(len(message)) == await two.readexactly(len(message)) == message
            await recorder.until_received(90)

    run(main())
    assert errors == []
