"""Pipe transports over everything that may be one: sockets, FIFOs, terminals, devices; and what is refused.

Covers net/pipe.c. Relies on pipe_support for the recording protocol and the file objects.
"""

import asyncio
import os
import pty
import socket
import tempfile
import termios
import tty

import pytest
from pipe_support import CountedFile, drain_until, is_open, raw_pipe
from tcp_support import Recorder, only_loopmod, pattern, recv_all, turns, unix_pair

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def terminal():
    """(master, slave) descriptors of a pseudo-terminal in raw mode; what is still open is closed."""
    master, slave = pty.openpty()
    tty.setraw(slave, termios.TCSANOW)
    yield master, slave
    for fd in (master, slave):
        if is_open(fd):
            os.close(fd)


async def read_pipe(pipe):
    return await asyncio.get_running_loop().connect_read_pipe(Recorder, pipe)


async def write_pipe(pipe):
    return await asyncio.get_running_loop().connect_write_pipe(Recorder, pipe)


def test_reading_a_socket(run):
    async def main():
        near, far = unix_pair()
        transport, protocol = await read_pipe(near)
        assert transport.get_extra_info("pipe") is near
        far.send(b"data")
        assert await protocol.until_received(4) == b"data"
        far.close()
        assert await protocol.lost is None
        await turns()
        assert near.fileno() == -1

    run(main())


def test_writing_a_socket(run):
    async def main():
        near, far = unix_pair()
        transport, protocol = await write_pipe(near)
        data = pattern(2_000_000)
        transport.write(data)
        assert transport.get_write_buffer_size() > 0
        transport.close()
        assert await recv_all(far) == data
        assert await protocol.lost is None
        await turns()
        assert near.fileno() == -1
        far.close()

    run(main())


def test_the_other_end_of_a_written_socket_closes(run):
    async def main():
        near, far = unix_pair()
        transport, protocol = await write_pipe(near)
        far.close()
        assert await protocol.lost is None

    run(main())


def test_a_reset_tcp_connection(run, errors):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            near = socket.create_connection(listener.getsockname())
            far, _ = listener.accept()
        transport, protocol = await read_pipe(near)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
        exc = await protocol.lost
        assert type(exc) is ConnectionResetError
        [context] = errors
        assert context["message"] == "Fatal read error on pipe transport" and context["exception"] is exc

    run(main())


def test_fifo(run, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)

    async def main():
        reader_fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        writer_fd = os.open(path, os.O_WRONLY)
        reader = await read_pipe(os.fdopen(reader_fd, "rb", 0))
        writer = await write_pipe(os.fdopen(writer_fd, "wb", 0))
        data = pattern(300_000)
        writer[0].write(data)
        writer[0].close()
        assert await reader[1].until_received(len(data)) == data
        assert await reader[1].lost is None and await writer[1].lost is None

    run(main())


def test_fifo_whose_reader_goes_away(run, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(path)

    async def main():
        reader_fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        transport, protocol = await write_pipe(os.fdopen(os.open(path, os.O_WRONLY), "wb", 0))
        os.close(reader_fd)
        assert await protocol.lost is None

    run(main())


def test_terminal_is_read(run, terminal):
    master, slave = terminal

    async def main():
        transport, protocol = await read_pipe(os.fdopen(master, "rb", 0))
        os.write(slave, b"typed")
        assert await protocol.until_received(5) == b"typed"
        transport.close()
        await protocol.lost

    run(main())


def test_end_of_a_terminal(run, terminal, errors):
    # A read of the master says EIO once nobody has the slave open: no error worth a report.
    master, slave = terminal

    async def main():
        transport, protocol = await read_pipe(os.fdopen(master, "rb", 0))
        os.write(slave, b"last words")
        os.close(slave)
        exc = await protocol.lost
        assert type(exc) is OSError and "Input/output error" in str(exc)
        assert protocol.received == b"last words"
        assert protocol.events == ["made", "data", "lost"]

    run(main())
    assert errors == []


def test_terminal_is_written(run, terminal):
    master, slave = terminal

    async def main():
        transport, protocol = await write_pipe(os.fdopen(slave, "wb", 0))
        # Input of a device does not mean that its other end is gone.
        os.write(master, b"typed")
        await turns(10)
        assert not transport.is_closing()
        transport.write(b"shown")
        os.set_blocking(master, False)
        assert await drain_until(CountedFile(master), 5) == b"shown"
        transport.close()
        await protocol.lost

    run(main())


@pytest.mark.parametrize("first", ["reader", "writer"])
def test_both_directions_of_a_terminal_over_one_descriptor(run, kind, terminal, first):
    if first == "writer":
        only_loopmod(kind, "asyncio stops the reading transport of the descriptor too")

    master, slave = terminal

    async def main():
        reader = await read_pipe(os.fdopen(slave, "rb", 0, closefd=False))
        writer = await write_pipe(os.fdopen(slave, "wb", 0, closefd=False))
        os.write(master, b"typed")
        assert await reader[1].until_received(5) == b"typed"
        size = 200_000
        writer[0].write(b"x" * size)
        assert writer[0].get_write_buffer_size() > 0
        os.set_blocking(master, False)
        assert await drain_until(CountedFile(master), size) == b"x" * size
        # One ends, the other goes on.
        ending, staying = (reader, writer) if first == "reader" else (writer, reader)
        ending[0].close()
        await ending[1].lost
        if first == "reader":
            writer[0].write(b"x" * size)
            assert await drain_until(CountedFile(master), size) == b"x" * size
        else:
            os.write(master, b"more")
            assert await reader[1].until_received(9) == b"typedmore"
        staying[0].close()
        await staying[1].lost

    run(main())


def test_descriptor_is_made_non_blocking(run):
    async def main():
        for connect, end in ((read_pipe, 0), (write_pipe, 1)):
            ends = os.pipe()
            assert os.get_blocking(ends[end])
            transport, protocol = await connect(CountedFile(ends[end]))
            assert not os.get_blocking(ends[end])
            transport.close()
            await protocol.lost
            os.close(ends[1 - end])

    run(main())


def test_device_that_cannot_be_watched(run, errors):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await write_pipe(open("/dev/null", "wb", 0))
        transport.write(b"gone")
        transport.close()
        assert await protocol.lost is None
        assert errors == []
        transport, protocol = await asyncio.wait_for(loop.connect_read_pipe(Recorder, open("/dev/null", "rb", 0)), 10)
        await turns()
        assert [type(context["exception"]) for context in errors] == [PermissionError]
        assert protocol.events == ["made"]
        transport.close()
        assert await protocol.lost is None

    run(main())


@pytest.mark.parametrize("direction", ["read", "write"])
def test_regular_files_and_directories_are_refused(run, direction, tmp_path):
    async def main():
        connect = read_pipe if direction == "read" else write_pipe
        words = "Pipe transport is (only )?for pipes"
        with tempfile.TemporaryFile() as file:
            with pytest.raises(ValueError, match=words):
                await connect(file)
            await turns()
            assert not file.closed  # still the caller's
            file.write(b"fine")
        directory = CountedFile(os.open(tmp_path, os.O_RDONLY))
        with pytest.raises(ValueError, match=words):
            await connect(directory)
        assert directory.closed == 0
        directory.close()

    run(main())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("thing", [None, 5, "name", object()])
@pytest.mark.parametrize("direction", ["read", "write"])
def test_things_without_a_descriptor(run, direction, thing):
    async def main():
        with pytest.raises((AttributeError, ValueError)):
            await (read_pipe if direction == "read" else write_pipe)(thing)

    run(main())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("direction", ["read", "write"])
def test_closed_file(run, direction):
    async def main():
        near, far = raw_pipe()
        file = os.fdopen(near, "rb", 0)
        file.close()
        with pytest.raises((ValueError, OSError)):
            await (read_pipe if direction == "read" else write_pipe)(file)
        os.close(far)

    run(main())
