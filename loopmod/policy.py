"""What makes loops: factories, a policy and `run`. Relies on asyncio's own policy class where Python has one."""

import asyncio
import sys
import threading
import warnings
from asyncio import events, unix_events
from collections.abc import Coroutine
from typing import Any, TypeVar

from . import ending, nested
from .loop import Loop

_T = TypeVar("_T")

# Public name up to 3.13; underscored, for the same class, from 3.14; gone in 3.16.
_asyncio_policy: Any = getattr(unix_events, "_UnixDefaultEventLoopPolicy", None) or getattr(
    unix_events, "DefaultEventLoopPolicy", None
)
_set_policy: Any = getattr(events, "_set_event_loop_policy", None) or getattr(events, "set_event_loop_policy", None)


class _NoPolicy:
    """What EventLoopPolicy is based on where there are no policies."""

    def __init__(self) -> None:
        raise RuntimeError(
            "this Python has no event loop policies: use loopmod.run(main()), "
            "asyncio.run(main(), loop_factory=loopmod.new_event_loop) or python -m loopmod"
        )


_Policy: Any = _asyncio_policy or _NoPolicy


def new_event_loop() -> Loop:
    """Return a new loop: the factory for `asyncio.Runner(loop_factory=...)` and its like."""
    return Loop()


def new_server_loop() -> Loop:
    """Return a new loop that joins the writes of a turn, `Loop(join_writes="turn")`: a factory for servers."""
    return Loop(join_writes="turn")


class EventLoopPolicy(_Policy):  # type: ignore[misc]
    """asyncio's default policy, with loops of ours. Raises RuntimeError where Python has no policies (3.16)."""

    _loop_factory = Loop

    if sys.version_info >= (3, 14):
        # Up to 3.13 the default policy makes the main thread's first loop by itself.

        def get_event_loop(self) -> Any:
            """Return the thread's loop; make one in the main thread if none was ever set.

            Raises RuntimeError where there is none. asyncio's own policy makes none from 3.14 on: programs written
            in the older spelling go on working on ours.
            """
            local = self._local
            if local._loop is None and not getattr(local, "_set_called", False):
                if threading.current_thread() is threading.main_thread():
                    self.set_event_loop(self.new_event_loop())
            return super().get_event_loop()

        def set_event_loop(self, loop: Any) -> None:
            """Set the thread's loop; None for no loop."""
            self._local._set_called = True
            super().set_event_loop(loop)


# The policy that install_policy() set, and the one before it (None where none was made yet).
_installed: tuple[Any, Any] | None = None


def install_policy() -> None:
    """Set the event loop policy; the `uvloop.install` of loopmod/stand_in.py."""
    global _installed
    policy = EventLoopPolicy()
    before = _current_policy()
    if _installed is not None and before is _installed[0]:
        before = _installed[1]
    _put_policy(policy)
    _installed = policy, before


def uninstall_policy() -> None:
    """Set the policy that was there before, unless somebody has set another one since then. Idempotent."""
    global _installed
    if _installed is not None:
        policy, before = _installed
        _installed = None
        if _current_policy() is policy:
            _put_policy(before)


def has_policies() -> bool:
    """Return whether this Python has policies."""
    return _set_policy is not None


def is_derived() -> bool:
    """Return whether the policy in use is somebody's own, made from asyncio's default."""
    current = _current_policy()
    return has_policies() and isinstance(current, _asyncio_policy) and not isinstance(current, EventLoopPolicy)


def reach_defaults() -> None:
    """Let asyncio's default loop be ours: for policies derived from its own, and by the name EventLoop (3.13)."""
    if has_policies():
        _asyncio_policy._loop_factory = Loop
    for module in (asyncio, unix_events):
        if hasattr(module, "EventLoop"):
            vars(module)["EventLoop"] = Loop


def _current_policy() -> Any:
    """Return the policy, or None where none was set or asked for yet: asking makes one."""
    return getattr(events, "_event_loop_policy", None)


def _put_policy(policy: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        _set_policy(policy)


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run the coroutine on a new loop and return its result, as `asyncio.run` does.

    debug: whether the loop is in debug mode; by default as the interpreter is. Raises RuntimeError inside a
    running loop.
    """
    if events._get_running_loop() is not None:
        if nested.is_allowed():
            return asyncio.run(main)
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with ending.ended(asyncio.Runner(debug=debug, loop_factory=new_event_loop), new_event_loop) as runner:
        return runner.run(main)
