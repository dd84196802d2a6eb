"""Transport whose descriptor was closed behind: after connection_lost it must not be kept by the loop."""

import asyncio
import gc
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
import weakref


async def main(loop):
    a, b = socket.socketpair()
    a.setblocking(False)
    t, p = await loop.create_connection(asyncio.Protocol, sock=a)
    t.pause_reading()
    t.resume_reading()
    os.close(a.detach())
    await asyncio.sleep(0.02)
    t.abort()
    await asyncio.sleep(0.02)
    w = weakref.ref(t)
    del t, p
    await asyncio.sleep(0.02)
    gc.collect()
    assert w() is None, gc.get_referrers(w())
    b.close()


loop = new()
loop.run_until_complete(main(loop))
loop.close()
print("ok")
