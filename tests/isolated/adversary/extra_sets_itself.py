"""What is behind get_extra_info is set anew by the mapping that was given, or by what it holds."""

import asyncio
import gc
import socket
import sys

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop


class Mapping:
    def __init__(self, transport):
        self.transport = transport

    def keys(self):
        self.transport._extra = {}
        return Keys()

    def __getitem__(self, name):
        return 1


class Keys:
    def __iter__(self):
        gc.collect()
        self.junk = [bytearray(48) for _ in range(2000)]
        return iter(["a", "b"])


class Deletes(dict):
    """Let go of, it takes away what replaced it."""

    def __init__(self, transport):
        self.transport = transport

    def __del__(self):
        del self.transport._extra


class Peer:
    """The truth of an endpoint's peer, which takes away the dict that it stands in."""

    def __bool__(self):
        for found in gc.get_objects():
            if type(found).__name__ == "DatagramTransport":
                found._extra = {}
                gc.collect()
        return False


async def main():
    near, far = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=near)
    transport = writer.transport
    for make in (Mapping, Deletes):
        for _ in range(50):
            transport._extra = make(transport)
            for name in ("socket", "no such", object()):
                try:
                    transport.get_extra_info(name)
                except (TypeError, AttributeError):
                    pass
            try:
                transport._extra
            except AttributeError:
                pass
    transport._extra = {}
    writer.close()
    far.close()


def endpoint(loop):
    near, far = socket.socketpair(type=socket.SOCK_DGRAM)
    near.setblocking(False)
    made = loop._make_datagram_transport(near, asyncio.DatagramProtocol(), extra={"peername": Peer()})
    made.abort()
    far.close()


loop = new()
loop.run_until_complete(main())
if not STOCK:
    endpoint(loop)
loop.run_until_complete(asyncio.sleep(0))
loop.close()
print("ok")
