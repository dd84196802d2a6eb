"""Exit with loops, tasks, servers, transports alive, closed or not."""

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
import asyncio, sys, socket
%s
class Keep: pass
k = Keep(); sys.k = k
loop = new(); k.loop = loop
class P(asyncio.Protocol):
    def connection_made(self, t): self.t = t
    def __del__(self):
        try: self.t.write(b"x"); self.t.close()
        except Exception: pass
async def forever():
    try: await asyncio.sleep(1000)
    finally:
        try: loop.call_soon(print); loop.create_future()
        except Exception: pass
async def main():
    s = await loop.create_server(P, "127.0.0.1", 0)
    k.s = s; k.c = [await loop.create_connection(P, *s.sockets[0].getsockname()) for _ in range(3)]
    k.t = [loop.create_task(forever()) for _ in range(5)]
    k.f = loop.create_future(); k.f.set_exception(ValueError())
    k.h = loop.call_later(1, print, k)
    a, b = socket.socketpair(); k.ab = a, b
    loop.add_reader(a, print, k, loop)
    loop.add_signal_handler(15, print)
    await asyncio.sleep(0.01)
loop.run_until_complete(main())
if len(sys.argv) > 1:
    if sys.argv[1] == "1": loop.close()
    if sys.argv[1] == "2": sys.k = None; del k
    if sys.argv[1] == "3":
        class Z:
            def __del__(self): loop.close()
        sys.z = Z()
""" % ("new = asyncio.new_event_loop" if STOCK else "import loopmod; new = loopmod.new_event_loop")
for i in "0123":
    r = subprocess.run([sys.executable, "-c", code, i], capture_output=True, timeout=30)
    assert r.returncode == 0, (i, r.returncode, r.stderr[-2000:])
print("ok")
