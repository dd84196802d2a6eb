"""What a TCP transport does when a protocol method raises: what is reported, what becomes of the connection.

Covers net/transport.c, core/fault.c and net/stream_read.c. Relies on tcp_support for connected pairs.
"""

import asyncio
import socket

import pytest
from tcp_support import (
    BIG,
    BufferedRecorder,
    KeepOpen,
    Recorder,
    connected,
    pattern,
    recv_all,
    recv_exactly,
    turns,
)

pytestmark = pytest.mark.timeout(60)


class Boom(Exception):
    pass


def raising(base, name, exception=Boom, after=False):
    """A subclass of `base` whose method `name` raises, the first time only, before or after its work."""

    def method(self, *args):
        if after:
            getattr(super(Raises, self), name)(*args)
        if not self.raised:
            self.raised = True
            raise exception(name)
        return None if after else getattr(super(Raises, self), name)(*args)

    Raises = type("Raises", (base,), {name: method, "raised": False})
    return Raises


FATAL = [
    (Recorder, "data_received", "Fatal error: protocol.data_received() call failed."),
    (Recorder, "eof_received", "Fatal error: protocol.eof_received() call failed."),
    (BufferedRecorder, "get_buffer", "Fatal error: protocol.get_buffer() call failed."),
    (BufferedRecorder, "buffer_updated", "Fatal error: protocol.buffer_updated() call failed."),
    (BufferedRecorder, "eof_received", "Fatal error: protocol.eof_received() call failed."),
]


@pytest.mark.parametrize(("base", "name", "message"), FATAL)
def test_fatal_in_reading_methods(run, errors, base, name, message):
    async def main():
        async with connected(raising(base, name)) as (transport, protocol, far):
            transport.write(pattern(BIG))  # dropped by the failure
            far.send(b"data")
            far.shutdown(socket.SHUT_WR)
            exc = await protocol.lost
            assert type(exc) is Boom and exc.args == (name,)
            assert len(await recv_all_or_reset(far)) < BIG
            assert transport.is_closing()
            assert protocol.events.count("lost") == 1
            [context] = errors
            assert context == {
                "message": message,
                "exception": exc,
                "transport": transport,
                "protocol": protocol,
            }

    run(main())


async def recv_all_or_reset(sock):
    try:
        return await recv_all(sock)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize(("base", "name", "message"), FATAL)
def test_os_error_in_reading_methods_is_not_reported(run, errors, base, name, message):
    async def main():
        async with connected(raising(base, name, ConnectionAbortedError)) as (transport, protocol, far):
            far.send(b"data")
            far.shutdown(socket.SHUT_WR)
            assert type(await protocol.lost) is ConnectionAbortedError

    run(main())
    assert errors == []


def test_connection_made_raises(run, errors, debug):
    async def main():
        async with connected(raising(Recorder, "connection_made", after=True)) as (transport, protocol, far):
            # reported like any callback; the connection goes on
            [context] = errors
            assert set(context) == {"message", "exception", "handle"} | ({"source_traceback"} if debug else set())
            assert context["message"].startswith("Exception in callback ")
            assert type(context["exception"]) is Boom
            assert isinstance(context["handle"], asyncio.Handle)
            far.send(b"data")
            assert await protocol.until_received(4) == b"data"
            transport.close()
            await protocol.lost

    run(main())
    assert len(errors) == 1


@pytest.mark.parametrize("how", ["close", "abort", "flush", "eof"])
def test_connection_lost_raises(run, errors, how):
    async def main():
        async with connected(raising(Recorder, "connection_lost", after=True)) as (transport, protocol, far):
            if how == "flush":
                transport.write(pattern(BIG))
                transport.close()
                await recv_exactly(far, BIG)
            elif how == "eof":
                far.shutdown(socket.SHUT_WR)
            else:
                getattr(transport, how)()
            await protocol.lost
            await turns()
            # the socket is closed all the same
            assert await recv_all(far) == b""
            assert transport.get_extra_info("socket").fileno() == -1
            assert protocol.events.count("lost") == 1
            [context] = errors
            assert type(context["exception"]) is Boom
            assert context["message"].startswith("Exception in callback ")
            assert isinstance(context["handle"], asyncio.Handle)

    run(main())


@pytest.mark.parametrize("name", ["pause_writing", "resume_writing"])
def test_flow_methods_raise(run, errors, name):
    async def main():
        async with connected(raising(Recorder, name, after=True)) as (transport, protocol, far):
            transport.write(pattern(BIG))
            assert (len(errors) == 1) is (name == "pause_writing")
            assert await recv_exactly(far, BIG) == pattern(BIG)
            await protocol.until(lambda: "resume" in protocol.events)
            [context] = errors
            assert context == {
                "message": f"protocol.{name}() failed",
                "exception": context["exception"],
                "transport": transport,
                "protocol": protocol,
            }
            assert type(context["exception"]) is Boom
            # the connection is as before
            transport.write(b"alive")
            assert await recv_exactly(far, 5) == b"alive"
            assert not transport.is_closing()

    run(main())


def test_raising_after_close_is_the_callers_exception(run, errors):
    class Closes(Recorder):
        def data_received(self, data):
            self.transport.abort()
            raise Boom

    async def main():
        async with connected(Closes) as (transport, protocol, far):
            far.send(b"x")
            assert await protocol.lost is None
            [context] = errors
            assert context["message"] == "Fatal error: protocol.data_received() call failed."
            assert type(context["exception"]) is Boom

    run(main())


def test_cancelled_error_in_data_received_is_reported(run, errors):
    async def main():
        async with connected(raising(Recorder, "data_received", asyncio.CancelledError)) as (
            transport,
            protocol,
            far,
        ):
            far.send(b"x")
            assert type(await protocol.lost) is asyncio.CancelledError
            assert type(errors[0]["exception"]) is asyncio.CancelledError

    run(main())
    assert len(errors) == 1


@pytest.mark.parametrize("exception", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("base", "name"),
    [
        (Recorder, "connection_made"),
        (Recorder, "data_received"),
        (KeepOpen, "eof_received"),
        (Recorder, "pause_writing"),
        (Recorder, "resume_writing"),
        (Recorder, "connection_lost"),
        (BufferedRecorder, "get_buffer"),
        (BufferedRecorder, "buffer_updated"),
    ],
)
def test_exit_leaves_run_forever(loop, errors, base, name, exception):
    protocols = []

    def factory():
        protocols.append(raising(base, name, exception)())
        return protocols[-1]

    async def main():
        async with connected(factory) as (transport, protocol, far):
            far.send(b"data")
            if name == "eof_received":
                far.shutdown(socket.SHUT_WR)
            elif name == "connection_lost":
                transport.close()
            elif name == "resume_writing":
                transport.write(pattern(BIG))
                await recv_exactly(far, BIG)
            elif name == "pause_writing":
                # from a callback: what leaves a task also stays in the task
                loop.call_soon(transport.write, pattern(BIG))
            await asyncio.sleep(3600)

    task = loop.create_task(main())
    with pytest.raises(exception) as caught:
        loop.run_until_complete(task)
    assert caught.value.args == (name,)
    assert not loop.is_running() and protocols[0].raised
    assert errors == []
    # the loop is usable and ends the connection in order
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    if name != "connection_lost":
        assert protocols[0].events[-1] == "lost"


@pytest.mark.parametrize("space", [b"", bytearray(), memoryview(b"")], ids=["bytes", "bytearray", "memoryview"])
def test_empty_buffer(run, errors, space):
    class Empty(BufferedRecorder):
        def get_buffer(self, sizehint):
            return space

    async def main():
        async with connected(Empty) as (transport, protocol, far):
            far.send(b"x")
            exc = await protocol.lost
            assert type(exc) is RuntimeError and str(exc) == "get_buffer() returned an empty buffer"
            [context] = errors
            assert context["message"] == "Fatal error: protocol.get_buffer() call failed."
            assert context["exception"] is exc

    run(main())


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (None, "Fatal error: protocol.get_buffer() call failed."),
        (b"read-only", "Fatal read error on socket transport"),
        ([1, 2], "Fatal read error on socket transport"),
    ],
    ids=["None", "read-only", "list"],
)
def test_unusable_buffer(run, errors, space, message):
    class Unusable(BufferedRecorder):
        def get_buffer(self, sizehint):
            return space

    async def main():
        async with connected(Unusable) as (transport, protocol, far):
            far.send(b"x")
            assert isinstance(await protocol.lost, (TypeError, BufferError))
            [context] = errors
            assert context["message"] == message
            assert context["transport"] is transport and context["protocol"] is protocol

    run(main())
