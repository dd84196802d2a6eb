"""SubprocessMixin: asyncio's own process transport over our loop and pipes, and how the loop learns of a child's end.

A child's end is told by its pidfd, a descriptor that the loop watches like any other: no signal handler, no thread,
no watcher shared between loops, so loops in any number of threads may start processes at once. Where the system gives
no pidfd, the loop looks after that one child by timers: a thread would keep the interpreter from ending, or
be a daemon, which subinterpreters refuse. A child watcher that the program has set (up to Python 3.13) comes first.
"""

import asyncio
import os
import posix
import signal as _signal
import sys
from asyncio import events, unix_events
from functools import cached_property
from typing import Any

from .base import BaseLoop

# asyncio keeps most of what is used here to itself.
_unix: Any = unix_events

# What a call on a pidfd raises where the system has none of it or forbids it, and where Python has not, since it was
# built with the headers of an older one.
_LACKS = (OSError, AttributeError)

# Seconds between two looks at a child without a pidfd: the first time, and at most.
_FIRST_LOOK, _LAST_LOOK = 0.001, 0.05


def has_users_watcher(loop: BaseLoop) -> bool:
    """Whether the program has chosen a child watcher, which then has to be asked.

    The two that asyncio chooses by itself do not count: they would tell the same, at best as fast.
    """
    if sys.version_info >= (3, 14):
        # The policy has none any more; what stands in its place is asyncio's own affair.
        watcher = loop.__dict__.get("_watcher")
        return type(watcher) not in (type(None), _unix._PidfdChildWatcher, _unix._ThreadedChildWatcher)
    policy: Any = events.get_event_loop_policy()
    get_watcher = getattr(type(policy), "get_child_watcher", None)
    if get_watcher is not _unix.DefaultEventLoopPolicy.get_child_watcher:
        return True
    watcher = policy._watcher
    usual = (type(None), _unix.PidfdChildWatcher, _unix.ThreadedChildWatcher)
    return type(watcher) not in usual


def _reap(pid: int, pidfd: int | None) -> int | None:
    """Reap a child and return its exit code: None where it has not ended, ChildProcessError if it is reaped already.

    A pidfd means this child for ever, its number only until somebody has reaped it: so the pidfd is asked first. What
    the program has put in the place of `os.waitpid`, say to learn of the resources used, is called as by asyncio.
    """
    if pidfd is not None:
        try:
            if os.waitpid is posix.waitpid:
                end: Any = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
                return end and int(end.si_status if end.si_code == os.CLD_EXITED else -end.si_status)
            if os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                return None
        except ChildProcessError:
            raise
        except _LACKS:
            pass
    ended, status = os.waitpid(pid, os.WNOHANG)
    return int(_unix.waitstatus_to_exitcode(status)) if ended else None


class _Transport(_unix._UnixSubprocessTransport):  # type: ignore[misc]
    """asyncio's transport of a process, which signals no process that is reaped.

    Between the reaping and `process_exited` asyncio's would signal the number, which may be somebody else's by then.
    """

    _pidfd: int | None = None  # _Child's, while it is open
    _is_reaped = False

    def send_signal(self, signal: int) -> None:
        self._check_proc()
        if self._is_reaped or self._proc.returncode is not None:
            return
        try:
            if self._pidfd is not None:
                try:
                    return _signal.pidfd_send_signal(self._pidfd, signal)
                except ProcessLookupError:
                    raise
                except _LACKS:
                    pass  # os.kill tells
            os.kill(self._pid, signal)
        except ProcessLookupError:
            pass

    def terminate(self) -> None:
        self.send_signal(_signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(_signal.SIGKILL)


class _Child:
    """Waits for the end of one child. What the loop watches keeps it alive, and with it the transport."""

    __slots__ = ("_is_over", "_loop", "_pid", "_pidfd", "_transport")

    def __init__(self, loop: BaseLoop, transport: _Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._pid: int = transport.get_pid()
        self._pidfd: int | None = None
        self._is_over = False
        try:
            self._pidfd = os.pidfd_open(self._pid)
            loop._watch_once(self._pidfd, self._look)
        except _LACKS:
            # Or no descriptor left, or nobody's child any more.
            self._close()
            loop.call_soon(self._look)
        transport._pidfd = self._pidfd

    def _close(self) -> None:
        pidfd, self._pidfd = self._pidfd, None
        self._transport._pidfd = None
        if pidfd is not None:
            os.close(pidfd)

    # A loop that is closed drops its watches.
    __del__ = _close

    def _exit_code(self) -> int | None:
        """Reap the child and return its exit code; nobody signals it any more. None where it has not ended."""
        transport = self._transport
        transport._is_reaped = True
        process = transport._proc
        if process is not None and process.returncode is not None:
            return int(process.returncode)  # Popen was faster: the transport asks it when it is closed
        try:
            code = _reap(self._pid, self._pidfd)
        except ChildProcessError:
            _unix.logger.warning(
                "child process pid %d exit status already read:  will report returncode 255", self._pid
            )
            code = 255
        if code is None:
            transport._is_reaped = False
        elif process is not None:
            process.returncode = code  # or Popen would wait for the number
        return code

    def _look(self, delay: float = _FIRST_LOOK) -> None:
        """Tell of the child's end; where it has not ended, look again after the delay, and less and less often.

        The pidfd, too, may tell of an end that is nobody's yet: a debugger is the first to have it. Where this is
        interrupted (Ctrl-C), the loop calls it again in its next run.
        """
        if self._is_over:
            return
        try:
            code = self._exit_code()
        except Exception:
            self._is_over = True
            self._close()
            raise
        if code is None:
            self._loop.call_later(delay, self._look, min(2 * delay, _LAST_LOOK))
            return
        self._close()
        self._is_over = True
        self._loop._child_watcher_callback(self._pid, code, self._transport)  # type: ignore[attr-defined]


async def make_transport(loop: BaseLoop, protocol: Any, *args: Any, **kwargs: Any) -> Any:
    """Start a process and return its transport once its pipes are connected."""
    waiter = loop.create_future()
    transport = _Transport(loop, protocol, *args, waiter=waiter, **kwargs)
    try:
        _Child(loop, transport)
    except BaseException:
        transport.close()  # nobody would be told of the end
        raise
    try:
        await waiter
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException:
        transport.close()
        await asyncio.shield(transport._wait())
        raise
    return transport


class SubprocessMixin(BaseLoop):
    """The methods of a loop by which asyncio starts processes."""

    if sys.version_info >= (3, 14):
        # Up to 3.13 child watchers belong to the policy.

        @cached_property
        def _watcher(self) -> Any:
            if unix_events.can_use_pidfd():
                return unix_events._PidfdChildWatcher()
            return unix_events._ThreadedChildWatcher()

    async def _make_subprocess_transport(self, protocol: Any, *args: Any, **kwargs: Any) -> Any:
        if has_users_watcher(self):
            return await super()._make_subprocess_transport(protocol, *args, **kwargs)  # type: ignore[misc]
        return await make_transport(self, protocol, *args, **kwargs)
