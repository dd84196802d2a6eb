"""The end of `run` and of `run_threads` on builds without the GIL: that of asyncio.Runner, and nobody waits for it.

asyncio's own end asks for all tasks of a loop that does not run, and for that CPython 3.14 stops every other thread:
threads that begin and end loops all the time then do little else. It does not where the loop runs in the thread that
asks, since the thread has a list of its own; and only there can be the tasks of a loop that no other thread had part
in, of which the C core takes note. Relies on private names of asyncio.runners where they are as they were, else on
its Runner alone.
"""

import asyncio
import sys
from asyncio import constants, events, runners, tasks
from contextlib import AbstractContextManager
from types import FunctionType
from typing import Any

from . import gil
from .loop import Loop


def _parts() -> list[Any]:
    """Return all of asyncio's that is stood for here: functions with their code, and what else may be replaced."""
    functions = (
        asyncio.Runner.__enter__,
        asyncio.Runner.__exit__,
        asyncio.Runner.close,
        getattr(runners, "_cancel_all_tasks", None),
    )
    codes = [getattr(function, "__code__", None) for function in functions]
    return [asyncio.Runner, runners.Runner, runners.tasks, tasks.all_tasks, *functions, *codes]  # type: ignore[attr-defined]


def _is_own(function: Any) -> bool:
    """Whether asyncio itself has that function, and not a patch from before the import."""
    if isinstance(function, FunctionType):
        return function.__code__.co_filename == runners.run.__code__.co_filename
    return getattr(function, "__module__", None) == "_asyncio"


_stock = _parts()
_is_known = (
    gil.IS_FREE_THREADED
    and sys.version_info < (3, 16)
    and asyncio.Runner.__module__ == "asyncio.runners"
    and all(map(_is_own, _stock[3:8]))
)


class Ended:
    """What closes the runner that it is entered for."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self._runner = runner

    def __enter__(self) -> asyncio.Runner:
        return self._runner.__enter__()

    def __exit__(self, *exc: Any) -> None:
        loop = self._runner.get_loop()
        if type(loop) is not Loop or loop._had_guests or _parts() != _stock:
            self._runner.__exit__(*exc)
        else:
            _end(loop)


def ended(runner: asyncio.Runner, loop_factory: object) -> AbstractContextManager[asyncio.Runner]:
    """Return what to enter in the runner's place. `loop_factory` is the runner's."""
    # Without one the runner sets the loop for the thread, and so has to take it back.
    return Ended(runner) if _is_known and loop_factory is not None else runner


def _end(loop: Any) -> None:
    """Do what Runner.close() does with a loop that it was given."""
    try:
        _cancel_all_tasks(loop)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor(constants.THREAD_JOIN_TIMEOUT))  # type: ignore[attr-defined]
    finally:
        loop.close()


def _tasks_of(loop: Any) -> set[asyncio.Task[Any]]:
    events._set_running_loop(loop)
    try:
        return tasks.all_tasks(loop)
    finally:
        events._set_running_loop(None)


def _cancel_all_tasks(loop: Any) -> None:
    left = _tasks_of(loop)
    if not left:
        return
    for task in left:
        task.cancel()
    loop.run_until_complete(tasks.gather(*left, return_exceptions=True))
    for task in left:
        if not task.cancelled() and task.exception() is not None:
            loop.call_exception_handler(
                {
                    "message": "unhandled exception during asyncio.run() shutdown",
                    "exception": task.exception(),
                    "task": task,
                }
            )
