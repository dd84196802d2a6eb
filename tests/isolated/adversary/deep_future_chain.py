"""A long chain of done futures, each the result of the next, freed at once."""

import asyncio
import os
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task

loop = new()
n = int(os.environ.get("N", "1000000"))
f = loop.create_future()
f.set_result(None)
for _ in range(n):
    g = loop.create_future()
    g.set_result(f)
    f = g
del g, f
loop.close()
print("ok")
