"""An item's __buffer__ empties the list that writelines() was given, on a plain and on a TLS transport."""

import asyncio
import gc
import socket
import ssl
import sys

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
pieces = []


class Empties(bytes):
    def __buffer__(self, flags):
        pieces.clear()
        gc.collect()
        self.junk = [bytearray(64) for _ in range(1000)]
        return memoryview(b"y" * 40)


async def main():
    near, far = socket.socketpair()
    far.setblocking(False)
    _, writer = await asyncio.open_connection(sock=near)
    for _ in range(100):
        pieces[:] = [Empties(b"x" * 10), b"abc"]
        writer.transport.writelines(pieces)
    assert far.recv(1 << 20) == b"y" * 4000
    writer.close()
    far.close()


def write_tls():
    from loopmod import _loopmod

    context = ssl.create_default_context()
    loop = new()
    protocol = _loopmod.SSLProtocol(loop, asyncio.Protocol(), context, None, False, "localhost")
    transport = protocol._app_transport
    protocol.connection_made(Below())  # so that what is written waits for the handshake
    for _ in range(100):
        pieces[:] = [Empties(b"x" * 10), b"abc"]
        transport.writelines(pieces)
    assert transport.get_write_buffer_size() == 4000
    transport.abort()
    loop.close()


class Below:
    def write(self, data):
        pass

    def _force_close(self, exc):
        pass


if sys.version_info >= (3, 12):  # a class in Python has buffers
    loop = new()
    loop.run_until_complete(main())
    loop.close()
    if not STOCK:
        write_tls()
print("ok")
