"""Loop: the public class, made of the C loop, asyncio's selector loop and a mixin for each concern.

What runs per event, per byte or per task is overridden in C (src/face/loop_type.c lists it). What awaits many steps
and is not hot, such as create_connection, stays asyncio's own code and so has each version's semantics; the methods
here and in the mixins join the two. Here is what concerns the loop as a whole: how it is made, run and closed.
"""

import asyncio
import os
from asyncio import base_events, coroutines
from typing import Any, Literal, TypeVar

from . import _loopmod, gil, nested, signals
from .selector import SelectorMixin
from .sendfile import SendfileMixin
from .server import ServersMixin
from .signals import SignalsMixin
from .sockets import SocketsMixin
from .subprocess import SubprocessMixin
from .tls import TlsMixin

_LoopT = TypeVar("_LoopT", bound=type)

_JOINS = {True: 1, "step": 1, "turn": 2}


def _send_joined() -> None:
    """Before a fork: what stays queued, the child would send once more."""
    loop = asyncio._get_running_loop()
    if isinstance(loop, Loop):
        loop._send_joined()


os.register_at_fork(before=_send_joined)


def _own_all(loop_class: _LoopT) -> _LoopT:
    """Give the class what its mixins define: in its own dict patches are looked for and made way for (patched.py)."""
    for mixin in loop_class.__mro__[1 : loop_class.__mro__.index(_loopmod.Loop)]:
        for name, value in vars(mixin).items():
            if not name.startswith("__") and name not in vars(loop_class):
                setattr(loop_class, name, value)
    return loop_class


@_loopmod._own_methods  # the interpreter calls them by a shorter way
@_own_all
class Loop(SelectorMixin, SocketsMixin, SendfileMixin, TlsMixin, ServersMixin, SubprocessMixin, SignalsMixin):
    """An asyncio event loop on libev. One loop belongs to one thread; see asyncio.AbstractEventLoop.

    join_writes: send what is written to a connection in one piece: True or "step" when the callback or task step that
    wrote it returns, "turn" when the loop has run what was ready, at the latest with the step in which 0.25 ms have
    passed. A server that writes head and body apart saves a system call for each answer; by turn, answers that leave
    together also wake their reader only once. Datagrams are sent, and received, many at a time. Whoever asks for the
    state of a transport, closes it, forks or runs the loop meanwhile finds everything sent; an error of the socket,
    and `is_closing()` after it, show when it is sent instead of in the write. Any other value: ValueError.

    timer_slack: seconds, from 0 to 1 (ValueError), by which timers may be late where they come so thick that waiting
    for each costs more than all else: while three or more are due within it, wait after wait, they are taken
    together, in their order. Others are exact, none is early. None: 0.0002. 0: each timer has a wait of its own.

    lookup_threads: how many names may be looked up at a time, from 0 to 1000 (ValueError), each by a thread in C that
    does nothing else and ends when it is idle; more wait. None: 8. 0: by the default executor, as in asyncio.
    """

    # nest_asyncio takes a loop with this mark as it is; we nest by ourselves once it has marked asyncio.
    _nest_patched = True

    # Whether the process ever had a loop, for loopmod/notice.py.
    _was_made = False

    def __init__(
        self,
        *,
        join_writes: bool | Literal["step", "turn"] = False,
        timer_slack: float | None = None,
        lookup_threads: int | None = None,
    ) -> None:
        if not Loop._was_made:
            Loop._was_made = True
        if gil.is_watched:
            gil.look()
        if self._calls_base_init:
            super().__init__(self._selector)  # type: ignore[arg-type]
        else:
            self.set_debug(coroutines._is_debug_mode())  # type: ignore[attr-defined]
        if join_writes:
            if join_writes not in _JOINS:
                raise ValueError(f"join_writes is False, True, 'step' or 'turn', not {join_writes!r}")
            self._join_writes = _JOINS[join_writes]
        if timer_slack is not None:
            self._timer_slack = timer_slack
        if lookup_threads is not None:
            self._lookup_threads = lookup_threads

    def _run_patched_turn(self) -> None:
        """Run a turn as asyncio's classes have it now."""
        super(_loopmod.Loop, self)._run_once()  # type: ignore[misc]

    def _run_patched(self) -> None:
        """Run as asyncio's classes have it now."""
        super(_loopmod.Loop, self).run_forever()

    def _ask_clock(self) -> float:
        """Return the time as asyncio's classes have it now."""
        return super(_loopmod.Loop, self).time()

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

    def _create_task_by_factory(self, *args: Any, **kwargs: Any) -> Any:
        """Call the task factory by the running version's convention, which asyncio's own method knows."""
        return base_events.BaseEventLoop.create_task(self, *args, **kwargs)
