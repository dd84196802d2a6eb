"""SocketsMixin: a loop's operations on sockets, as the coroutine functions that asyncio's are, and its look-ups.

Each awaits one C object that makes the call and waits for the socket (src/net/sockops.c). Names of hosts are looked
up by asyncio's own code, in its executor; what is an address already, by loopmod/resolver.py.
"""

import socket
from asyncio import base_events
from typing import Any

from . import resolver
from .base import BaseLoop


class SocketsMixin(BaseLoop):
    """The methods of a loop that work on sockets."""

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """Look up addresses: at once for a numeric host and port, names in threads that do nothing else.

        asyncio's way, the default executor, is gone where that was set by the program or is shut down, where
        run_in_executor is overridden, in debug mode, and where no thread can be started.
        Implements AbstractEventLoop.getaddrinfo.
        """
        if not (self._debug or self._executor_shutdown_called or self._has_own_executor()):
            found = resolver.look_up_numeric(host, port, family, type, proto, flags)
            if found is not None:
                return found
            if not self._has_programs_executor():
                future = resolver.ask(self, host, port, family, type, proto, flags)
                if future is not None:
                    return resolver.answer(await future)
        return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)

    def _has_own_executor(self) -> bool:
        method = getattr(self.run_in_executor, "__func__", None)
        return method is not base_events.BaseEventLoop.run_in_executor

    def _has_programs_executor(self) -> bool:
        """Whether the default executor is the program's: asyncio's own has its threads named like this."""
        executor = self._default_executor
        return executor is not None and getattr(executor, "_thread_name_prefix", None) != "asyncio"

    async def sock_recv(self, sock: socket.socket, n: int) -> bytes:
        """Receive up to n bytes; b"" at the end of the stream. Implements AbstractEventLoop.sock_recv."""
        return await self._start_recv(sock, n)

    async def sock_recv_into(self, sock: socket.socket, buf: Any) -> int:
        """Receive into a buffer; return the number of bytes. Implements AbstractEventLoop.sock_recv_into."""
        return await self._start_recv_into(sock, buf)

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive a datagram; return it and its sender. Implements AbstractEventLoop.sock_recvfrom."""
        return await self._start_recvfrom(sock, bufsize)

    async def sock_recvfrom_into(self, sock: socket.socket, buf: Any, nbytes: int = 0) -> tuple[int, Any]:
        """Receive a datagram into a buffer; return the number of bytes and the sender.

        nbytes: the most to receive, by default as much as the buffer holds.
        Implements AbstractEventLoop.sock_recvfrom_into.
        """
        return await self._start_recvfrom_into(sock, buf, nbytes)

    async def sock_sendall(self, sock: socket.socket, data: Any) -> None:
        """Send all of the data. After an error nobody knows how much was sent.

        Implements AbstractEventLoop.sock_sendall.
        """
        return await self._start_sendall(sock, data)

    async def sock_sendto(self, sock: socket.socket, data: Any, address: Any) -> int:
        """Send a datagram to an address; return the number of bytes. Implements AbstractEventLoop.sock_sendto."""
        return await self._start_sendto(sock, data, address)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to an address, whose host may be a name. Implements AbstractEventLoop.sock_connect."""
        base_events._check_ssl_socket(sock)  # type: ignore[attr-defined]
        if self._debug and sock.gettimeout() != 0:
            raise ValueError("the socket must be non-blocking")
        if sock.family == socket.AF_INET or (base_events._HAS_IPv6 and sock.family == socket.AF_INET6):  # type: ignore[attr-defined]
            resolved = await self._ensure_resolved(  # type: ignore[attr-defined]
                address, family=sock.family, type=sock.type, proto=sock.proto, loop=self
            )
            address = resolved[0][4]
        return await self._start_connect(sock, address)

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection; return its non-blocking socket and the peer's address.

        Implements AbstractEventLoop.sock_accept.
        """
        return await self._start_accept(sock)
