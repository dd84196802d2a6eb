"""The kinds of futures and tasks that a program makes, on asyncio's loop and on one of loopmod's."""

import asyncio
import sys
import weakref

import loopmod


def subclasses(future_type, task_type):
    """Subclasses in Python: of the same names, whatever they derive from."""

    class SubFuture(future_type):
        def cancel(self, *args, **kwargs):
            return super().cancel(*args, **kwargs)

        def result(self):
            return super().result()

    class SubTask(task_type):
        __slots__ = ("more",)

        def cancel(self, *args, **kwargs):
            self.more = "asked to"
            return super().cancel(*args, **kwargs)

    return SubFuture, SubTask


class Kinds:
    """The future and task types of one loop. `is_python` is for tasks of asyncio's own Python code throughout."""

    def __init__(self, is_ours, is_python=False):
        self.is_python = is_python
        self.native = (loopmod.Future, loopmod.Task) if is_ours else (asyncio.Future, asyncio.Task)
        self.subclasses = subclasses(*self.native)
        self.strange_loop = None

    def future(self, loop, kind):
        if kind == "stock":
            return asyncio.Future(loop=loop)
        if kind == "python":
            return asyncio.futures._PyFuture(loop=loop)
        return self.subclasses[0](loop=loop) if kind == "subclass" else loop.create_future()

    def stranger(self):
        """A future of another loop, closed long ago."""
        if self.strange_loop is None:
            self.strange_loop = asyncio.SelectorEventLoop()
            self.strange_loop.close()
        return self.strange_loop.create_future()

    def task(self, loop, coro, kind, number, context):
        name = f"named {number}" if number % 3 else None
        if kind == "loop" and not self.is_python:
            return loop.create_task(coro, name=name, context=context)
        more = {}
        if kind == "eager" and sys.version_info >= (3, 12):
            more["eager_start"] = True
            kind = "stock" if number % 2 else kind
        return self.type_of(kind)(coro, loop=loop, name=name, context=context, **more)

    def type_of(self, kind):
        if kind == "python" or self.is_python:
            return asyncio.tasks._PyTask
        if kind == "stock":
            return asyncio.Task
        return self.subclasses[1] if kind == "subclass" else self.native[1]

    def factory(self, kind):
        """A task factory; None for the loop's own way."""
        if kind == "loop":
            return None
        if kind == "eager" and sys.version_info >= (3, 12):
            return asyncio.eager_task_factory

        def factory(loop, coro, **more):
            return self.type_of(kind)(coro, loop=loop, **more)

        return factory


class OrderedWeakSet(dict):
    """In place of the WeakSet of a loop's asynchronous generators, closed in the order of their addresses."""

    def add(self, item):
        self[id(item)] = weakref.ref(item)

    def discard(self, item):
        self.pop(id(item), None)

    def __iter__(self):
        return iter([item for ref in list(self.values()) if (item := ref()) is not None])

    def __len__(self):
        return len(list(iter(self)))


class OrderedSet(dict):
    """In place of the set of a TaskGroup, which cancels its tasks in the order of their addresses."""

    def add(self, item):
        self[item] = None

    def discard(self, item):
        self.pop(item, None)
