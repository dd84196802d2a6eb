"""Another task's wake-up called from inside a step: asyncio refuses to enter; the current task must stay."""

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
    f = loop.create_future()

    async def inner():
        await f

    t = loop.create_task(inner())
    await asyncio.sleep(0)
    cb = f._callbacks[0][0]
    f.cancel if 0 else None
    me = asyncio.current_task()
    try:
        cb(f)
    except Exception as e:
        print(repr(e)[:60])
    assert asyncio.current_task() is me, asyncio.current_task()
    if not f.done():
        f.set_result(1)
    await asyncio.sleep(0)


loop = new()
loop.run_until_complete(main(loop))
loop.close()
print("ok")
