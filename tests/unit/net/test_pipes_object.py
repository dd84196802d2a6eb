"""Pipe transports as objects: types, extra info, who closes the file and how often, dropping, closed loops.

Covers net/pipe.c and net/pipe_type.c. Relies on pipe_support for the ends.
"""

import asyncio
import gc
import os
import warnings
import weakref

import pytest
from pipe_support import CountedFile, drain, is_open, raw_pipe, reading, writing
from tcp_support import Recorder, open_fds, turns

pytestmark = pytest.mark.timeout(60)


async def connect(direction, factory=asyncio.BaseProtocol, kind=CountedFile):
    """A transport that reads or writes a new pipe, its protocol, its file, and the number of the other end."""
    loop = asyncio.get_running_loop()
    ends = raw_pipe()
    near, far = ends if direction == "read" else ends[::-1]
    pipe = kind(near)
    method = loop.connect_read_pipe if direction == "read" else loop.connect_write_pipe
    return (*await method(factory, pipe), pipe, far)


def test_types(run):
    async def main():
        async with reading() as (transport, protocol, far):
            assert isinstance(transport, asyncio.ReadTransport)
            assert not isinstance(transport, asyncio.WriteTransport)
            assert weakref.ref(transport)() is transport
            transport.mark = 1
        async with writing() as (transport, protocol, far):
            assert isinstance(transport, asyncio.WriteTransport)
            assert weakref.ref(transport)() is transport
            calls = []
            transport.write = calls.append
            transport.write(b"seen by the replacement")
            transport.writelines([b"a", b"b"])
            assert calls == [b"seen by the replacement", b"ab"]

    run(main())


def test_extra_info(run):
    async def main():
        for ends in (reading, writing):
            async with ends() as (transport, protocol, far):
                pipe = transport.get_extra_info("pipe")
                assert isinstance(pipe, CountedFile)
                assert transport.get_extra_info("nothing") is None
                assert transport.get_extra_info("nothing", 5) == 5
                transport.close()
                await protocol.lost
                await turns()
                assert transport.get_extra_info("pipe") is pipe and pipe.closed == 1

    run(main())


def test_extra_given(run):
    async def main():
        loop = asyncio.get_running_loop()
        near, far = raw_pipe()
        pipe = CountedFile(near)
        extra = {"name": "value"}
        transport = loop._make_read_pipe_transport(pipe, Recorder(), extra=extra)
        assert transport.get_extra_info("name") == "value"
        assert extra["pipe"] is pipe
        transport.close()
        await turns()
        os.close(far)

    run(main())


class Sneaky:
    """A file object whose close() gives its number to somebody else at once."""

    def __init__(self, fd):
        self.fd = fd
        self.closes = 0
        self.stranger = None

    def fileno(self):
        return self.fd

    def close(self):
        self.closes += 1
        if self.closes == 1:
            os.close(self.fd)
            null = os.open("/dev/null", os.O_RDONLY)
            if null != self.fd:
                os.dup2(null, self.fd)
                os.close(null)
            self.stranger = self.fd


@pytest.mark.parametrize("direction", ["read", "write"])
@pytest.mark.parametrize("end", ["close", "peer", "drop"])
def test_descriptor_is_closed_once_and_through_the_file(run, direction, end):
    # uvloop closes it a second time by its number, which may then be a stranger's.
    async def main():
        transport, protocol, pipe, far = await connect(direction, Recorder, Sneaky)
        if end == "close":
            transport.close()
        elif end == "peer":
            os.close(far)
        else:
            transport.close()
            del protocol.transport
        await protocol.lost
        del transport
        await turns(10)
        gc.collect()
        assert pipe.closes == 1
        assert is_open(pipe.stranger)
        os.close(pipe.stranger)
        if end != "peer":
            os.close(far)

    run(main())


def test_file_that_fails_to_close(run, errors):
    class Fails(CountedFile):
        def close(self):
            super().close()
            raise OSError("no space left")

    async def main():
        near, far = raw_pipe()
        pipe = Fails(near)
        transport, protocol = await asyncio.get_running_loop().connect_read_pipe(Recorder, pipe)
        transport.close()
        assert await protocol.lost is None
        await turns()
        assert [str(context["exception"]) for context in errors] == ["no space left"]
        os.close(far)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipe.fd = os.dup(0)  # asyncio closes it again when the transport is freed
            pipe.closed = 0
            del transport, protocol
            errors.clear()
            gc.collect()
        if not pipe.closed:
            os.close(pipe.fd)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(main())


@pytest.mark.parametrize("direction", ["read", "write"])
def test_dropped_unclosed(new_loop, direction):
    loop = new_loop()
    transport, protocol, pipe, far = loop.run_until_complete(connect(direction))
    loop.close()
    assert pipe.closed == 0
    with pytest.warns(ResourceWarning, match="unclosed transport <.*PipeTransport fd=[0-9]+ open"):
        del transport, protocol
        gc.collect()
    assert pipe.closed == 1
    os.close(far)


@pytest.mark.parametrize("direction", ["read", "write"])
def test_file_taken_away(new_loop, direction):
    loop = new_loop()
    transport, protocol, pipe, far = loop.run_until_complete(connect(direction))
    loop.close()
    transport._pipe = None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del transport, protocol
        gc.collect()
    assert pipe.closed == 0
    pipe.close()
    os.close(far)


@pytest.mark.parametrize("direction", ["read", "write"])
def test_file_given_after_the_end(new_loop, direction):
    loop = new_loop()
    transport, protocol, _, far = loop.run_until_complete(connect(direction))
    transport.close()
    loop.run_until_complete(turns())
    loop.close()
    transport._pipe = given = CountedFile(far)
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del transport, protocol
        gc.collect()
    assert given.closed == 1


def test_the_file_finds_the_protocol_when_it_is_closed(run):
    async def main():
        near, far = raw_pipe()
        found = []

        class Asks(CountedFile):
            def close(self):
                found.append(transport.get_protocol())
                super().close()

        transport, protocol = await asyncio.get_running_loop().connect_read_pipe(Recorder, Asks(near))
        transport.close()
        await turns()
        assert found == [protocol]
        assert transport.get_protocol() is None
        os.close(far)

    run(main())


def test_the_loop_keeps_a_watched_pipe_alive(run):
    async def main():
        near, far = raw_pipe()
        pipe = CountedFile(near)
        result = asyncio.get_running_loop().create_future()

        class Tells(asyncio.Protocol):
            def data_received(self, data):
                result.set_result(data)

        transport, protocol = await asyncio.get_running_loop().connect_read_pipe(Tells, pipe)
        transport = weakref.ref(transport)
        del protocol
        gc.collect()
        os.write(far, b"data")
        assert await result == b"data"
        os.close(far)
        while not pipe.closed:
            await asyncio.sleep(0.001)
        await turns()
        gc.collect()
        assert pipe.closed == 1 and transport() is None

    run(main())


def test_close_on_a_closed_loop(new_loop):
    loop = new_loop()
    far, near = raw_pipe()
    pipe = CountedFile(near)
    transport, _ = loop.run_until_complete(loop.connect_write_pipe(asyncio.BaseProtocol, pipe))
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        transport.close()
    assert transport.is_closing()
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        del transport, _
        gc.collect()
    assert pipe.closed == 1
    os.close(far)


def test_cancelled_connect(run):
    async def main():
        loop = asyncio.get_running_loop()
        before = open_fds()
        for connect in (loop.connect_read_pipe, loop.connect_write_pipe):
            near, far = raw_pipe()
            if connect == loop.connect_write_pipe:
                near, far = far, near
            pipe = CountedFile(near)
            protocol = Recorder()
            task = loop.create_task(connect(lambda protocol=protocol: protocol, pipe))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert await protocol.lost is None
            await turns()
            assert pipe.closed == 1
            os.close(far)
        assert open_fds() == before

    run(main())


def test_many_pipes_and_no_descriptor_left(run):
    async def main():
        loop = asyncio.get_running_loop()
        before = open_fds()
        ends = []
        for _ in range(100):
            near, far = raw_pipe()
            ends.append(await loop.connect_read_pipe(Recorder, CountedFile(near)))
            ends.append(await loop.connect_write_pipe(Recorder, CountedFile(far)))
        for transport, _ in ends[1::2]:
            transport.write(b"x" * 100_000)
            transport.close()
        for _, protocol in ends:
            await protocol.lost
        assert all(len(protocol.received) == 100_000 for _, protocol in ends[::2])
        await turns()
        assert open_fds() == before

    run(main())


def test_descriptor_with_a_copy_that_stays_open(run):
    # The kernel goes on telling of a descriptor while a copy of it is open.
    async def main():
        near, far = raw_pipe()
        copy = os.dup(near)
        transport, protocol = await asyncio.get_running_loop().connect_read_pipe(Recorder, CountedFile(near))
        transport.close()
        await protocol.lost
        await turns()
        os.write(far, b"for the copy")
        other, other_far = raw_pipe()
        assert other == near  # the number is given out again
        second, second_protocol = await asyncio.get_running_loop().connect_read_pipe(Recorder, CountedFile(other))
        await turns(10)
        assert second_protocol.received == b""
        os.write(other_far, b"mine")
        assert await second_protocol.until_received(4) == b"mine"
        assert drain(CountedFile(copy)) == b"for the copy"
        second.close()
        await second_protocol.lost
        for fd in (copy, far, other_far):
            os.close(fd)

    run(main())


def test_readers_of_the_user_on_the_same_pipe(run):
    # A pipe transport does not own its descriptor's number: others may watch it too.
    async def main():
        loop = asyncio.get_running_loop()
        async with writing() as (transport, protocol, far):
            fd = transport.get_extra_info("pipe").fileno()
            writable = loop.create_future()
            loop.add_writer(fd, lambda: writable.done() or writable.set_result(None))
            await writable
            assert loop.remove_writer(fd)
            transport.write(b"data")
            assert drain(far) == b"data"

    run(main())
