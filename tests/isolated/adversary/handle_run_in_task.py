"""handle._run() inside a task empties current_task()."""

import asyncio
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task


async def main(loop):
    h = loop.call_soon(lambda: None)
    me = asyncio.current_task()
    h._run()
    assert asyncio.current_task() is me, asyncio.current_task()
    async with asyncio.timeout(1):
        pass


loop = new()
loop.run_until_complete(main(loop))
loop.close()
print("ok")
