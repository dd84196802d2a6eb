"""What the pipe tests share: transports over one end of a pipe, FIFO, socket or terminal, the other end raw.

Relies on tcp_support for the recording protocol. The raw end does not block, so that a test alone decides what
the other side does and never waits in the loop's thread.
"""

import asyncio
import contextlib
import errno
import os

from tcp_support import Recorder, turns


class CountedFile:
    """A file object that owns a descriptor and counts its close() calls."""

    def __init__(self, fd):
        self.fd = fd
        self.closed = 0

    def fileno(self):
        return self.fd

    def close(self):
        self.closed += 1
        if self.closed == 1:
            os.close(self.fd)


def raw_pipe():
    """(read descriptor, write descriptor), neither of which blocks."""
    ends = os.pipe()
    for fd in ends:
        os.set_blocking(fd, False)
    return ends


@contextlib.asynccontextmanager
async def reading(factory=Recorder):
    """A (transport, protocol, raw write end) over one pipe; the raw end may be closed by the test."""
    near, far = raw_pipe()
    pipe = CountedFile(near)
    transport, protocol = await asyncio.get_running_loop().connect_read_pipe(factory, pipe)
    far = CountedFile(far)
    try:
        yield transport, protocol, far
    finally:
        transport.close()
        if not far.closed:
            far.close()
        await turns()
        assert pipe.closed == 1


@contextlib.asynccontextmanager
async def writing(factory=Recorder):
    """A (transport, protocol, raw read end) over one pipe; the raw end may be closed by the test."""
    far, near = raw_pipe()
    pipe = CountedFile(near)
    transport, protocol = await asyncio.get_running_loop().connect_write_pipe(factory, pipe)
    far = CountedFile(far)
    try:
        yield transport, protocol, far
    finally:
        if not transport.is_closing() or transport.get_write_buffer_size():
            transport.abort()
        if not far.closed:
            far.close()
        await turns()
        assert pipe.closed == 1


def drain(file):
    """What is in the pipe now; None once nobody writes to it."""
    data = b""
    while True:
        try:
            part = os.read(file.fileno(), 1 << 20)
        except BlockingIOError:
            return data
        if not part:
            return data or None
        data += part


async def drain_until(file, count):
    """Read `count` bytes while the loop goes on."""
    data = b""
    while len(data) < count:
        part = drain(file)
        assert part is not None, f"end after {len(data)} of {count} bytes"
        data += part
        await asyncio.sleep(0)
    return data


def fill(fd):
    """Write to a pipe until it takes no more; how many bytes that were."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            count += os.write(fd, b"x" * 4096)
    return count


def is_open(fd):
    try:
        os.fstat(fd)
    except OSError as exc:
        assert exc.errno == errno.EBADF
        return False
    return True
