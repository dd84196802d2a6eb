"""FutureIter.throw(type, value) with a metaclass whose __instancecheck__ raises: called on with an exception set."""

import asyncio
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task

import warnings

warnings.simplefilter("ignore")


class M(type):
    def __instancecheck__(cls, o):
        raise ZeroDivisionError("meta")


class E(Exception, metaclass=M):
    pass


loop = new()
f = loop.create_future()
it = f.__await__()
next(it)
try:
    it.throw(E, 5)
except SystemError as e:
    print("SystemError", e)
    raise SystemExit(1)
except Exception as e:
    print(type(e), e)
loop.close()
print("ok")
