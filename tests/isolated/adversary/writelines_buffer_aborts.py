"""An item of writelines() whose buffer aborts the transport: what was queued after it was watched beyond the end."""

import asyncio
import socket
import sys

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop


class P(asyncio.Protocol):
    def __init__(self, lost):
        self.lost = lost

    def connection_lost(self, exc):
        self.lost.set_result(exc)


class Aborts:
    def __init__(self, transport):
        self.transport = transport

    def __buffer__(self, flags):
        self.transport.abort()
        return memoryview(b"abort")


async def main(loop):
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    lost = loop.create_future()
    transport, _ = await loop.create_connection(lambda: P(lost), sock=a)
    transport.writelines([Aborts(transport), b"x" * 1000000])
    assert transport.is_closing()
    await lost
    # The number of its descriptor is another's now.
    pairs = [socket.socketpair() for _ in range(5)]
    for left, right in pairs:
        right.setblocking(False)
        _, writer = await asyncio.open_connection(sock=right)
        writer.write(b"x")
        assert left.recv(1) == b"x"
        writer.close()
        await writer.wait_closed()
        left.close()
    b.close()


if sys.version_info >= (3, 12):  # a class in Python has buffers
    loop = new()
    loop.run_until_complete(main(loop))
    loop.close()
print("ok")
