"""A run nested where a transport asks the program something ends it: its loop or protocol, gone, was used."""

import asyncio
import logging
import os
import socket
import sys

import loopmod
from loopmod import nested


class P(asyncio.Protocol):
    lost = 0

    def connection_lost(self, exc):
        P.lost += 1


class EndsAtEof(P):
    @property
    def eof_received(self):
        end()
        return lambda: None


class EndsAtBuffer(bytes):
    def __len__(self):
        return 1

    def __buffer__(self, flags):
        end()
        return memoryview(b"x")


class EndsAtLog(logging.Handler):
    def emit(self, record):
        if "received EOF" in record.getMessage():
            end()


def end():
    transport.abort() if hasattr(transport, "abort") else transport.close()
    before = P.lost

    async def until_lost():
        while P.lost == before:
            await asyncio.sleep(0)

    loop.run_until_complete(until_lost())


async def read_pipe():
    r, w = os.pipe()
    yield await loop.connect_read_pipe(EndsAtEof, os.fdopen(r, "rb", 0))
    os.close(w)


async def write_pipe():
    r, w = os.pipe()
    yield await loop.connect_write_pipe(P, os.fdopen(w, "wb", 0))
    transport.write(EndsAtBuffer(b"x"))
    if sys.version_info < (3, 12):  # no class in Python has buffers
        transport.close()
    os.close(r)


async def stream():
    a, b = socket.socketpair()
    a.setblocking(False)
    yield await loop.create_connection(P, sock=a)
    b.close()


async def main():
    global transport
    for count, attack in enumerate((read_pipe, write_pipe, stream), 1):
        async for made, _ in attack():
            transport = made
        while P.lost < count:
            await asyncio.sleep(0)
    assert P.lost == 3, P.lost


nested.allow_nested_runs()
logger = logging.getLogger("asyncio")
logger.setLevel(logging.DEBUG)
logger.propagate = False
logger.addHandler(EndsAtLog())
loop = loopmod.new_event_loop()
loop.set_debug(True)
loop.run_until_complete(main())
loop.close()
print("ok")
