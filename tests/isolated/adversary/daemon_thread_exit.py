"""The interpreter ends while a daemon thread runs a loop."""

import asyncio
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task

import subprocess

code = """
import asyncio, threading, sys, random, time
%s
def run():
    loop = new(); asyncio.set_event_loop(loop)
    def tick(): loop.call_later(0.0005, tick)
    tick()
    async def busy():
        while True: await asyncio.sleep(0)
    if len(sys.argv) > 1 and int(sys.argv[1]) %% 2: loop.create_task(busy())
    loop.run_forever()
ts = [threading.Thread(target=run, daemon=True) for _ in range(2)]
[t.start() for t in ts]
time.sleep(0.02 + random.random() * 0.02)
""" % ("new = asyncio.new_event_loop" if STOCK else "import loopmod; new = loopmod.new_event_loop")
for i in range(30):
    r = subprocess.run([sys.executable, "-c", code, str(i)], capture_output=True, timeout=30)
    assert r.returncode == 0, (i, r.returncode, r.stderr[-2000:])
print("ok")
