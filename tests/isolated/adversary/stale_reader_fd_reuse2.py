"""The same between add_reader and sock_recv-like use of the number through asyncio's own transports (pipes)."""

import asyncio
import os
import socket
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task


async def main(loop):
    r, x = os.pipe()
    os.set_blocking(r, False)
    loop.add_reader(r, lambda: None)
    await asyncio.sleep(0.01)
    os.close(r)
    c, d = socket.socketpair()
    c.setblocking(False)
    assert c.fileno() == r
    t, p = await loop.create_connection(asyncio.Protocol, sock=c)
    await asyncio.sleep(0.01)
    t.pause_reading()
    await asyncio.sleep(0.01)
    t.resume_reading()
    await asyncio.sleep(0.01)
    t.close()
    await asyncio.sleep(0.01)
    await asyncio.sleep(0.01)
    loop.remove_reader(r)


loop = new()
loop.run_until_complete(main(loop))
loop.close()
print("ok")
