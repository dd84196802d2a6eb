"""asyncio's own factories of eager tasks, known by their code, so that the C core may make such tasks in their place.

Asked by src/task/factory.c, through loopmod/_support.py. What differs by version (what a factory takes, who gives a
task its name) is looked up in the running one; where that is none of what is known, no factory is.
"""

import sys
import traceback
import types
from asyncio import base_events, tasks
from collections.abc import Iterator
from typing import Any

# The factory's keywords with their defaults: before 3.13.3, and since.
_DEFAULTS: tuple[dict[str, Any], ...] = ({"name": None, "context": None}, {"eager_start": True})


class _Noting:
    """For the loop of such a factory, the factory, and the task that it gives: notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.stack: list[Any] = []

    def _check_closed(self) -> None:
        pass

    def _task_factory(self, loop: Any, coro: Any, **kwargs: Any) -> Any:
        if "name" in kwargs:
            self.told.append(("factory", kwargs["name"]))
        return self

    def set_name(self, name: Any) -> None:
        self.told.append(("task", name))

    def note_stack(self, *args: Any, **kwargs: Any) -> Any:
        self.stack = traceback.extract_stack(sys._getframe(1))
        return self


def _code_of(module: types.ModuleType, function: Any) -> Any:
    """Return the code of a function that was defined in that module; None of anything else."""
    is_function = isinstance(function, types.FunctionType) and function.__globals__ is vars(module)
    return function.__code__ if is_function else None


def _factory_codes() -> Iterator[types.CodeType]:
    """Yield the code of the factory that asyncio has made, and of those that it would make."""
    made = _code_of(tasks, vars(tasks).get("eager_task_factory"))
    maker = _code_of(tasks, vars(tasks).get("create_eager_task_factory"))
    for code in (made, *(maker.co_consts if maker is not None else ())):
        if isinstance(code, types.CodeType):
            yield code


def _defaults_of(code: types.CodeType) -> dict[str, Any] | None:
    """Return the defaults of a factory that only calls its constructor; None of any other code."""
    if (
        code.co_qualname != "create_eager_task_factory.<locals>.factory"
        or code.co_freevars != ("custom_task_constructor",)
        or code.co_names
        or code.co_argcount != 2
        or any(map(callable, code.co_consts))
    ):
        return None
    keywords = code.co_varnames[2 : 2 + code.co_kwonlyargcount]
    return next((defaults for defaults in _DEFAULTS if tuple(defaults) == keywords), None)


def _names_after() -> int | None:
    """Return whether create_task names what the factory gave it: 0 no, 1 where it was given a name, 2 in any case.

    It is tried out, as releases of one version differ. None where it is not asyncio's own, or does something else.
    """
    create_task: Any = vars(base_events.BaseEventLoop).get("create_task")
    code = _code_of(base_events, create_task)
    if code is None or code.co_qualname != "BaseEventLoop.create_task" or any(map(callable, code.co_consts)):
        return None
    noting: Any = _Noting()
    create_task(noting, None)
    create_task(noting, None, name="name")
    known: tuple[list[Any], ...] = (
        [("factory", "name")],
        [("task", "name")],
        [("task", None), ("task", "name")],
    )
    return known.index(noting.told) if noting.told in known else None


def stock_eager_factory() -> tuple[Any, ...] | None:
    """Return (code, who names tasks, keyword, default, ...) of asyncio's eager factories, or None."""
    names_after = _names_after()
    for code in _factory_codes():
        defaults = _defaults_of(code)
        if defaults is not None and names_after is not None:
            return code, names_after, *(item for pair in defaults.items() for item in pair)
    return None


_frames: list[Any] = []


def add_factory_frames(stack: traceback.StackSummary, code: types.CodeType) -> None:
    """Add what the stack of such a task ends with: asyncio's create_task and a factory of that code."""
    if not _frames:
        noting: Any = _Noting()
        constructor = types.CellType(noting.note_stack)
        factory = types.FunctionType(code, vars(tasks), code.co_name, None, (constructor,))
        factory.__kwdefaults__ = _defaults_of(code)
        noting._task_factory = factory
        base_events.BaseEventLoop.create_task(noting, noting)
        _frames[:] = noting.stack[-2:]
    stack.extend(_frames)
