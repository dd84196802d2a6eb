"""Subprocesses: asyncio's own process transport over our loop and pipes, and how the loop learns of a child's end.

A child's end is told by its pidfd, a descriptor that the loop watches like any other: no signal handler, no thread,
no watcher shared between loops, so loops in any number of threads may start processes at once. Where the system gives
no pidfd, a thread waits for that one child. A child watcher that the program has set (up to Python 3.13) comes first.
"""

import asyncio
import os
import sys
import threading
from asyncio import events, unix_events
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .loop import Loop

# asyncio keeps most of what is used here to itself.
_unix: Any = unix_events


def has_users_watcher(loop: "Loop") -> bool:
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


def _exit_code(pid: int, transport: Any) -> int:
    """Reap a child that has ended and return its exit code."""
    try:
        status = os.waitpid(pid, 0)[1]
    except ChildProcessError:
        process = transport._proc
        if process is not None and process.returncode is not None:
            return int(process.returncode)  # Popen was faster: the transport asks it when it is closed
        _unix.logger.warning("child process pid %d exit status already read:  will report returncode 255", pid)
        return 255
    return int(_unix.waitstatus_to_exitcode(status))


class _Child:
    """Waits for the end of one child. The loop's watch of the pidfd keeps it alive, and with it the transport."""

    __slots__ = ("_loop", "_pid", "_pidfd", "_transport")

    def __init__(self, loop: "Loop", transport: Any) -> None:
        self._loop = loop
        self._transport = transport
        self._pid: int = transport.get_pid()
        self._pidfd: int | None = None
        try:
            self._pidfd = os.pidfd_open(self._pid)
            loop._add_reader(self._pidfd, self._on_end)
        except OSError:
            # No such call, forbidden, no descriptor left, or nobody's child any more.
            self._close()
            threading.Thread(target=self._wait, name=f"loopmod-waitpid-{self._pid}", daemon=True).start()

    def _close(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None

    # A loop that is closed drops its watches.
    __del__ = _close

    def _on_end(self) -> None:
        if self._pidfd is not None:
            self._loop._remove_reader(self._pidfd)
            self._close()
        code = _exit_code(self._pid, self._transport)
        self._loop._child_watcher_callback(self._pid, code, self._transport)  # type: ignore[attr-defined]

    def _wait(self) -> None:
        """Wait in a thread; the loop's thread reaps, so that its pid stays the child's until it knows."""
        try:
            os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            pass
        try:
            self._loop.call_soon_threadsafe(self._on_end)
        except RuntimeError:
            _exit_code(self._pid, self._transport)
            _unix.logger.warning("Loop %r that handles pid %r is closed", self._loop, self._pid)


async def make_transport(loop: "Loop", protocol: Any, *args: Any, **kwargs: Any) -> Any:
    """Start a process and return its transport once its pipes are connected."""
    waiter = loop.create_future()
    transport = _unix._UnixSubprocessTransport(loop, protocol, *args, waiter=waiter, **kwargs)
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
