"""The handle of a fault, kept by the exception handler and run once the transport is gone: its loop was used."""

import asyncio
import os
import socket
import sys

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop


class P(asyncio.Protocol):
    lost = 0

    def data_received(self, data):
        raise ValueError

    def datagram_received(self, data, addr):
        raise ValueError

    def eof_received(self):
        raise SystemError

    def connection_lost(self, exc):
        P.lost += 1


async def make_pipe(loop):
    r, w = os.pipe()
    transport, _ = await loop.connect_read_pipe(P, os.fdopen(r, "rb", 0))
    os.write(w, b"x")
    return transport, lambda: os.close(w)


async def make_datagrams(loop):
    transport, _ = await loop.create_datagram_endpoint(P, local_addr=("127.0.0.1", 0))
    peer = socket.socket(type=socket.SOCK_DGRAM)
    peer.sendto(b"x", transport.get_extra_info("sockname"))
    return transport, peer.close


async def main(loop):
    handles = []
    loop.set_exception_handler(lambda loop, context: handles.append(context.get("handle")))
    for make in (make_pipe, make_datagrams):
        transport, close_peer = await make(loop)
        while not handles:
            await asyncio.sleep(0)
        transport.close()
        before = P.lost
        while P.lost == before:
            await asyncio.sleep(0)
        kept, handles[:] = handles[:], []
        for handle in kept:
            handle._run()
        # asyncio has cancelled it and says that there is no callback; ours does nothing.
        handles.clear()
        close_peer()


loop = new()
loop.run_until_complete(main(loop))
loop.close()
assert P.lost == 2, P.lost
print("ok")
