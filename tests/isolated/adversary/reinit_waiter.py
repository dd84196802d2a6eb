"""__init__ called anew: a callback's __del__ adds a callback, which is then left without context and taken for a task."""

import asyncio
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task
if sys.version_info >= (3, 15):
    print("ok")
    raise SystemExit
loop = new()
f = loop.create_future()
got = []


class D:
    def __call__(self, fut):
        pass

    def __del__(self):
        f.add_done_callback(got.append)


f.add_done_callback(D())
f.__init__(loop=loop)
f._callbacks
f.set_result(1)
loop.call_later(0.01, loop.stop)
loop.run_forever()
loop.close()
assert got in ([], [f]), got
print("ok")
