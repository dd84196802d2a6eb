"""SignalsMixin: add_signal_handler and remove_signal_handler. What runs per signal is in C (src/os/signals.c)."""

import errno
import os
import signal
import sys
import warnings
import weakref
from asyncio import coroutines
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVarTuple

from ._support import is_coroutine_function
from .base import BaseLoop

_Ts = TypeVarTuple("_Ts")

_taken: "weakref.WeakSet[SignalsMixin]" = weakref.WeakSet()


def _leave_parents_pipe() -> None:
    """In a forked child: its signals would reach the parent's loop. asyncio does the same from 3.12 on."""
    if any(loop._signal_handlers for loop in _taken):
        signal.set_wakeup_fd(-1)


if sys.version_info < (3, 12):
    os.register_at_fork(after_in_child=_leave_parents_pipe)


def _noop(signum: int, frame: object) -> None:
    """The Python-level handler: its being there makes the interpreter write to the wakeup descriptor."""


def add(loop: "SignalsMixin", sig: int, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
    """Implement AbstractEventLoop.add_signal_handler; main thread only."""
    if coroutines.iscoroutine(callback) or is_coroutine_function(callback):
        raise TypeError("coroutines cannot be used with add_signal_handler()")
    loop._check_signal(sig)  # type: ignore[attr-defined]
    loop._check_closed()  # type: ignore[attr-defined]
    try:
        loop._watch_signals()
    except (ValueError, OSError) as exc:
        raise RuntimeError(str(exc)) from None
    _taken.add(loop)
    loop._signal_handlers[sig] = loop._make_handle(callback, *args)
    try:
        signal.signal(sig, _noop)
        # Restart interrupted system calls: fewer EINTR for everyone else.
        signal.siginterrupt(sig, False)
    except OSError as exc:
        del loop._signal_handlers[sig]
        if not loop._signal_handlers:
            loop._unwatch_signals()
        if exc.errno == errno.EINVAL:
            raise RuntimeError(f"sig {sig} cannot be caught") from None
        raise


def remove(loop: "SignalsMixin", sig: int) -> bool:
    """Implement AbstractEventLoop.remove_signal_handler; main thread only."""
    loop._check_signal(sig)  # type: ignore[attr-defined]
    if loop._signal_handlers.pop(sig, None) is None:
        return False
    try:
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
    except OSError as exc:
        if exc.errno == errno.EINVAL:
            raise RuntimeError(f"sig {sig} cannot be caught") from None
        raise
    finally:
        if not loop._signal_handlers:
            loop._unwatch_signals()
    return True


def remove_all(loop: "SignalsMixin") -> None:
    """Remove every handler of a loop that is being closed."""
    if not sys.is_finalizing():
        for sig in list(loop._signal_handlers):
            remove(loop, sig)
    elif loop._signal_handlers:
        warnings.warn(
            f"Closing the loop {loop!r} on interpreter shutdown stage, skipping signal handlers removal",
            ResourceWarning,
            stacklevel=2,
            source=loop,
        )
        loop._signal_handlers.clear()


class SignalsMixin(BaseLoop):
    """The methods of a loop that take signals."""

    @cached_property
    def _signal_handlers(self) -> dict[int, Any]:
        return {}

    def add_signal_handler(self, sig: int, callback: Callable[[*_Ts], object], *args: *_Ts) -> None:
        """Call callback(*args) in the loop for each signal. Main thread only.

        Raises ValueError for a number that is no signal, RuntimeError for one that cannot be caught or outside the
        main thread. Implements AbstractEventLoop.add_signal_handler.
        """
        add(self, sig, callback, args)

    def remove_signal_handler(self, sig: int) -> bool:
        """Remove the handler of a signal; return whether there was one. Main thread only.

        Implements AbstractEventLoop.remove_signal_handler.
        """
        return remove(self, sig)
