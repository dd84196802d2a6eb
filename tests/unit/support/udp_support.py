"""What the datagram tests share: a protocol that records its calls, and sockets for the other end.

The other end mostly is a raw non-blocking socket, so that a test alone decides what the peer does. Relies on
`loop.sock_*` for that end.
"""

import asyncio
import socket
import sys

from tcp_support import Record, turns

# Empty datagrams are sent, and count in the buffer, from 3.13 on.
SENDS_EMPTY = sys.version_info >= (3, 13)


class Datagrams(Record, asyncio.DatagramProtocol):
    """Notes each call in `events`, data in `received` (as pairs) and exceptions in `exceptions`."""

    def __init__(self):
        super().__init__()
        self.received = []
        self.exceptions = []

    async def until_received(self, count):
        """Return the data of the first datagrams once there are that many."""
        await self.until(lambda: len(self.received) >= count)
        return [data for data, _ in self.received]

    async def until_failed(self, count=1):
        await self.until(lambda: len(self.exceptions) >= count)
        return self.exceptions[-1]

    def datagram_received(self, data, addr):
        self.received.append((data, addr))
        self.note("data")

    def error_received(self, exc):
        self.exceptions.append(exc)
        self.note("error")

    def connection_lost(self, exc):
        self.note("lost")
        self.lost.set_result(exc)


class Acts(Datagrams):
    """Calls `act` with itself at one of the datagrams."""

    at = 3
    act = None

    def datagram_received(self, data, addr):
        super().datagram_received(data, addr)
        if len(self.received) == self.at and self.act is not None:
            self.act()


def udp_socket(family=socket.AF_INET, host=None):
    """A raw bound non-blocking socket on loopback."""
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((host or ("127.0.0.1" if family == socket.AF_INET else "::1"), 0))
    sock.setblocking(False)
    return sock


async def endpoint(factory=Datagrams, **kwargs):
    """A transport on an unconnected loopback socket, unless the arguments say otherwise, and its protocol."""
    if not kwargs:
        kwargs = {"local_addr": ("127.0.0.1", 0)}
    return await asyncio.get_running_loop().create_datagram_endpoint(factory, **kwargs)


async def close(*things):
    """Close transports, waiting for their ends, and sockets."""
    for thing in things:
        thing.close()
        if isinstance(thing, asyncio.BaseTransport):
            await turns()
