"""A long chain of handles, each an argument of the next, freed at once."""

import asyncio
import gc
import os
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task

n = int(os.environ.get("N", "1000000"))
loop = new()
h = None
for _ in range(n):
    g = loop.call_soon(print, h)
    h = g
h = None
g = None
loop.close()
gc.collect()
print("ok")
