"""A run nested in the making of a transport ends it: the loop, gone, was used, and a descriptor closed twice."""

import asyncio
import gc
import os
import socket
import sys

import loopmod
from loopmod import nested

kept = []
numbers = []
lost = 0


def end(transport, looks):
    """Until its connection_lost; then take the lowest free number, which a second close would hit."""
    if looks:
        kept.append(transport.get_extra_info("socket"))
    transport.abort()
    before = lost

    async def until_lost():
        while lost == before:
            await asyncio.sleep(0)

    loop.run_until_complete(until_lost())
    numbers.append(os.dup(0))


class Protocol(asyncio.Protocol):
    def connection_lost(self, exc):
        global lost
        lost += 1


class EndsAtMade(Protocol):
    @property
    def connection_made(self):
        end(kept[-1], looks=False)
        return lambda transport: None


class Server:
    def __init__(self, attach):
        self._attach = attach

    def _detach(self, *transports):
        pass


def ends(transport):
    end(transport, looks=False)


def looks_and_ends(transport):
    end(transport, looks=True)


def ends_and_raises(transport):
    end(transport, looks=True)
    raise ValueError("refused")


async def accept(factory, attach):
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    before = lost
    loop._start_serving(factory, listener, server=Server(attach))
    with socket.create_connection(listener.getsockname()) as peer:
        peer.setblocking(False)
        assert await loop.sock_recv(peer, 1) == b""
    loop._stop_serving(listener)
    assert lost == before + 1, lost
    os.fstat(numbers[-1])


async def make(attach):
    near, far = socket.socketpair()
    near.setblocking(False)
    try:
        loop._make_socket_transport(near, Protocol(), server=Server(attach))
    except (RuntimeError, ValueError):
        pass
    near.close()
    far.close()
    os.fstat(numbers[-1])


async def main():
    for attach in (ends, looks_and_ends, ends_and_raises):
        await accept(Protocol, attach)
        await make(attach)
        gc.collect()
    await accept(EndsAtMade, kept.append)


if sys.version_info >= (3, 13):  # before, a server is not told the transport
    nested.allow_nested_runs()
    loop = loopmod.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    kept.clear()
    gc.collect()
    for number in numbers:
        os.close(number)
print("ok")
