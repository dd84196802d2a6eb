"""fileno() that fails with MemoryError says nothing of the file: it is not taken for a closed one.

Covers net/sockops.c, net/pipe.c and net/listener.c, by lm_exc_is_no_answer of base/oserr.h.
"""

import asyncio
import contextlib
import os
import socket

import pytest


class Counting:
    """fileno() fails in one of its calls."""

    countdown = 0

    def fileno(self):
        self.countdown -= 1
        if self.countdown == 0:
            raise MemoryError
        return super().fileno()


class Socket(Counting, socket.socket):
    pass


def pair():
    near, far = socket.socketpair()
    near = Socket(fileno=near.detach())
    near.setblocking(False)
    return near, far


@pytest.mark.parametrize("number", range(1, 6))
def test_a_socket(loop, number):
    near, far = pair()
    with near, far:
        near.countdown = number

        async def main():
            waiting = asyncio.ensure_future(loop.sock_recv(near, 10))
            await asyncio.sleep(0)
            far.send(b"x")
            return await waiting

        with contextlib.suppress(MemoryError):
            assert loop.run_until_complete(main()) == b"x"
        near.countdown = 0


def unbuffered(number, mode):
    class File(Counting, type(open(number, mode, 0, closefd=False))):
        pass

    return File(number, mode)


@pytest.mark.parametrize("number", range(1, 12))
@pytest.mark.parametrize("is_reader", [True, False])
def test_a_pipe(loop, number, is_reader):
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
    ends = os.pipe()
    reader, writer = unbuffered(ends[0], "rb"), unbuffered(ends[1], "wb")
    (reader if is_reader else writer).countdown = number

    class Protocol(asyncio.Protocol):
        def __init__(self):
            self.lost = loop.create_future()

        def connection_lost(self, exc):
            if exc is not None:
                told.append(exc)
            self.lost.set_result(None)

    async def main():
        into, one = await loop.connect_write_pipe(Protocol, writer)
        out, other = await loop.connect_read_pipe(Protocol, reader)
        into.write(b"x")
        await asyncio.sleep(0)
        into.write_eof()
        while not told and not (one.lost.done() and other.lost.done()):
            await asyncio.sleep(0.001)
        for transport in (into, out):
            if not transport.is_closing():
                transport.close()
        await asyncio.sleep(0)

    with contextlib.suppress(MemoryError):
        loop.run_until_complete(asyncio.wait_for(main(), 20))
    assert {type(exc) for exc in told} <= {MemoryError}
    for each in (reader, writer):
        each.countdown = 0
        with contextlib.suppress(OSError):
            each.close()
