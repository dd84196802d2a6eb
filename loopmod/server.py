"""Server: asyncio's own class, whose semantics by version it keeps, over a register of connections in C."""

from asyncio import base_events
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
