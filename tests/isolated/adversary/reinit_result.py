"""__init__ called anew on a done future: the result's __del__ asks result() while value is NULL and state FINISHED."""

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


class D:
    def __del__(self):
        try:
            print(f.result())
        except BaseException as e:
            print(type(e))


f.set_result(D())
f.__init__(loop=loop)
loop.close()
print("ok")
