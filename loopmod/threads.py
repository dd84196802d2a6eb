"""run_threads: a loop in each of several threads, whose mains end together. Relies on asyncio.Runner in each thread.

What a thread and the caller share is a few attributes, each written by one of the two, and the socket that wakes the
caller; nothing is locked, so that a signal handler may come at any moment. A thread's loop and its main task are
touched by that thread alone: the caller asks by `call_soon_threadsafe`.
"""

import asyncio
import contextvars
import functools
import operator
import os
import signal
import socket
import threading
from asyncio import events
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from typing import Any, Generic, TypeVar, TypeVarTuple

from . import ending
from .policy import new_event_loop

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_MESSAGE = "unhandled errors in the threads of run_threads"


class _Member(Generic[_T]):
    """One of the threads: it makes its loop, runs its main task to the end and closes the loop."""

    error: BaseException | None = None
    result: _T

    def __init__(
        self,
        number: int,
        make_main: Callable[[], Coroutine[Any, Any, _T]],
        make_runner: Callable[[], AbstractContextManager[asyncio.Runner]],
        wake: Callable[[], None],
    ) -> None:
        self._make_main, self._make_runner, self._wake = make_main, make_runner, wake
        run = contextvars.copy_context().run
        self._thread = threading.Thread(target=run, args=(self._run,), name=f"loopmod-{number}", daemon=False)
        # Written by the caller: how often it has asked for the end. The thread notes what it has obeyed.
        self._asked = self._obeyed = 0
        # Written by the thread. The task is there before the loop, by which the caller reaches it.
        self._task: asyncio.Task[_T] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._was_cancelled = self._has_ended = False

    def start(self) -> None:
        self._thread.start()

    def is_running(self) -> bool:
        return not self._has_ended and self._thread.is_alive()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join()

    def cancel(self, times: int) -> None:
        """Have the main task cancelled, if that was not asked for as often before. For the caller's thread."""
        if self._asked < times:
            self._asked = times
            loop = self._loop
            if loop is not None:
                with suppress(RuntimeError):  # it was closed meanwhile
                    loop.call_soon_threadsafe(self._obey)

    def _obey(self) -> None:
        if self._obeyed < self._asked and self._task is not None:
            self._obeyed = self._asked
            self._was_cancelled |= self._task.cancel()

    def _run(self) -> None:
        try:
            if not self._asked:
                self.result = self._run_main()
        except asyncio.CancelledError as exc:
            if not self._was_cancelled:
                self.error = exc
        except BaseException as exc:
            self.error = exc
        finally:
            self._task = self._loop = None
            self._has_ended = True
            self._wake()

    def _run_main(self) -> _T:
        with self._make_runner() as runner:
            loop = runner.get_loop()
            self._task = task = loop.create_task(self._make_main())
            self._loop = loop
            self._obey()  # what was asked while the caller could not reach the loop
            return loop.run_until_complete(task)


class _Team(Generic[_T]):
    """The threads of one call, and what the caller's thread does meanwhile."""

    def __init__(
        self,
        count: int,
        make_main: Callable[[], Coroutine[Any, Any, _T]],
        make_runner: Callable[[], AbstractContextManager[asyncio.Runner]],
    ) -> None:
        # Waiting for a lock would not notice a signal that comes just before it blocks.
        self._ear, self._bell = socket.socketpair()
        self._ear.setblocking(True)
        self._bell.setblocking(False)
        self._members = [_Member(number, make_main, make_runner, self._wake) for number in range(count)]
        # How often the caller's thread was told to end, and what it raises for that.
        self._interrupts = 0
        self._interrupt: BaseException | None = None

    def run(self) -> list[_T]:
        """Run the threads to their end. Returns the results, or raises what went wrong."""
        with self._ear, self._bell, _signals_taken(self._bell.fileno(), self._on_sigint):
            try:
                for member in self._members:
                    if self._interrupt is None:
                        member.start()
            except BaseException as exc:  # there can be no more threads
                self._interrupt_by(exc)
            while True:
                try:
                    self._wait()
                    break
                except BaseException as exc:  # a signal handler raised
                    self._interrupt_by(exc)
        return self._outcome()

    def _on_sigint(self, number: int, frame: object) -> None:
        """Take Ctrl-C. It raises nothing, so that it comes in nowhere between."""
        self._interrupt_by(KeyboardInterrupt())

    def _wake(self) -> None:
        with suppress(OSError):  # it is rung already, or nobody waits any more
            self._bell.send(b"\0")

    def _interrupt_by(self, exc: BaseException) -> None:
        self._interrupts += 1
        if self._interrupt is None:
            self._interrupt = exc

    def _wait(self) -> None:
        while any(member.is_running() for member in self._members):
            has_failed = any(member.error is not None for member in self._members)
            for member in self._members:
                member.cancel(self._interrupts + has_failed)
            self._ear.recv(4096)
        for member in self._members:
            member.join()

    def _outcome(self) -> list[_T]:
        errors = [member.error for member in self._members if member.error is not None]
        first = self._interrupt
        # Their tracebacks lead to the members and to here.
        self._interrupt = None
        for member in self._members:
            member.error = None
        try:
            if first is None:
                first = next((exc for exc in errors if isinstance(exc, SystemExit | KeyboardInterrupt)), None)
                errors = [exc for exc in errors if exc is not first]
            if first is None and not errors:
                return [member.result for member in self._members]
            if first is None:
                raise BaseExceptionGroup(_MESSAGE, errors)
            if errors:
                raise first from BaseExceptionGroup(_MESSAGE, errors)
            raise first
        finally:
            del first, errors


@contextmanager
def _signals_taken(descriptor: int, on_sigint: Callable[[int, object], object]) -> Iterator[None]:
    """In the main thread, have each signal write to the descriptor, and Ctrl-C handled where it would raise."""
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            with suppress(ValueError):  # an interpreter without signals
                stack.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False))
                if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                    signal.signal(signal.SIGINT, on_sigint)
                    stack.callback(_give_back, on_sigint)
        yield


def _give_back(on_sigint: Callable[[int, object], object]) -> None:
    """Have Ctrl-C raise again, unless somebody has set a handler meanwhile."""
    if signal.getsignal(signal.SIGINT) is on_sigint:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _count_of(threads: int | None) -> int:
    """Return how many threads that asks for."""
    if threads is None:
        if hasattr(os, "process_cpu_count"):
            return os.process_cpu_count() or 1
        return len(os.sched_getaffinity(0))
    if isinstance(threads, bool) or not hasattr(threads, "__index__"):
        raise TypeError(f"threads is an integer or None, not {threads!r}")
    count = operator.index(threads)
    if count < 1:
        raise ValueError(f"threads is at least 1, not {threads!r}")
    return count


def run_threads(
    main: Callable[[*_Ts], Coroutine[Any, Any, _T]],
    *args: *_Ts,
    threads: int | None = None,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = new_event_loop,
    debug: bool | None = None,
) -> list[_T]:
    """Run the coroutine of `main(*args)` on a loop of its own in each of several threads; return their results.

    The results are in the order of the threads, which are named `loopmod-0`, `loopmod-1` and so on. Each calls `main`
    itself, in a copy of the caller's context, and ends like `asyncio.Runner`: tasks that are left are cancelled,
    asynchronous generators and the default executor shut down, the loop closed. The caller waits for all of them
    without a loop of its own.

    threads: how many; by default as many as there are CPUs that the process may use.
    loop_factory: makes the loops, each in its thread; None for what `asyncio.new_event_loop` makes.
    debug: whether the loops are in debug mode; by default as the interpreter is.

    When something fails in one thread (its main, or what makes or closes its loop), the main tasks of the others are
    cancelled and waited for; one that has not begun does not begin. Then an ExceptionGroup of all failures is raised,
    also of a single one. That a main was cancelled by this is no failure; that it ended by CancelledError without it
    is one, and the group a BaseExceptionGroup. SystemExit and KeyboardInterrupt raised in a thread are raised here as
    they are, the first one if there are several, with the group of what else failed as the cause.

    Ctrl-C in the main thread cancels all main tasks, each further one does so again; when all threads have ended
    KeyboardInterrupt is raised, whatever the mains returned. What else a signal handler raises in the caller's thread
    ends the run in the same way. In other threads than the main one it works without that. The threads are no
    daemons: a main that does not end when it is cancelled is waited for.

    Raises RuntimeError within a running loop, and where a thread cannot be started, when those that were have been
    cancelled and have ended. Raises TypeError or ValueError for `threads` that are no integer or none at all.
    """
    if events._get_running_loop() is not None:
        raise RuntimeError("run_threads() cannot be called from a running event loop")
    if not callable(main):
        raise TypeError(f"main is what each thread calls for its coroutine, not {main!r}")

    def make_runner() -> AbstractContextManager[asyncio.Runner]:
        return ending.ended(asyncio.Runner(debug=debug, loop_factory=loop_factory), loop_factory)

    return _Team(_count_of(threads), functools.partial(main, *args), make_runner).run()
