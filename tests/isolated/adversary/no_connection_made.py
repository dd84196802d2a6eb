"""A protocol without connection_made: the server's count of connections is never taken back, wait_closed hangs."""

import asyncio
import gc
import socket
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task


async def main(loop):
    class P:
        pass

    s = await loop.create_server(P, "127.0.0.1", 0)
    c = socket.create_connection(s.sockets[0].getsockname())
    await asyncio.sleep(0.1)
    gc.collect()
    c.close()
    s.close()
    import warnings

    warnings.simplefilter("ignore")
    await asyncio.wait_for(s.wait_closed(), 3)


loop = new()
loop.run_until_complete(main(loop))
loop.close()
print("ok")
