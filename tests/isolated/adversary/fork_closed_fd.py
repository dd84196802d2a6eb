"""A watched descriptor closed behind the loop, then fork: libev re-registers all and aborts on EBADF in the child."""

import asyncio
import os
import socket
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task

loop = new()
a, b = socket.socketpair()
a.setblocking(False)
loop.add_reader(a.fileno(), print)
loop.call_soon(loop.stop)
loop.run_forever()
os.close(a.detach())
pid = os.fork()
if pid == 0:
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    os._exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, f"child status {status}"
loop.close()
print("ok")
