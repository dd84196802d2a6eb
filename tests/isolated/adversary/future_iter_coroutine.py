"""A future's iterator taken for a coroutine: resumed after its end it fails without an exception."""

import asyncio
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task
import collections.abc

loop = new()
f = loop.create_future()
f.set_result(1)
it = f.__await__()
collections.abc.Coroutine.register(type(it))
it.close()
loop.set_exception_handler(lambda l, c: print(c))
t = Task(it, loop=loop)
loop.call_later(0.05, loop.stop)
loop.run_forever()
print(t)
loop.close()
print("ok")
