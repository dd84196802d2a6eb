"""The old file object's __del__ closes the (idle) loop inside add_reader: entry freed under lm_readers_add."""

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

loop = new()
a, b = socket.socketpair()
a.setblocking(False)


class F:
    def fileno(self):
        return a.fileno()

    def __del__(self):
        loop.close()


loop.add_reader(F(), print)
gc.collect()
try:
    loop.add_reader(a.fileno(), print)
except RuntimeError as e:
    print(e)
loop.close()
print("ok")
