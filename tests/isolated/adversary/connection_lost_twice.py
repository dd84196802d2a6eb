"""connection_lost runs its own handle once more within a nested run: it is called once, and the loop let go of once."""

import asyncio
import gc
import socket
import sys

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
if STOCK:  # has no nested runs
    print("ok")
    raise SystemExit
loopmod.allow_nested_runs()


class P(asyncio.Protocol, asyncio.DatagramProtocol):
    calls = 0

    def connection_lost(self, exc):
        self.calls += 1
        if self.calls == 1:
            loop.run_until_complete(self.again())

    async def again(self):
        self.handle._run()


async def lose(kind):
    near, far = socket.socketpair(type=kind)
    near.setblocking(False)
    if kind == socket.SOCK_STREAM:
        transport, protocol = await loop.create_connection(P, sock=near)
    else:
        transport, protocol = await loop.create_datagram_endpoint(P, sock=near)
    transport.close()
    protocol.handle = [handle for handle in loop._ready if "onnection_lost" in repr(handle)][-1]
    await asyncio.sleep(0.01)
    assert protocol.calls == 1, protocol.calls
    assert transport.get_protocol() is None
    protocol.handle = None
    far.close()


loop = new()
before = sys.getrefcount(loop)
for _ in range(8):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        loop.run_until_complete(lose(kind))
gc.collect()
assert sys.getrefcount(loop) >= before, sys.getrefcount(loop)
loop.close()
print("ok")
