"""What the tests of servers share: protocols that list themselves, clients, and a process out of descriptors.

Relies on tcp_support for the recording protocol.
"""

import asyncio
import contextlib
import os
import resource
import socket
import sys

import pytest
from tcp_support import Recorder

SINCE_3_13 = pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13")


class Listed(Recorder):
    """Puts itself on the list `made` of its factory."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.made.append(self)


def listed(base=Listed):
    """A factory and the list of the protocols it made that are connected."""
    made = []
    return type("Here", (base,), {"made": made}), made


def create(*args, factory=asyncio.Protocol, **options):
    return asyncio.get_running_loop().create_server(factory, *args, **options)


async def client(server):
    """A raw non-blocking socket connected to the first socket of `server`."""
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.sockets[0].getsockname())
    return sock


def use_up_descriptors():
    """Leave this process no number for another file, by a lower limit; return the descriptors that fill it."""
    limit = max(map(int, os.listdir("/proc/self/fd"))) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    fill = []
    with contextlib.suppress(OSError):
        while True:
            fill.append(os.dup(0))
    return fill
