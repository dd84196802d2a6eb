"""asyncio's eager task factories make the loop's own tasks; whatever is changed about one is asked, as ever.

Covers task/factory.c and loopmod/eager_factory.py. What such tasks do is in test_eager_tasks.py, what differs by
version in test_eager_versions.py.
"""

import asyncio
import contextlib
import contextvars
import inspect
import sys
import types
from asyncio import base_events, tasks
from unittest import mock

import pytest
from eager_support import PASSES_ON, OwnTask, waits
from task_support import gives

if sys.version_info < (3, 12):
    pytest.skip("eager tasks came with 3.12", allow_module_level=True)


FACTORIES = {
    "asyncio's": lambda task_type: asyncio.eager_task_factory,
    "made for asyncio's": lambda task_type: asyncio.create_eager_task_factory(asyncio.Task),
    "made for the loop's": asyncio.create_eager_task_factory,
}


@pytest.fixture(params=FACTORIES)
def factory(request, task_type):
    return FACTORIES[request.param](task_type)


def test_type_of_the_task(loop, run, factory, task_type):
    async def main():
        loop.set_task_factory(factory)
        assert loop.get_task_factory() is factory
        quick, slow = asyncio.create_task(gives(1)), asyncio.create_task(waits())
        assert type(quick) is type(slow) is task_type
        assert quick.done() and not slow.done()
        assert await slow == "waited"
        with_name = loop.create_task(waits(), name="name")
        with_context = loop.create_task(waits(), context=contextvars.copy_context())
        with_both = loop.create_task(waits(), name="both", context=contextvars.copy_context())
        assert {type(task) for task in (with_name, with_context, with_both)} == {task_type}
        assert (with_name.get_name(), with_both.get_name()) == ("name", "both")
        async with asyncio.TaskGroup() as group:
            assert type(group.create_task(waits(), name="of a group")) is task_type
        assert type(asyncio.ensure_future(gives())) is task_type
        loop.set_task_factory(None)
        assert loop.get_task_factory() is None
        lazy = asyncio.create_task(gives())
        assert not lazy.done()
        await asyncio.wait([lazy, with_name, with_context, with_both])

    run(main())


def test_loop_that_does_not_run(loop, factory, task_type, turn):
    loop.set_task_factory(factory)
    task = loop.create_task(gives("late"), name="late")
    assert type(task) is task_type
    assert not task.done() and task in asyncio.all_tasks(loop)
    turn()
    assert task.result() == "late"


def test_factory_called_by_hand(loop, run, eager):
    """It makes what asyncio makes, whatever loop it is called with."""

    async def main():
        for factory in (eager, asyncio.eager_task_factory):
            task = factory(loop, gives("by hand"))
            assert type(task) is asyncio.Task
            assert task.result() == "by hand"

    run(main())


@pytest.mark.skipif(not PASSES_ON, reason="no such keyword")
def test_eager_start_is_asked_for(loop, run, factory, task_type):
    class Truth:
        def __init__(self, value):
            self.value = value

        def __bool__(self):
            if isinstance(self.value, Exception):
                raise self.value
            return self.value

    async def main():
        loop.set_task_factory(factory)
        for value, is_eager in ((True, 1), (False, 0), (None, 0), (Truth(True), 1), (Truth(False), 0), ([], 0)):
            task = loop.create_task(gives(), eager_start=value)
            assert type(task) is task_type
            assert task.done() == is_eager
            await task
        coro = gives()
        with pytest.raises(LookupError, match="truth"):
            loop.create_task(coro, eager_start=Truth(LookupError("truth")))
        assert inspect.getcoroutinestate(coro) == inspect.CORO_CREATED
        coro.close()

    run(main())


def test_custom_constructors(loop, run):
    made = []

    def constructor(coro, **keywords):
        made.append(OwnTask(coro, **keywords))
        return made[-1]

    async def main():
        for each in (OwnTask, constructor):
            loop.set_task_factory(asyncio.create_eager_task_factory(each))
            task = asyncio.create_task(gives("own"))
            assert type(task) is OwnTask
            assert task.result() == "own"
        assert made == [task]
        for factory in (
            lambda loop, coro, **keywords: asyncio.eager_task_factory(loop, coro, **keywords),
            types.MethodType(lambda self, loop, coro, **keywords: OwnTask(coro, loop=loop, **keywords), 1),
        ):
            loop.set_task_factory(factory)
            task = asyncio.create_task(waits())
            assert type(task) in (asyncio.Task, OwnTask)
            assert await task == "waited"
        loop.set_task_factory(None)

    run(main())


def change_cell(factory):
    factory.__closure__[0].cell_contents = OwnTask


def change_code(factory):
    factory.__code__ = factory.__code__.replace(co_firstlineno=1)


def change_defaults(factory):
    factory.__defaults__ = (None,)


def change_value(factory):
    factory.__kwdefaults__[next(iter(factory.__kwdefaults__))] = "1"


def change_keywords(factory):
    factory.__kwdefaults__ = factory.__kwdefaults__ | {"more": 1}


CHANGES = [change_cell, change_code, change_defaults, change_value, change_keywords]


@pytest.mark.parametrize("change", CHANGES)
def test_changed_factory_is_asked(loop, run, eager, task_type, change):
    constructor, code = asyncio.Task, eager.__code__
    kept = dict(eager.__kwdefaults__)

    async def main():
        assert type(asyncio.create_task(gives())) is task_type
        change(eager)
        task = asyncio.create_task(gives("asked"))
        assert type(task) is (OwnTask if change is change_cell else asyncio.Task)
        assert task.done()
        assert task.result() == "asked"
        eager.__closure__[0].cell_contents = constructor
        eager.__code__, eager.__defaults__, eager.__kwdefaults__ = code, None, kept
        assert type(asyncio.create_task(gives())) is task_type

    run(main())


def test_empty_cell_and_no_defaults(loop, run, eager):
    async def main():
        del eager.__closure__[0].cell_contents
        coro = gives()
        with pytest.raises(NameError, match="custom_task_constructor"):
            asyncio.create_task(coro)
        eager.__closure__[0].cell_contents = asyncio.Task
        eager.__kwdefaults__ = None
        with pytest.raises(TypeError, match="keyword-only"):
            asyncio.create_task(coro)
        coro.close()
        loop.set_task_factory(None)

    run(main())


def test_default_that_is_changed_counts(loop, run, eager):
    inside = []

    async def names():
        inside.append(asyncio.current_task().get_name())

    async def main():
        if PASSES_ON:
            eager.__kwdefaults__["eager_start"] = False
            task = asyncio.create_task(names())
            assert not task.done()
        else:
            eager.__kwdefaults__["name"] = "by default"
            task = asyncio.create_task(names())
            assert inside == ["by default"]
        await task

    run(main())


def test_patched_task_class(loop, run, task_type):
    """The factory keeps the class that it was made for."""

    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)
        with mock.patch.object(tasks, "Task", OwnTask):
            patched = asyncio.create_task(waits())
            assert type(patched) is asyncio.Task
            assert await patched == "waited"
        # The loop's own way comes back with the next turn.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert type(asyncio.create_task(gives())) is task_type

    run(main())


def test_patched_create_task(loop, run, task_type):
    seen = []
    stock = base_events.BaseEventLoop.create_task

    def create_task(self, coro, **keywords):
        seen.append(coro.__name__)
        return stock(self, coro, **keywords)

    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)
        with mock.patch.object(base_events.BaseEventLoop, "create_task", create_task):
            task = asyncio.create_task(gives("patched"))
            assert seen == ["gives"]
            assert type(task) is asyncio.Task
            assert task.result() == "patched"
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert type(asyncio.create_task(gives())) is task_type
        assert seen == ["gives"]

    run(main())


def test_patched_names_of_the_factories(loop, run, task_type):
    """Who looks for a factory by its name finds what was put there; a loop keeps the one that it has."""
    seen = []
    stock = asyncio.eager_task_factory

    def factory(loop, coro, **keywords):
        seen.append(coro.__name__)
        return stock(loop, coro, **keywords)

    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)
        with mock.patch.object(asyncio, "eager_task_factory", factory):
            assert type(asyncio.create_task(gives())) is task_type
            loop.set_task_factory(asyncio.eager_task_factory)
            assert type(asyncio.create_task(waits())) is asyncio.Task
            assert seen == ["waits"]
            loop.set_task_factory(None)

    run(main())


@pytest.mark.parametrize("where", ["class", "instance"])
def test_own_is_running(kind, new_loop, where):
    """Whether a task starts at once is asked of the loop."""
    base = type(new_loop())

    class Own(base):
        if where == "class":

            def is_running(self):
                return False

    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)
        if where == "instance":
            loop.is_running = lambda: False
        task = asyncio.create_task(gives("late"))
        assert not task.done()
        assert await task == "late"
        if where == "instance":
            del loop.is_running
            assert asyncio.create_task(gives()).done()

    with contextlib.closing(Own()) as loop:
        # Not run_until_complete(), which asks as well.
        task = loop.create_task(main())
        task.add_done_callback(lambda task: loop.stop())
        loop.run_forever()
        task.result()


def test_own_call_soon(new_loop, task_type):
    base = type(new_loop())
    calls = []

    class Own(base):
        def call_soon(self, callback, *args, context=None):
            calls.append(callback)
            return super().call_soon(callback, *args, context=context)

    with contextlib.closing(Own()) as loop:

        async def main():
            loop.set_task_factory(asyncio.eager_task_factory)
            calls.clear()
            quick = asyncio.create_task(gives(1))
            assert calls == []
            slow = asyncio.create_task(waits())
            assert len(calls) == 1
            assert type(quick) is type(slow) is task_type
            assert await slow == "waited"

        loop.run_until_complete(main())
