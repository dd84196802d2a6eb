"""Server: asyncio's own class, whose semantics by version it keeps, over a register of connections in C."""

import weakref
from asyncio import base_events
from functools import cached_property
from typing import Any

from ._loopmod import ServerCore


class Server(ServerCore, base_events.Server):
    """A set of listening sockets and the connections they accepted. Made by the loop's create_* methods."""

    @classmethod
    def _adopt(cls, made: base_events.Server) -> "Server":
        """Take over the sockets and settings of a server that does not serve yet."""
        server = cls.__new__(cls)
        fields: dict[str, Any] = vars(made)
        vars(server).update(
            {name: value for name, value in fields.items() if name not in ("_clients", "_active_count")}
        )
        return server

    @cached_property
    def _others(self) -> "weakref.WeakSet[Any]":
        """Transports of asyncio's own classes, where those are patched: C counts them, and knows no more of them."""
        return weakref.WeakSet()

    def _attach(self, transport: Any = None) -> None:
        super()._attach(transport)
        if transport is not None:
            self._others.add(transport)

    def _detach(self, transport: Any = None) -> None:
        if "_others" in self.__dict__:
            self._others.discard(transport)
        super()._detach(transport)

    @property
    def _clients(self) -> set[Any]:
        clients = super()._clients
        return clients.union(self._others) if "_others" in self.__dict__ else clients

    @_clients.setter
    def _clients(self, value: object) -> None:
        pass
