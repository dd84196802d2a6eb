"""The buffer that get_buffer() gave ends the transport when it is released."""

import asyncio
import socket
import sys

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
log = []


class Buffer:
    def __init__(self, transport):
        self.transport = transport
        self.bytes = bytearray(100)

    def __len__(self):
        return 100

    def __buffer__(self, flags):
        return memoryview(self.bytes)

    def __release_buffer__(self, view):
        self.transport.abort()
        for handle in list(loop._ready):
            if "connection_lost" in repr(handle):
                handle._run()


class P(asyncio.BufferedProtocol):
    def connection_made(self, transport):
        self.transport = transport

    def get_buffer(self, hint):
        return Buffer(self.transport)

    def buffer_updated(self, count):
        log.append(count)

    def connection_lost(self, exc):
        log.append("lost")


async def main(send):
    near, far = socket.socketpair()
    near.setblocking(False)
    await loop.create_connection(P, sock=near)
    if send:
        far.send(b"hello")
    far.close()  # then: the end of the stream
    while "lost" not in log:
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    # From 3.15 on all calls of a protocol run in one context, which is entered here: the handle fails, on asyncio too.
    assert log == ([5, "lost"] if send and sys.version_info >= (3, 15) else ["lost"]), log
    log.clear()


if sys.version_info >= (3, 12):  # a class in Python has buffers
    loop = new()
    loop.set_exception_handler(lambda loop, context: None)
    loop.run_until_complete(main(True))
    loop.run_until_complete(main(False))
    loop.close()
print("ok")
