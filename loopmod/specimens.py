"""Futures and tasks of asyncio's own, made to be looked at: the C core learns from them what it cannot ask for.

Asked by src/task/waiters.c and src/task/mirror.c, through loopmod/_support.py.
"""

from asyncio import futures, tasks
from typing import Any


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
