"""What the C core leaves to Python because it is cold: reprs, debug mode, logging. Relies on asyncio's helpers, so
that texts are the running version's own, and on its logger where asyncio has it, so that who replaces that sees
ours."""

import sys
import traceback
import types
import warnings
from asyncio import (
    base_events,
    base_futures,
    base_tasks,
    coroutines,
    format_helpers,
    futures,
    selector_events,
    sslproto,
    streams,
    tasks,
    unix_events,
)
from typing import Any


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


def _run_once() -> float:
    """Return the switch interval; be Python code, at whose beginning the interpreter does what it was asked to.

    The loop calls it now and then between two items (src/core/switch.h). Signal handlers that run there find it in
    their frame: by this name it is asyncio's place for them.
    """
    return sys.getswitchinterval()


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


# The public name warns from 3.14 on.
is_coroutine_function: Any = getattr(coroutines, "_iscoroutinefunction", None) or coroutines.iscoroutinefunction


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


def joined_socket(sock: Any, transport: Any) -> Any:
    """Return what is shown for the socket of a transport whose writes are joined."""
    from .joined import JoinedSocket

    return JoinedSocket(sock, transport)


set_nodelay = base_events._set_nodelay  # type: ignore[attr-defined]


wake_waiter = futures._set_result_unless_cancelled  # type: ignore[attr-defined]


def log_dropped_tls_write() -> None:
    """Log a write to a TLS connection that is closed."""
    sslproto.logger.warning("SSL connection is closed")  # type: ignore[attr-defined]


def log_eof_ignored() -> None:
    """Log that a protocol wants a half-open connection, which TLS does not offer."""
    sslproto.logger.warning("returning true from eof_received() has no effect when using ssl")  # type: ignore[attr-defined]


def log_handshake(protocol: Any, seconds: float) -> None:
    """Log, in debug mode, how long a handshake took."""
    sslproto.logger.debug("%r: SSL handshake took %.1f ms", protocol, seconds * 1e3)  # type: ignore[attr-defined]


def default_ssl_context(server_side: bool, server_hostname: str | None) -> Any:
    """Return the context that asyncio uses where ssl=True; ValueError on the server's side."""
    return sslproto._create_transport_context(server_side, server_hostname)


future_repr = base_futures._future_repr  # type: ignore[attr-defined]
task_repr = base_tasks._task_repr
task_get_stack = base_tasks._task_get_stack
task_print_stack = base_tasks._task_print_stack


# What the C core does in place of these methods, told by all the names that their code has. `_eof` stands in an
# assert, which -O leaves out.
_STREAM_METHODS = (
    ("data_received", {"_stream_reader", "feed_data"}),
    (
        "feed_data",
        {
            "_buffer",
            "_limit",
            "_paused",
            "_transport",
            "_wakeup_waiter",
            "NotImplementedError",
            "extend",
            "len",
            "pause_reading",
        },
    ),
    ("_wakeup_waiter", {"_waiter", "cancelled", "set_result"}),
    ("_stream_reader", {"_stream_reader_wr"}),
)
# A class attribute of such a name may change what an instance's attribute is.
_STREAM_FIELDS = frozenset(
    (
        "_stream_reader_wr",
        "_buffer",
        "_eof",
        "_limit",
        "_paused",
        "_transport",
        "_waiter",
        "__getattribute__",
        "__getattr__",
        "__setattr__",
        "__delattr__",
    )
)


def stock_stream_methods(protocol: type, reader: type) -> tuple[Any, ...] | None:
    """Return (function, its code, ...) of what feeds a StreamReader, or None where it is not all asyncio's own."""
    found: list[Any] = []
    for cls, (name, names) in zip((protocol, reader, reader, protocol), _STREAM_METHODS, strict=True):
        function: Any = vars(cls).get(name)
        if type(function) is property:
            function = function.fget
        code: Any = getattr(function, "__code__", None)
        if (
            type(function) is not types.FunctionType
            or function.__globals__ is not vars(streams)
            or code.co_qualname != f"{cls.__qualname__}.{name}"
            or set(code.co_names) - {"_eof"} != names
        ):
            return None
        found += function, code
    bases = (base for cls in (protocol, reader) for base in cls.__mro__[:-1])
    return tuple(found) if all(_STREAM_FIELDS.isdisjoint(vars(base)) for base in bases) else None


async def _specimen_coroutine() -> None:
    """What a task is made of that only shows where tasks keep things."""


class _SpecimenLoop:
    """The little that a stdlib task and future ask of a loop."""

    def get_debug(self) -> bool:
        return False

    def call_soon(self, *args: Any, **kwargs: Any) -> None:
        pass


def finished_future(cls: type) -> Any:
    """Return a stdlib future whose result is None."""
    future: Any = cls(loop=_SpecimenLoop())
    future.set_result(None)
    return future


def mirror_specimen(add_to_awaited_by: Any) -> tuple[Any, Any, Any, Any]:
    """Return a pending stdlib task, its coroutine and name, and a future said to be awaited by it (3.14+)."""
    loop: Any = _SpecimenLoop()
    coroutine = _specimen_coroutine()
    name = "specimen of loopmod"
    task: Any = tasks.Task(coroutine, loop=loop, name=name)
    task._log_destroy_pending = False
    future = futures.Future(loop=loop)  # type: ignore[var-annotated]
    add_to_awaited_by(future, task)
    coroutine.close()
    return task, coroutine, name, future


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
