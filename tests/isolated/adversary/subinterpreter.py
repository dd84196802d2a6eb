"""Import, use and end in subinterpreters."""

import asyncio
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task
if STOCK or sys.version_info < (3, 12):
    print("ok (skipped)")
    raise SystemExit
try:
    import _interpreters as I
except ImportError:
    import _xxsubinterpreters as I
code = """
import asyncio, loopmod
async def main():
    loop = asyncio.get_running_loop()
    async def cl(r, w):
        w.write(await r.readline()); w.close()
    s = await asyncio.start_server(cl, "127.0.0.1", 0)
    r, w = await asyncio.open_connection(*s.sockets[0].getsockname())
    w.write(b"x\\n"); assert await r.readline() == b"x\\n"
    w.close(); s.close()
    global keep
    keep = [loop.create_future(), loop.call_later(5, print), asyncio.create_task(asyncio.sleep(3))]
    await asyncio.sleep(0.01)
loop = loopmod.new_event_loop(); loop.run_until_complete(main())
"""
for i in range(6):
    x = I.create()
    r = I.exec(x, code) if hasattr(I, "exec") else I.run_string(x, code)
    assert r is None, r
    I.destroy(x)
print("ok")
