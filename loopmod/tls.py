"""TlsMixin: how connections begin TLS: those of a client, those of a server, and open ones (start_tls).

What comes after is in src/tls. Relies on the ssl module, which is imported by the first use.
"""

from asyncio import sslproto, streams
from collections.abc import Callable
from typing import Any

from . import _loopmod
from .base import BaseLoop


def check_start(transport: Any, sslcontext: Any) -> None:
    """Raise TypeError for what start_tls cannot work with."""
    ssl = sslproto.ssl  # type: ignore[attr-defined]
    if ssl is None:
        raise RuntimeError("Python ssl module is not available")
    if not isinstance(sslcontext, ssl.SSLContext):
        raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
    if not getattr(transport, "_start_tls_compatible", False):
        raise TypeError(f"transport {transport!r} is not supported by start_tls()")


def move_input(stream_protocol: Any, ssl_protocol: _loopmod.SSLProtocol) -> None:
    """Move what a StreamReader holds already to the TLS connection: it came after the point where TLS begins."""
    reader = getattr(stream_protocol, "_stream_reader", None)
    if reader is not None and reader._buffer:
        ssl_protocol._adopt_input(reader._buffer)
        reader._buffer.clear()


def server_factory(
    loop: BaseLoop,
    protocol_factory: Callable[[], Any],
    sslcontext: Any,
    ssl_handshake_timeout: float | None = None,
    ssl_shutdown_timeout: float | None = None,
) -> Callable[[], _loopmod.SSLProtocol]:
    """Return what makes the protocol of an accepted connection: TLS around one of protocol_factory's."""

    def make() -> _loopmod.SSLProtocol:
        waiter = loop.create_future()
        protocol = protocol_factory()
        made = _loopmod.SSLProtocol(
            loop,
            protocol,
            sslcontext,
            waiter,
            True,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        waiter.add_done_callback(_Accepted(loop, protocol, made._app_transport))
        return made

    return make


class _Accepted:
    """Told of the end of an accepted connection's handshake. A failed one is reported in debug mode only."""

    __slots__ = ("_loop", "_protocol", "_transport")

    def __init__(self, loop: BaseLoop, protocol: Any, transport: Any) -> None:
        self._loop = loop
        self._protocol = protocol
        self._transport = transport

    def __call__(self, waiter: Any) -> None:
        try:
            waiter.result()
        except BaseException as exc:  # reported within the clause, as asyncio does
            self._transport.close()
            if self._loop.get_debug():
                self._loop.call_exception_handler(
                    {
                        "message": "Error on transport creation for incoming connection",
                        "exception": exc,
                        "protocol": self._protocol,
                        "transport": self._transport,
                    }
                )


class TlsMixin(BaseLoop):
    """The methods of a loop that begin TLS."""

    def _make_ssl_transport(
        self,
        rawsock: Any,
        protocol: Any,
        sslcontext: Any,
        waiter: Any = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: Any = None,
        server: Any = None,
        context: Any = None,
        **timeouts: Any,
    ) -> Any:
        self._ensure_fd_no_transport(rawsock)  # type: ignore[attr-defined]
        ssl_protocol = _loopmod.SSLProtocol(
            self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts
        )
        self._make_socket_transport(rawsock, ssl_protocol, extra=extra, server=server, context=context)
        return ssl_protocol._app_transport

    async def start_tls(
        self,
        transport: Any,
        protocol: Any,
        sslcontext: Any,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> Any:
        """Begin TLS on an open connection and return the transport to go on with.

        Raises TypeError for a context or transport that cannot, and what the handshake raises; the connection is
        closed then. Implements AbstractEventLoop.start_tls.
        """
        check_start(transport, sslcontext)
        waiter = self.create_future()
        ssl_protocol = _loopmod.SSLProtocol(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            call_connection_made=False,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        # Nothing may come before connection_made has run.
        transport.pause_reading()
        if server_side and isinstance(protocol, streams.StreamReaderProtocol):
            move_input(protocol, ssl_protocol)
        transport.set_protocol(ssl_protocol)
        begin = self.call_soon(ssl_protocol.connection_made, transport)
        resume = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            begin.cancel()
            resume.cancel()
            # The exception's traceback holds this frame, and the waiter the exception.
            del waiter
            raise
        return ssl_protocol._app_transport
