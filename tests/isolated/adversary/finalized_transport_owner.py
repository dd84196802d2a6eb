"""A transport finalized by the collector and resurrected, then closed: owners[-1] is written."""

import asyncio
import gc
import socket
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task

kept = []


class P(asyncio.Protocol):
    lost = 0

    def connection_made(self, t):
        self.t = t
        t.pause_reading()

    def connection_lost(self, exc):
        P.lost += 1

    def __del__(self):
        kept.append(self)


async def main(loop):
    a, b = socket.socketpair()
    a.setblocking(False)
    p = P()
    t, _ = await loop.create_connection(lambda: p, sock=a)
    await asyncio.sleep(0.01)
    import warnings

    warnings.simplefilter("ignore")
    del p, t, _, a
    await asyncio.sleep(0.01)
    gc.collect()
    assert kept, "not collected"
    t = kept[0].t
    t.write(b"x")
    t.resume_reading()
    t.close()
    await asyncio.sleep(0.05)
    assert P.lost == 1, P.lost


loop = new()
loop.run_until_complete(main(loop))
loop.close()
print("ok")
