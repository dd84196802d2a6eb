"""A task's own wake-up called from inside its step: asyncio refuses to enter."""

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
        cb = box[0]
        try:
            cb(f)
        except RuntimeError:
            pass
        else:
            raise SystemExit("entered")
        await asyncio.sleep(0.01)
        return 7

    t = loop.create_task(inner())
    box = []
    await asyncio.sleep(0)
    box.append(f._callbacks[0][0])
    f.set_result(1)
    assert await asyncio.wait_for(t, 2) == 7


loop = new()
loop.run_until_complete(main(loop))
loop.close()
print("ok")
