"""A Task subclass whose __hash__ raises: the failed registration is undone in dealloc and reported on a dying object."""

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


class T(Task):
    def __hash__(self):
        raise ZeroDivisionError("hash")


async def c():
    pass


loop = new()
loop.set_exception_handler(lambda l, c: None)
for _ in range(20):
    co = c()
    try:
        t = T(co, loop=loop)
        t = None
    except ZeroDivisionError:
        pass
    co.close()
    gc.collect()
for _ in range(3):
    loop.call_soon(loop.stop)
    loop.run_forever()
loop.close()
gc.collect()
print("ok")
