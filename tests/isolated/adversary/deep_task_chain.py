"""A long chain of tasks each awaiting the next, all dropped at once."""

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

n = int(os.environ.get("N", "100000"))


async def w(t):
    await t


async def main(loop):
    f = loop.create_future()
    t = f
    for i in range(n):
        t = loop.create_task(w(t))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return f


loop = new()
loop.set_exception_handler(lambda l, c: None)
f = loop.run_until_complete(main(loop))
loop.close()
print("closed", flush=True)
del f
gc.collect()
print("ok")
