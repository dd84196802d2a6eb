"""A dup keeps a closed descriptor in the epoll set; libev rebuilds the set and aborts on another closed one (no fork)."""

import asyncio
import os
import socket
import sys

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop

loop = new()


def turn(n=5):
    for _ in range(n):
        loop.call_later(0.002, loop.stop)
        loop.run_forever()


a, b = socket.socketpair()
c, d = socket.socketpair()
for s in (a, b, c, d):
    s.setblocking(False)
loop.add_reader(c.fileno(), print)  # will be closed silently
loop.add_reader(a.fileno(), lambda: None)
turn()
keep = os.dup(a.fileno())  # the description lives on
os.close(c.detach())  # the kernel forgets it, libev does not
loop.remove_reader(a.fileno())
os.close(a.detach())
b.send(b"x")  # epoll reports the dead registration
turn()
loop.close()
print("ok")
