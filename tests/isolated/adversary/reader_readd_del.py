"""The old file object's __del__ removes the reader inside add_reader: a watch without handle spins."""

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
import time


async def main(loop):
    a, b = socket.socketpair()
    a.setblocking(False)

    class F:
        def fileno(self):
            return a.fileno()

        def __del__(self):
            loop.remove_reader(a.fileno())

    loop.add_reader(F(), print)
    gc.collect()
    hits = []
    loop.add_reader(a.fileno(), lambda: hits.append(a.recv(10)))
    b.send(b"x")
    c0 = time.process_time()
    await asyncio.sleep(0.5)
    cpu = time.process_time() - c0
    assert hits == [b"x"] and cpu < 0.3, (hits, cpu)


loop = new()
loop.run_until_complete(main(loop))
loop.close()
print("ok")
