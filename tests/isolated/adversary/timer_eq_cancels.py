"""TimerHandle.__eq__ compares callbacks it does not hold: an __eq__ that cancels both frees them."""

import asyncio
import gc
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task

loop = new()


class C:
    def __init__(self):
        self.x = bytearray(100)

    def __call__(self):
        pass

    def __eq__(self, other):
        h1.cancel()
        h2.cancel()
        gc.collect()
        return NotImplemented

    __hash__ = None


h1 = loop.call_at(5e9, C())
h2 = loop.call_at(5e9, C())
for _ in range(50):
    h1 = loop.call_at(5e9, C())
    h2 = loop.call_at(5e9, C())
    h1 == h2
loop.close()
print("ok")
