"""Out of descriptors when the poll is opened: libev retries its wake-up pipe for ever."""

import asyncio
import os
import signal
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task

import resource

signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.alarm(5)


def free():
    return [os.dup(0) for _ in range(20)]


hold = free()
top = max(hold)
[os.close(f) for f in hold]
bad = 0
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
for left in range(5):
    base = os.dup(0)
    os.close(base)
    resource.setrlimit(resource.RLIMIT_NOFILE, (base + left, hard))
    try:
        loop = new()
        try:
            loop.call_later(0.001, loop.stop)
            loop.run_forever()
            print(left, "ran")
        finally:
            loop.close()
    except OSError as e:
        print(left, e)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print("ok")
