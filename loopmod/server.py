"""Server, and ServersMixin, by which a loop makes servers and has them accept.

Both keep asyncio's semantics by version, since they are its own code: over a register of connections and listeners
in C (src/net/server.c, src/net/listener.c).
"""

import asyncio
import weakref
from asyncio import base_events
from collections.abc import Callable
from functools import cached_property
from typing import Any

from . import _loopmod, tls
from ._loopmod import ServerCore
from .base import BaseLoop


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


class ServersMixin(BaseLoop):
    """The methods of a loop that make servers and have them accept."""

    @cached_property
    def _listeners(self) -> dict[int, _loopmod.Listener]:
        return {}

    async def create_server(self, *args: Any, start_serving: bool = True, **kwargs: Any) -> Server:
        """Create a TCP server; see AbstractEventLoop.create_server for the arguments."""
        made = await super().create_server(*args, start_serving=False, **kwargs)
        return await self._adopt_server(made, start_serving, kwargs.get("sock") is not None)

    async def create_unix_server(self, *args: Any, start_serving: bool = True, **kwargs: Any) -> Server:
        """Create a server on a Unix socket; see AbstractEventLoop.create_unix_server for the arguments."""
        made = await super().create_unix_server(*args, start_serving=False, **kwargs)
        return await self._adopt_server(made, start_serving, kwargs.get("sock") is not None)

    async def _adopt_server(self, made: Any, start_serving: bool, is_users: bool) -> Server:
        server = Server._adopt(made)
        if start_serving:
            try:
                server._start_serving()  # type: ignore[attr-defined]
            except BaseException:
                if not is_users:
                    # Nobody else can: a Unix one's socket is held by a table of the loop's.
                    server.close()
                raise
            # A turn, so that the server accepts when the caller goes on.
            await asyncio.sleep(0)
        return server

    def _start_serving(
        self,
        protocol_factory: Callable[[], Any],
        sock: Any,
        sslcontext: Any = None,
        server: Any = None,
        backlog: int = 100,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        context = kwargs.pop("context", None)
        if sslcontext is not None:
            protocol_factory = tls.server_factory(self, protocol_factory, sslcontext, *args, **kwargs)
        # By the socket, which may be closed by others: its number is somebody else's then. The listener keeps it.
        former = self._listeners.pop(id(sock), None)
        if former is not None:
            former.close()
        self._listeners[id(sock)] = self._start_serving_native(protocol_factory, sock, server, backlog, context)

    def _stop_serving(self, sock: Any) -> None:
        listener = self._listeners.pop(id(sock), None)
        if listener is not None:
            listener.close()
        super()._stop_serving(sock)  # type: ignore[misc]


# inspect.signature() shows the running version's own.
for _name in ("create_server", "create_unix_server"):
    vars(ServersMixin)[_name].__wrapped__ = getattr(asyncio.SelectorEventLoop, _name)
