"""JoinedSocket: the socket of a transport whose writes are joined, as get_extra_info("socket") shows it.

What is done by it finds the transport's bytes sent: each of asyncio's methods goes through `_sock`, which sends
them first. Who asks for the number or a copy may send by that whenever he likes, so from then on nothing is joined.
Relies on the names of asyncio's TransportSocket and on `_settle` of our transports.
"""

import socket
import weakref
from asyncio import trsock
from typing import Any

_slot: Any = trsock.TransportSocket._sock  # type: ignore[attr-defined]


class JoinedSocket(trsock.TransportSocket):
    """A TransportSocket that has its transport send what it joined before anything else."""

    __slots__ = ("_transport",)

    def __init__(self, sock: socket.socket, transport: Any) -> None:
        _slot.__set__(self, sock)
        self._transport = weakref.ref(transport)

    def _settle(self, is_exposed: bool) -> None:
        transport = self._transport()
        if transport is not None:
            transport._settle(is_exposed)

    @property
    def _sock(self) -> Any:
        self._settle(False)
        return _slot.__get__(self)

    def __repr__(self) -> str:
        return repr(trsock.TransportSocket(self._sock))  # whose fileno() is nobody's to send by

    def fileno(self) -> int:
        """Return the number, by which anybody may send: nothing is joined from now on."""
        self._settle(True)
        return super().fileno()

    def dup(self) -> socket.socket:
        """Return a copy of the socket: nothing is joined from now on."""
        self._settle(True)
        return super().dup()
