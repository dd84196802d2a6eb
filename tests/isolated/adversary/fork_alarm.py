"""After fork the child's inherited loop shares the parent's timerfd: the two disturb each other's deadlines."""

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

import time

loop = new()
loop.call_later(0.01, loop.stop)
loop.run_forever()
pid = os.fork()
if pid == 0:
    # The child waits for moments of its own on the loop it inherited, a while longer than the parent.
    worst = 0
    for _ in range(30):
        t0 = time.monotonic()
        h = loop.call_later(0.03, loop.stop)
        loop.run_forever()
        worst = max(worst, time.monotonic() - t0)
    os._exit(1 if worst > 1 else 0)
signal.alarm(20)
end = time.monotonic() + 0.6
# The parent: short waits, so that it takes the child's expirations too.
while time.monotonic() < end:
    loop.call_later(0.007, loop.stop)
    loop.run_forever()
t0 = time.monotonic()
for _ in range(300):
    p, status = os.waitpid(pid, os.WNOHANG)
    if p:
        break
    time.sleep(0.01)
else:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    status = "hangs"
loop.close()
assert status == 0, status
print("ok")
