"""What the C core calls of Python by name (lm_state_support, src/base/state.h), because it is cold.

In this order: helpers of asyncio's and of ours, debug mode, reports and warnings, logs. Relies on asyncio's helpers,
so that texts are the running version's own, and on its logger where asyncio has it, so that who replaces that sees
ours.
The C core imports this module while it is imported itself: nothing that this one imports may rely on the C core.
"""

import sys
import traceback
import warnings
from asyncio import (
    base_events,
    base_futures,
    base_tasks,
    coroutines,
    format_helpers,
    selector_events,
    sslproto,
    tasks,
    unix_events,
)
from typing import Any

from .eager_factory import add_factory_frames as add_factory_frames
from .eager_factory import stock_eager_factory as stock_eager_factory
from .specimens import finished_future as finished_future
from .specimens import mirror_specimen as mirror_specimen
from .stream_methods import stock_stream_methods as stock_stream_methods
from .sync_methods import coroutine_marks as coroutine_marks
from .sync_methods import judge_sync_class as judge_sync_class
from .sync_methods import note_sync_types as note_sync_types
from .sync_methods import register_coroutine as register_coroutine
from .sync_methods import semaphore_loops as semaphore_loops
from .sync_methods import sync_state as sync_state

# Helpers.

future_repr = base_futures._future_repr  # type: ignore[attr-defined]
task_repr = base_tasks._task_repr
task_get_stack = base_tasks._task_get_stack
task_print_stack = base_tasks._task_print_stack
set_nodelay = base_events._set_nodelay  # type: ignore[attr-defined]
# The public name warns from 3.14 on.
is_coroutine_function: Any = getattr(coroutines, "_iscoroutinefunction", None) or coroutines.iscoroutinefunction


def default_ssl_context(server_side: bool, server_hostname: str | None) -> Any:
    """Return the context that asyncio uses where ssl=True; ValueError on the server's side."""
    return sslproto._create_transport_context(server_side, server_hostname)


def joined_socket(sock: Any, transport: Any) -> Any:
    """Return what is shown for the socket of a transport whose writes are joined."""
    from .joined import JoinedSocket

    return JoinedSocket(sock, transport)


def _run_once() -> float:
    """Return the switch interval; be Python code, at whose beginning the interpreter does what it was asked to.

    The loop calls it now and then between two items (src/core/switch.h). Signal handlers that run there find it in
    their frame: by this name it is asyncio's place for them.
    """
    return sys.getswitchinterval()


# Debug mode.


def source_traceback(is_whole: bool) -> Any:
    """Return the stack of the running Python code, as debug mode keeps it.

    For a handle that is the innermost frames, for a future or task (is_whole) all of them with their lines, which
    can so be shown at the interpreter's end, when nothing can be read any more.
    """
    try:
        frame = sys._getframe(1)
    except ValueError:
        return traceback.StackSummary()
    stack = traceback.extract_stack(frame) if is_whole else format_helpers.extract_stack(frame)
    if launcher is not None:
        _drop_launcher(stack)
    return stack


# The file that runs the program under `python -m loopmod`; it and what called it are none of the program's stack.
launcher: str | None = None


def _drop_launcher(stack: traceback.StackSummary) -> None:
    for index in range(len(stack) - 1, -1, -1):
        if stack[index].filename == launcher:
            del stack[: index + 1]
            return


def check_callback(callback: Any, method: str) -> None:
    """Raise TypeError, as debug mode does, for a coroutine function or what cannot be called."""
    if coroutines.iscoroutine(callback) or is_coroutine_function(callback):
        raise TypeError(f"coroutines cannot be used with {method}()")
    if not callable(callback):
        raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")


def log_slow(item: Any, seconds: float) -> None:
    """Log a callback or task step that took longer than loop.slow_callback_duration."""
    if isinstance(item, tasks.Task) or not hasattr(item, "_callback"):
        text = repr(item)
    else:
        text = base_events._format_handle(item)  # type: ignore[attr-defined]
    base_events.logger.warning("Executing %s took %.3f seconds", text, seconds)  # type: ignore[attr-defined]


# Reports and warnings.


def _describe_callback(loop: Any, handle: Any) -> str:
    describe = format_helpers._format_callback_source
    if sys.version_info >= (3, 13):
        return str(describe(handle._callback, handle._args, debug=loop.get_debug()))
    return str(describe(handle._callback, handle._args))


def report_callback_fault(loop: Any, handle: Any, exc: BaseException) -> None:
    """Hand the exception of a callback to the loop's exception handler."""
    context = {
        "message": f"Exception in callback {_describe_callback(loop, handle)}",
        "exception": exc,
        "handle": handle,
    }
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    loop.call_exception_handler(context)


# Transports of ours by name, and asyncio's of the same kind.
_STOCK: dict[str, Any] = {
    "SocketTransport": selector_events._SelectorSocketTransport,  # type: ignore[attr-defined]
    "DatagramTransport": selector_events._SelectorDatagramTransport,  # type: ignore[attr-defined]
    "ReadPipeTransport": unix_events._UnixReadPipeTransport,  # type: ignore[attr-defined]
    "WritePipeTransport": unix_events._UnixWritePipeTransport,  # type: ignore[attr-defined]
    "SSLTransport": sslproto._SSLProtocolTransport,
}


def warn_unclosed(transport: Any) -> None:
    """Warn that a transport was dropped without being closed: as asyncio, by the name of its class, in its place.

    Filters of warnings go by the text and by the module.
    """
    name = type(transport).__name__
    stock = _STOCK[name]
    text = repr(transport).replace(name, stock.__name__, 1)
    if stock is sslproto._SSLProtocolTransport:
        text = "<asyncio._SSLProtocolTransport object>"
    place = stock.__del__.__code__
    module = vars(sys.modules[stock.__module__])
    warnings.warn_explicit(
        f"unclosed transport {text}",
        ResourceWarning,
        place.co_filename,
        place.co_firstlineno,
        stock.__module__,
        module.setdefault("__warningregistry__", {}),
        source=transport,
    )


# Logs.


def log_debug(item: Any, text: str) -> None:
    """Log a transport's event, in debug mode."""
    base_events.logger.debug("%r %s", item, text)  # type: ignore[attr-defined]


def log_info(item: Any, text: str) -> None:
    """Log what became of a pipe, in debug mode."""
    unix_events.logger.info("%r %s", item, text)  # type: ignore[attr-defined]


def log_transport_error(transport: Any, message: str, exc: BaseException) -> None:
    """Log, in debug mode, an OSError that closed a transport."""
    base_events.logger.debug("%r: %s", transport, message, exc_info=exc)  # type: ignore[attr-defined]


def log_dropped_write() -> None:
    """Log a write to a transport whose connection is lost."""
    base_events.logger.warning("socket.send() raised exception.")  # type: ignore[attr-defined]


def log_dropped_pipe_write() -> None:
    """Log a write to a pipe that is closed or whose other end is."""
    unix_events.logger.warning(  # type: ignore[attr-defined]
        "pipe closed by peer or os.write(pipe, data) raised exception."
    )


def log_dropped_tls_write() -> None:
    """Log a write to a TLS connection that is closed."""
    sslproto.logger.warning("SSL connection is closed")  # type: ignore[attr-defined]


def log_eof_ignored() -> None:
    """Log that a protocol wants a half-open connection, which TLS does not offer."""
    sslproto.logger.warning("returning true from eof_received() has no effect when using ssl")  # type: ignore[attr-defined]


def log_handshake(protocol: Any, seconds: float) -> None:
    """Log, in debug mode, how long a handshake took."""
    sslproto.logger.debug("%r: SSL handshake took %.1f ms", protocol, seconds * 1e3)  # type: ignore[attr-defined]
