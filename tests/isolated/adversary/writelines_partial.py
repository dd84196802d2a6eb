"""writelines with a bad piece leaves the good ones queued with no writer: later writes hang."""

import asyncio
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
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    t, p = await loop.create_connection(asyncio.Protocol, sock=a)
    try:
        t.writelines([b"bad", 5])
    except TypeError:
        pass
    else:
        raise SystemExit("no TypeError")
    size = t.get_write_buffer_size()
    t.write(b"good")
    got = await asyncio.wait_for(loop.sock_recv(b, 100), 3)
    t.abort()
    b.close()
    assert (size, got) == (0, b"good"), (size, got)


loop = new()
loop.run_until_complete(main(loop))
loop.close()
print("ok")
