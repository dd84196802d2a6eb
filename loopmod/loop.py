"""Loop: the C loop combined with asyncio's own selector loop, which keeps the cold paths.

What runs per event, per byte or per task is overridden in C (src/face/loop_type.c lists it). What awaits many steps
and is not hot, such as create_connection, stays asyncio's own code and so has each version's semantics; the methods
here join the two.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import socket
import sys
import weakref
from asyncio import base_events, coroutines, streams, unix_events
from collections.abc import Callable
from functools import cached_property
from typing import Any, Literal, TypeVarTuple

from . import _loopmod, names, nested, queues, sendfile, signals, subprocess, tls
from .server import Server

_Ts = TypeVarTuple("_Ts")


_JOINS = {True: 1, "step": 1, "turn": 2}


def _send_joined() -> None:
    """Before a fork: what stays queued, the child would send once more."""
    loop = asyncio._get_running_loop()
    if isinstance(loop, Loop):
        loop._send_joined()


os.register_at_fork(before=_send_joined)


@_loopmod._own_methods  # the interpreter calls them by a shorter way
class Loop(_loopmod.Loop, asyncio.SelectorEventLoop):
    """An asyncio event loop on libev. One loop belongs to one thread; see asyncio.AbstractEventLoop.

    join_writes: send what is written to a connection in one piece: True or "step" when the callback or task step that
    wrote it returns, "turn" when the loop has run what was ready, at the latest with the step in which 0.25 ms have
    passed. A server that writes head and body apart saves a system call for each answer; by turn, answers that leave
    together also wake their reader only once. Whoever asks for the state of a transport, closes it, forks or runs the
    loop meanwhile finds everything sent; an error of the socket, and `is_closing()` after it, show when it is sent
    instead of in the write. Any other value: ValueError.
    """

    # nest_asyncio takes a loop with this mark as it is; we nest by ourselves once it has marked asyncio.
    _nest_patched = True

    # What BaseEventLoop.__init__ sets, as far as C does not hold it: class attributes cost a new loop nothing.
    slow_callback_duration = 0.1
    _default_executor: concurrent.futures.ThreadPoolExecutor | None = None
    _exception_handler: Callable[..., object] | None = None
    _clock_resolution = 1e-9
    _internal_fds = 0
    _timer_cancelled_count = 0  # a cancelled timer leaves the queue at once
    _coroutine_origin_tracking_enabled = False
    _coroutine_origin_tracking_saved_depth: int | None = None
    _asyncgens_shutdown_called = False
    _executor_shutdown_called = False
    _old_agen_hooks = None
    _calls_base_init = False  # loopmod/patched.py: it is patched
    _own_names: frozenset[str] = frozenset()  # loopmod/patched.py: what stands in the place of asyncio's

    # Whether the process ever had a loop, for loopmod/notice.py.
    _was_made = False

    def __init__(self, *, join_writes: bool | Literal["step", "turn"] = False) -> None:
        if not Loop._was_made:
            Loop._was_made = True
        if self._calls_base_init:
            super().__init__(self._selector)  # type: ignore[arg-type]
        else:
            self.set_debug(coroutines._is_debug_mode())  # type: ignore[attr-defined]
        if join_writes:
            if join_writes not in _JOINS:
                raise ValueError(f"join_writes is False, True, 'step' or 'turn', not {join_writes!r}")
            self._join_writes = _JOINS[join_writes]

    @cached_property
    def _asyncgens(self) -> "weakref.WeakSet[Any]":
        return weakref.WeakSet()

    @cached_property
    def _signal_handlers(self) -> dict[int, Any]:
        return {}

    @cached_property
    def _unix_server_sockets(self) -> dict[Any, int]:
        return {}

    @cached_property
    def _transports(self) -> queues.Transports:
        return queues.Transports()

    @cached_property
    def _listeners(self) -> dict[int, _loopmod.Listener]:
        return {}

    @cached_property
    def _selector(self) -> queues.WatchView:
        return queues.WatchView(self)

    # The queues under the names of asyncio's, for those who look whether there is work or what is due, and for
    # asyncio's own code where that is patched (loopmod/patched.py). What asyncio's __init__ would put in their place
    # is not taken.

    @property
    def _ready(self) -> queues.Ready:
        return queues.Ready(self)

    @_ready.setter
    def _ready(self, value: object) -> None:
        pass

    @property
    def _scheduled(self) -> Any:
        """The timers: a list of the soonest first; the heap itself, to be changed, while asyncio's own code runs."""
        if self._is_patched:
            return queues.hold_timers(self, self._held_timers)
        return queues.Timers(sorted(self._timers, key=asyncio.TimerHandle.when))

    @_scheduled.setter
    def _scheduled(self, value: list[asyncio.TimerHandle]) -> None:
        if self._is_patched:
            self._held_timers[:] = value

    @cached_property
    def _held_timers(self) -> list[asyncio.TimerHandle]:
        return []

    @cached_property
    def _stock_timers(self) -> dict[int, _loopmod.TimerHandle]:
        """Timers of asyncio's own class that C waits for, by their id: ours in their place."""
        return {}

    def _take_back_timers(self) -> None:
        """Leave asyncio's own way: C waits again."""
        if "_held_timers" in self.__dict__:
            queues.release_timers(self, self._held_timers)

    def _timer_handle_cancelled(self, handle: Any) -> None:
        proxy = self._stock_timers.pop(id(handle), None) if "_stock_timers" in self.__dict__ else None
        if proxy is not None:
            proxy.cancel()
            handle._scheduled = False
        super()._timer_handle_cancelled(handle)  # type: ignore[misc]

    @property
    def _ssock(self) -> queues.SelfPipe:
        return queues.SelfPipe(self, is_written=False)

    @_ssock.setter
    def _ssock(self, value: object) -> None:
        pass

    @property
    def _csock(self) -> queues.SelfPipe:
        return queues.SelfPipe(self, is_written=True)

    @_csock.setter
    def _csock(self, value: object) -> None:
        pass

    def _make_self_pipe(self) -> None:
        """Do nothing: C wakes the loop by its own means."""

    def _run_patched_turn(self) -> None:
        """Run a turn as asyncio's classes have it now."""
        super(_loopmod.Loop, self)._run_once()  # type: ignore[misc]

    def _run_patched(self) -> None:
        """Run as asyncio's classes have it now."""
        super(_loopmod.Loop, self).run_forever()

    def _ask_clock(self) -> float:
        """Return the time as asyncio's classes have it now."""
        return super(_loopmod.Loop, self).time()

    if sys.version_info >= (3, 14):
        # Up to 3.13 child watchers belong to the policy.

        @cached_property
        def _watcher(self) -> Any:
            if unix_events.can_use_pidfd():
                return unix_events._PidfdChildWatcher()
            return unix_events._ThreadedChildWatcher()

    def close(self) -> None:
        """Close the loop: nothing scheduled runs any more, nothing can be scheduled.

        Raises RuntimeError while it runs. Idempotent. Implements AbstractEventLoop.close.
        """
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if not self.is_closed():
            self._close_whole()
        # Last, since it raises in another thread than the main one. What is left then, another call removes.
        if "_signal_handlers" in self.__dict__:
            signals.remove_all(self)

    def _close_whole(self) -> None:
        """Close all but the signal handlers, which only the main thread can."""
        # At the interpreter's end there is no logger any more.
        if self._debug and base_events.logger is not None:  # type: ignore[attr-defined]
            base_events.logger.debug("Close %r", self)  # type: ignore[attr-defined]
        self._close_core()
        # asyncio's sign of a closed loop, which its transports look for.
        self.__dict__["_selector"] = None
        self.__dict__.pop("_listeners", None)
        self._executor_shutdown_called = True
        executor = self._default_executor
        if executor is not None:
            self._default_executor = None
            executor.shutdown(wait=False)

    def _check_running(self) -> None:
        """Raise RuntimeError if a loop runs in this thread, unless nested runs are allowed."""
        if not nested.is_allowed():
            super()._check_running()  # type: ignore[misc]

    def _run_within(self, future: Any) -> Any:
        """Run until the future or coroutine is done: run_until_complete of a loop that runs already."""
        if self.is_closed():
            raise RuntimeError("Event loop is closed")
        self._check_running()
        is_new = not asyncio.isfuture(future)
        future = asyncio.ensure_future(future, loop=self)
        if is_new:
            future._log_destroy_pending = False
        try:
            self._run_nested(future)
        except BaseException:
            if is_new and future.done() and not future.cancelled():
                future.exception()  # the caller has no way to look at it
            raise
        return future.result()

    def _create_task_by_factory(self, coro: Any, **kwargs: Any) -> Any:
        """Call the task factory by the running version's convention, which asyncio's own method knows."""
        return base_events.BaseEventLoop.create_task(self, coro, **kwargs)

    async def getaddrinfo(
        self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> Any:
        """Look up addresses in the default executor; at once for a numeric host and port.

        Where run_in_executor is overridden, and once the default executor is shut down, it is asked for those too.
        Implements AbstractEventLoop.getaddrinfo.
        """
        if not (self._debug or self._executor_shutdown_called or self._has_own_executor()):
            found = names.look_up_numeric(host, port, family, type, proto, flags)
            if found is not None:
                return found
        return await super().getaddrinfo(host, port, family=family, type=type, proto=proto, flags=flags)

    def _has_own_executor(self) -> bool:
        method = getattr(self.run_in_executor, "__func__", None)
        return method is not base_events.BaseEventLoop.run_in_executor

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Call callback(*args) in the loop for each signal. Main thread only.

        Raises ValueError for a number that is no signal, RuntimeError for one that cannot be caught or outside the
        main thread. Implements AbstractEventLoop.add_signal_handler.
        """
        signals.add(self, sig, callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove the handler of a signal; return whether there was one. Main thread only.

        Implements AbstractEventLoop.remove_signal_handler.
        """
        return signals.remove(self, sig)

    async def _make_subprocess_transport(self, protocol: Any, *args: Any, **kwargs: Any) -> Any:
        if subprocess.has_users_watcher(self):
            return await super()._make_subprocess_transport(protocol, *args, **kwargs)  # type: ignore[misc]
        return await subprocess.make_transport(self, protocol, *args, **kwargs)

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        """Raise RuntimeError if a transport that is not closing owns the descriptor."""
        try:
            fileno = fd if isinstance(fd, int) else int(fd.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fd!r}") from None
        owner = self._watched(fileno)[2] if fileno >= 0 else None
        if owner is None and "_transports" in self.__dict__:
            owner = self._transports.get(fileno)
        # While a file is sent over a transport its descriptor is sendfile's to watch.
        is_lent = getattr(owner, "_empty_waiter", None) is not None
        if owner is not None and not owner.is_closing() and not is_lent:
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {owner!r}")

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
        self._ensure_fd_no_transport(rawsock)
        ssl_protocol = _loopmod.SSLProtocol(
            self, protocol, sslcontext, waiter, server_side, server_hostname, **timeouts
        )
        self._make_socket_transport(rawsock, ssl_protocol, extra=extra, server=server, context=context)
        return ssl_protocol._app_transport

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

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int | None) -> int:
        """Send a file over a transport by the system call; see AbstractEventLoop.sendfile.

        The transport sends what it has first and nothing of its own meanwhile, nor does it read.
        """
        if not isinstance(transp, _loopmod.SocketTransport):
            result: int = await super()._sendfile_native(transp, file, offset, count)  # type: ignore[misc]
            return result
        all_is_sent = transp._make_empty_waiter()
        resume_reading = transp.is_reading()
        transp.pause_reading()
        try:
            await all_is_sent
            return await self.sock_sendfile(transp._sock, file, offset, count, fallback=False)
        finally:
            transp._reset_empty_waiter()
            if resume_reading:
                transp.resume_reading()

    async def _sock_sendfile_native(self, sock: socket.socket, file: Any, offset: int, count: int | None) -> int:
        sent: int = await super()._sock_sendfile_native(sock, sendfile.Source(file), offset, count)  # type: ignore[misc]
        return sent

    def _sock_sendfile_update_filepos(self, *args: Any) -> None:
        with contextlib.suppress(OSError):  # closed meanwhile, it stands nowhere
            super()._sock_sendfile_update_filepos(*args)  # type: ignore[misc]

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
        tls.check_start(transport, sslcontext)
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
            tls.move_input(protocol, ssl_protocol)
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

    async def create_server(self, *args: Any, start_serving: bool = True, **kwargs: Any) -> Server:
        """Create a TCP server; see AbstractEventLoop.create_server for the arguments."""
        made = await super().create_server(*args, start_serving=False, **kwargs)
        return await self._adopt_server(made, start_serving)

    async def create_unix_server(self, *args: Any, start_serving: bool = True, **kwargs: Any) -> Server:
        """Create a server on a Unix socket; see AbstractEventLoop.create_unix_server for the arguments."""
        made = await super().create_unix_server(*args, start_serving=False, **kwargs)
        return await self._adopt_server(made, start_serving)

    async def _adopt_server(self, made: Any, start_serving: bool) -> Server:
        server = Server._adopt(made)
        if start_serving:
            server._start_serving()  # type: ignore[attr-defined]
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
    vars(Loop)[_name].__wrapped__ = getattr(asyncio.SelectorEventLoop, _name)
