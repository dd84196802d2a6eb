"""A reader's descriptor is closed without remove_reader, its number goes to a transport that closes: libev aborts (no fork, no dup)."""

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
    loop.add_reader(a.fileno(), lambda: None)
    await asyncio.sleep(0.01)
    n = a.fileno()
    a.close()
    c, d = socket.socketpair()
    c.setblocking(False)
    assert c.fileno() == n
    try:
        t, p = await loop.create_connection(asyncio.Protocol, sock=c)
    except OSError as e:
        print(e)
        return
    await asyncio.sleep(0.01)
    try:
        t.write(bytes(10_000_000))  # both directions are watched
    except OSError:
        t.abort()
        return print("refused")
    await asyncio.sleep(0.01)
    t.abort()
    for _ in range(5):
        await asyncio.sleep(0.005)


loop = new()
loop.run_until_complete(main(loop))
loop.close()
print("ok")
