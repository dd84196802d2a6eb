"""The cold parts of TLS: checks of start_tls, and how connections of a TLS server begin. The rest is in src/tls.

Relies on the ssl module, which is imported by the first use.
"""

from asyncio import sslproto
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _loopmod

if TYPE_CHECKING:
    from .loop import Loop


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
    loop: "Loop",
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

    def __init__(self, loop: "Loop", protocol: Any, transport: Any) -> None:
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
