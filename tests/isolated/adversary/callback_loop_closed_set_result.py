"""set_result with several waiters on a closed loop; the rest of the state stays sane."""

import asyncio
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task
loop = new()
f = loop.create_future()


async def c():
    await f


t = loop.create_task(c())
loop.call_soon(loop.stop)
loop.run_forever()
f.add_done_callback(print)
f.add_done_callback(repr)
loop.close()
try:
    f.set_result(1)
except RuntimeError as e:
    print(e)
assert f.done() and f.result() == 1
try:
    t.cancel()
except RuntimeError as e:
    print(e)
t._log_destroy_pending = False
try:
    f.add_done_callback(print)
except RuntimeError as e:
    print(e)
print("ok")
