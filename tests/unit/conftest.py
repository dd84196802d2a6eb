"""Fixtures of the future and task tests: the types under test and the foreign kinds that must mix with them.

Relies on the `kind` and `loop` fixtures of tests/conftest.py. "native" is what the loop makes by itself,
"stdlib" is CPython's C type, "python" its pure-Python twin and "duck" a future that keeps only the blocking
protocol.
"""

import asyncio
import functools
import sys

import pytest
from loop_support import spin

PyFuture = asyncio.futures._PyFuture
PyTask = asyncio.tasks._PyTask


class DuckFuture:
    """A future of no known type: what a stepping task looks at and not one attribute more."""

    _asyncio_future_blocking = False

    def __init__(self, loop):
        self._home = loop
        self._waiting = []
        self._outcome = None

    def get_loop(self):
        return self._home

    def done(self):
        return self._outcome is not None

    def add_done_callback(self, fn, *, context=None):
        self._waiting.append((fn, context))
        if self._outcome is not None:
            self._wake()

    def remove_done_callback(self, fn):
        kept = [entry for entry in self._waiting if entry[0] != fn]
        removed = len(self._waiting) - len(kept)
        self._waiting = kept
        return removed

    def _wake(self):
        waiting, self._waiting = self._waiting, []
        for fn, context in waiting:
            self._home.call_soon(fn, self, context=context)

    def _finish(self, value, error):
        if self._outcome is not None:
            raise asyncio.InvalidStateError("invalid state")
        self._outcome = (value, error)
        self._wake()

    def set_result(self, value):
        self._finish(value, None)

    def set_exception(self, error):
        self._finish(None, error)

    def cancel(self, msg=None):
        if self._outcome is not None:
            return False
        self._finish(None, asyncio.CancelledError(*([] if msg is None else [msg])))
        return True

    def result(self):
        value, error = self._outcome
        if error is not None:
            raise error
        return value

    def __await__(self):
        if self._outcome is None:
            self._asyncio_future_blocking = True
            yield self
        if self._outcome is None:
            raise RuntimeError("await wasn't used with future")
        return self.result()


def type_of_kind(kind, name):
    if kind == "asyncio":
        return getattr(asyncio, name)
    import loopmod

    return getattr(loopmod, name)


@pytest.fixture
def future_type(kind):
    """The Future type of the loop under test."""
    return type_of_kind(kind, "Future")


@pytest.fixture
def task_type(kind):
    """The Task type of the loop under test."""
    return type_of_kind(kind, "Task")


FUTURE_MAKERS = {
    "native": lambda loop: loop.create_future(),
    "stdlib": lambda loop: asyncio.Future(loop=loop),
    "python": lambda loop: PyFuture(loop=loop),
    "duck": DuckFuture,
}


class TaskKind:
    """`make(loop, coro, **kwargs)`: a task; and the books in which tasks of this kind are written.

    Since 3.14 pure-Python tasks have books of their own, which asyncio.current_task() and its like do not show.
    """

    def __init__(self, make, has_own_books=False):
        self.make = make
        self.has_own_books = has_own_books
        self.current_task = self._book("current_task")
        self.all_tasks = self._book("all_tasks")
        self.enter_task = self._book("_enter_task")
        self.leave_task = self._book("_leave_task")
        self.swap_current_task = self._book("_swap_current_task")
        self.register_task = self._book("_register_task")
        self.unregister_task = self._book("_unregister_task")

    def __call__(self, loop, coro, **kwargs):
        return self.make(loop, coro, **kwargs)

    def _book(self, name):
        if self.has_own_books:
            name = "_py_" + name.lstrip("_")
        # 3.11 has no swapping.
        return getattr(asyncio.tasks, name, None)


TASK_MAKERS = {
    "native": TaskKind(lambda loop, coro, **kwargs: loop.create_task(coro, **kwargs)),
    "stdlib": TaskKind(lambda loop, coro, **kwargs: asyncio.Task(coro, loop=loop, **kwargs)),
    "python": TaskKind(
        lambda loop, coro, **kwargs: PyTask(coro, loop=loop, **kwargs), has_own_books=sys.version_info >= (3, 14)
    ),
}


@pytest.fixture(params=list(FUTURE_MAKERS))
def make_future(request):
    """`make_future(loop)`: a pending future of each kind in turn."""
    return FUTURE_MAKERS[request.param]


@pytest.fixture(params=list(TASK_MAKERS))
def make_task(request):
    """`make_task(loop, coro, **kwargs)`: a task of each kind in turn; its attributes are the books of that kind."""
    return TASK_MAKERS[request.param]


@pytest.fixture(params=list(TASK_MAKERS))
def make_other_task(request):
    """The same as `make_task`, for tests that pair two kinds."""
    return TASK_MAKERS[request.param]


@pytest.fixture
def task_kinds():
    """Every kind of task by name, for tests that choose."""
    return TASK_MAKERS


@pytest.fixture
def turn(loop):
    """`turn(n)`: let a stopped loop run n turns."""
    return functools.partial(spin, loop)


@pytest.fixture
def eager(loop):
    """A factory of eager tasks that the loop has, made by asyncio (3.12 and later) and nobody else's."""
    factory = asyncio.create_eager_task_factory(asyncio.Task)
    loop.set_task_factory(factory)
    return factory
