"""Two threads enter run_forever of one loop at once, where a hook of a subclass lets the other in."""

import asyncio
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task

import threading

bar = threading.Barrier(2)


class L(loopmod.Loop if not STOCK else asyncio.SelectorEventLoop):
    first = 0

    def _set_coroutine_origin_tracking(self, enabled):
        if enabled and L.first < 2:
            L.first += 1
            try:
                bar.wait(2)
            except Exception:
                pass
        super()._set_coroutine_origin_tracking(enabled)


loop = L()
loop.set_debug(True)
out = []


def run():
    try:
        loop.run_forever()
        out.append("ran")
    except RuntimeError as e:
        out.append(str(e))


ts = [threading.Thread(target=run) for _ in range(2)]
[t.start() for t in ts]
import time

time.sleep(2.5)
for _ in range(20):
    loop.call_soon_threadsafe(loop.stop)
    time.sleep(0.02)
[t.join(3) for t in ts]
print(out)
assert len(out) == 2
print("ok")
