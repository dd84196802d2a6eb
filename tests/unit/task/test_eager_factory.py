"""asyncio's eager task factories make the loop's own tasks; whatever is changed about one is asked, as ever.

Covers task/factory.c, the eager start in task/step.c, and loopmod/eager_factory.py. What differs by version (who
names a task, what create_task takes) is compared with what asyncio's own loop does in the same process.
"""

import asyncio
import contextlib
import contextvars
import gc
import inspect
import re
import sys
import textwrap
import threading
import traceback
import types
import weakref
from asyncio import base_events, tasks
from unittest import mock

import pytest
from loop_support import Thing, until
from task_support import fails, gives
from tcp_support import only_loopmod

if sys.version_info < (3, 12):
    pytest.skip("eager tasks came with 3.12", allow_module_level=True)

PASSES_ON = sys.version_info >= (3, 13, 3)  # create_task's keywords to the factory
FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()

var = contextvars.ContextVar("var", default="unset")


class OwnTask(asyncio.Task):
    """A program's constructor."""


async def waits():
    await asyncio.sleep(0)
    return "waited"


FACTORIES = {
    "asyncio's": lambda task_type: asyncio.eager_task_factory,
    "made for asyncio's": lambda task_type: asyncio.create_eager_task_factory(asyncio.Task),
    "made for the loop's": asyncio.create_eager_task_factory,
}


@pytest.fixture(params=FACTORIES)
def factory(request, task_type):
    return FACTORIES[request.param](task_type)


@pytest.fixture
def eager(loop):
    """A factory that the loop has, which nobody else uses."""
    factory = asyncio.create_eager_task_factory(asyncio.Task)
    loop.set_task_factory(factory)
    return factory


@contextlib.contextmanager
def another_loop():
    """asyncio's own, in the place of the one that runs."""
    loop = asyncio.SelectorEventLoop()
    try:
        yield loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def shown(value):
    """What is compared of a value: the text, without what differs from run to run."""
    return re.sub(r"Task-\d+", "Task-N", re.sub(r"0x[0-9a-f]+", "0x", repr(value)))


def same_as_on_asyncio(loop, program):
    """Run program(loop) with asyncio's eager factory on the loop and on asyncio's; return what both gave."""
    found = []
    with another_loop() as stock:
        stock.set_debug(loop.get_debug())
        for each in (loop, stock):
            each.set_task_factory(asyncio.eager_task_factory)
            each.set_exception_handler(lambda loop, context: None)
            found.append(each.run_until_complete(program(each)))
            each.set_task_factory(None)
    assert shown(found[0]) == shown(found[1])
    return found[0]


# Which tasks are made.


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


# What they do.


def test_names(loop):
    class Text:
        def __str__(self):
            return "text"

    async def program(loop):
        inside = []

        async def names(*renamed):
            inside.append(asyncio.current_task().get_name())
            for name in renamed:
                asyncio.current_task().set_name(name)

        found = []
        for name in (None, "name", "", 7, Text()):
            found.append(loop.create_task(names(), name=name).get_name())
            found.append(asyncio.create_task(names("renamed"), name=name).get_name())
        found.append(loop.create_task(names()).get_name())
        found.append(loop.create_task(names("renamed")).get_name())
        async with asyncio.TaskGroup() as group:
            found.append(group.create_task(names()).get_name())
            found.append(group.create_task(names(), name="of a group").get_name())
        return found, inside

    same_as_on_asyncio(loop, program)


def test_name_that_has_no_text(loop):
    class Bad:
        def __str__(self):
            raise LookupError("no text")

    async def program(loop):
        began = []

        async def begins():
            began.append(asyncio.current_task())
            await asyncio.sleep(0)
            began.append("ended")

        coro = begins()
        try:
            loop.create_task(coro, name=Bad())
        except LookupError as exc:
            found = [str(exc), len(began)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        coro.close()
        return found, began[1:], asyncio.all_tasks() == {asyncio.current_task()}

    found, _, _ = same_as_on_asyncio(loop, program)
    assert found[0] == "no text"


@pytest.mark.skipif(not PASSES_ON, reason="tasks have no default name, or get it early")
def test_default_names_count(loop, run, eager):
    async def main():
        tasks = [loop.create_task(waits(), eager_start=bool(i % 2)) for i in range(6)]
        return [task.get_name() for task in tasks]

    names = run(main())
    first = int(names[0].removeprefix("Task-"))
    assert names == [f"Task-{first + i}" for i in range(6)]


REFUSED = [
    ((), {"bogus": 1}),
    ((1,), {}),
    ((), {"loop": None}),
    ((), {"eager_start": True, "bogus": 1}),
]


@pytest.mark.parametrize(("args", "keywords"), REFUSED)
def test_refused_arguments(loop, args, keywords):
    async def program(loop):
        coro = gives("taken")
        try:
            task = loop.create_task(coro, *args, **keywords)
        except (TypeError, AttributeError, RuntimeError) as exc:
            return type(exc), str(exc)
        finally:
            await asyncio.sleep(0)
            coro.close()
        return task

    same_as_on_asyncio(loop, program)


@pytest.mark.parametrize("what", [1, "text", gives, None])
def test_no_coroutine(loop, what):
    async def program(loop):
        try:
            loop.create_task(what)
        except TypeError as exc:
            return str(exc)

    assert "a coroutine was expected" in same_as_on_asyncio(loop, program)


def test_coroutine_by_keyword(loop, run, eager):
    async def main():
        assert await loop.create_task(coro=gives("by keyword")) == "by keyword"

    run(main())


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_closed_loop(new_loop):
    loop = new_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    loop.close()
    coro = gives()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(coro)
    coro.close()


def test_registers(loop, run, eager):
    seen = []

    async def looks():
        me = asyncio.current_task()
        seen.append((me, me in asyncio.all_tasks(), asyncio.current_task(loop) is me))

    async def main():
        me = asyncio.current_task()
        task = asyncio.create_task(looks())
        assert seen == [(task, True, True)]
        assert task not in asyncio.all_tasks()
        if sys.version_info >= (3, 13):  # early 3.12 crashes
            assert task.get_coro() is None
        slow = asyncio.create_task(waits())
        assert asyncio.all_tasks() == {me, slow}
        assert slow.get_coro().__name__ == "waits"
        assert asyncio.current_task() is me
        await slow
        assert asyncio.all_tasks() == {me}

    run(main())


def test_done_at_once_is_not_scheduled(loop, run, eager):
    """Nothing waits in the queue for it."""

    async def main():
        order = []
        loop.call_soon(order.append, "before")
        task = asyncio.create_task(gives("value"))
        loop.call_soon(order.append, "after")
        task.add_done_callback(lambda task: order.append(task.result()))
        assert len(loop._ready) == 3
        await task
        assert order == []
        await asyncio.sleep(0)
        assert order == ["before", "after", "value"]

    run(main())


def test_repr(loop):
    async def program(loop):
        inside = []

        async def looks(error=None):
            inside.append(re.sub(r"\d+", "N", shown(asyncio.current_task())))
            if error is not None:
                raise error

        found = [asyncio.create_task(looks(), name="quick"), asyncio.create_task(looks(ValueError("x")), name="bad")]
        found.append(asyncio.create_task(waits(), name="slow"))
        texts = [shown(task) for task in found]
        await asyncio.wait(found)
        return inside, texts, [shown(task) for task in found]

    same_as_on_asyncio(loop, program)


def test_source_traceback(loop):
    """In debug mode: a task's stack ends in asyncio's create_task and factory, which no frame of the caller's is."""

    async def program(loop):
        inside = []

        async def looks():
            inside.append(asyncio.current_task()._source_traceback)
            await asyncio.sleep(0)

        task = loop.create_task(looks())
        stack = task._source_traceback
        await task
        return inside[0] == stack, [
            (frame.filename, frame.lineno, frame.name, frame.line) for frame in (stack or [])[-3:]
        ]

    _, frames = same_as_on_asyncio(loop, program)
    assert [name for _, _, name, _ in frames] == ["program", "create_task", "factory"] * loop.get_debug()


def test_dropped_while_pending(loop, run, eager, errors):
    class Gate:
        """Awaited, and known to nobody but who awaits it."""

        def __await__(self):
            return (yield from asyncio.get_running_loop().create_future())

    async def forever():
        await Gate()

    async def main():
        task = asyncio.create_task(forever(), name="dropped")
        del task
        gc.collect()

    run(main())
    assert errors[0]["message"] == "Task was destroyed but it is pending!"
    assert errors[0]["task"].get_name() == "dropped"


def test_exception_at_once_is_told_of(loop, run, eager, errors):
    async def main():
        task = asyncio.create_task(fails(ValueError("at once")))
        assert task.done()
        with pytest.raises(ValueError, match="at once"):
            task.result()
        asyncio.create_task(fails(KeyError("untold")))
        gc.collect()

    run(main())
    assert [repr(context["exception"]) for context in errors] == ["KeyError('untold')"]


def test_exception_has_the_handled_one_as_its_context(loop, run, eager):
    async def raises():
        assert isinstance(sys.exception(), KeyError)
        raise ValueError("inner")

    async def main():
        try:
            raise KeyError("outer")
        except KeyError:
            task = asyncio.create_task(raises())
        error = task.exception()
        assert isinstance(error.__context__, KeyError)
        assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["raises"]

    run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("by_group", [False, True])
def test_exit_from_the_first_step(loop, eager, error, by_group):
    made = []

    async def leaves():
        made.append(asyncio.current_task())
        raise error("leave")

    async def main():
        if by_group:
            async with asyncio.TaskGroup() as group:
                group.create_task(leaves())
        else:
            asyncio.create_task(leaves())

    task = loop.create_task(main())
    with pytest.raises(error, match="leave"):
        loop.run_until_complete(task)
    assert isinstance(made[0].exception(), error)
    assert isinstance(task.exception(), error)
    assert asyncio.current_task(loop) is None


def test_context_that_is_entered(loop, turn, kind, eager, errors):
    seen = []
    coro = gives()
    context = contextvars.copy_context()

    def callback():
        with pytest.raises(RuntimeError, match="cannot enter context"):
            context.run(loop.create_task, coro, context=context)
        left = asyncio.current_task(loop)
        if kind == "asyncio":
            tasks._leave_task(loop, left)  # which it forgets to do
        else:
            seen.append(left)
        del left
        seen.append("raised")

    loop.call_soon(callback)
    turn()
    assert seen[-1] == "raised"
    assert seen[:-1] == [None] * (kind != "asyncio")
    coro.close()
    gc.collect()
    assert {context["message"] for context in errors} <= {"Task was destroyed but it is pending!"}


def test_context_over_the_steps(loop, run, eager):
    async def steps():
        me = asyncio.current_task()
        assert var.get() == "unset"
        await asyncio.sleep(0)
        assert var.get() == "unset"
        var.set("second")
        await asyncio.sleep(0)
        assert var.get() == "second"
        assert me.get_context()[var] == "second"
        await asyncio.sleep(0)
        assert me.get_context() is me.get_context()
        var.set("third")
        return me.get_context()

    async def only_looks():
        me = asyncio.current_task()
        found = [me.get_context()]
        for _ in range(3):
            await asyncio.sleep(0)
            found.append(me.get_context())
        return len(set(map(id, found)))

    async def main():
        many = [asyncio.create_task(steps()) for _ in range(100)]
        contexts = await asyncio.gather(*many)
        assert len(set(map(id, contexts))) == 100
        assert {context[var] for context in contexts} == {"third"}
        assert await asyncio.create_task(only_looks()) == 1
        assert var.get() == "unset"

    run(main())


def test_context_of_callbacks_and_loops_calls(loop, run, eager):
    """What the first step schedules runs in a copy of the task's context."""
    seen = []

    async def schedules():
        var.set("inside")
        loop.call_soon(lambda: seen.append(var.get()))
        asyncio.create_task(looks())

    async def looks():
        seen.append(var.get())
        var.set("deeper")

    async def main():
        task = asyncio.create_task(schedules())
        task.add_done_callback(lambda task: seen.append(var.get()))
        await asyncio.sleep(0)
        assert seen == ["inside", "inside", "unset"]

    run(main())


def test_from_a_callback(loop, run, eager, task_type):
    async def main():
        done = loop.create_future()

        def callback():
            task = loop.create_task(looks())
            assert asyncio.current_task() is None
            done.set_result(task)

        async def looks():
            assert type(asyncio.current_task()) is task_type
            await asyncio.sleep(0)
            return asyncio.current_task()

        loop.call_soon(callback)
        task = await done
        assert await task is task

    run(main())


def test_mixed_with_other_tasks(loop, run, task_type):
    """Each knows who it is, and who started it is the current task again, whatever kinds the two are of."""
    factories = {task_type: asyncio.eager_task_factory, OwnTask: asyncio.create_eager_task_factory(OwnTask)}
    seen = []

    async def nests(kinds):
        me = asyncio.current_task()
        seen.append(type(me))
        if kinds:
            loop.set_task_factory(factories[kinds[0]])
            child = loop.create_task(nests(kinds[1:]))
            assert asyncio.current_task() is me
            await child
        await asyncio.sleep(0)
        assert asyncio.current_task() is me

    async def main():
        for kinds in ([OwnTask, task_type], [task_type, OwnTask, task_type], [task_type] * 3):
            seen.clear()
            await nests(kinds)
            assert seen[1:] == kinds
        loop.set_task_factory(None)

    run(main())


def test_groups(loop, run, eager, task_type):
    async def works(i):
        for _ in range(i % 3):
            await asyncio.sleep(0)
        if i == 13:
            raise LookupError(i)
        return i

    async def main():
        assert await asyncio.gather(*map(works, range(10))) == list(range(10))
        results = await asyncio.gather(*map(works, range(20)), return_exceptions=True)
        assert isinstance(results.pop(13), LookupError)
        assert results == [i for i in range(20) if i != 13]
        with pytest.raises(LookupError):
            await asyncio.gather(*map(works, range(20)))

        async with asyncio.TaskGroup() as group:
            made = [group.create_task(works(i)) for i in range(10)]
        assert [task.result() for task in made] == list(range(10))
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                other = group.create_task(asyncio.sleep(60))
                group.create_task(works(13))
        assert [error.args for error in caught.value.exceptions] == [(13,)]
        assert other.cancelled()

        done, pending = await asyncio.wait([asyncio.create_task(works(i)) for i in range(6)])
        assert sorted(task.result() for task in done) == list(range(6)) and not pending
        made = [asyncio.create_task(works(i)) for i in range(6)]
        assert sorted([await each for each in asyncio.as_completed(made)]) == list(range(6))
        assert {type(task) for task in made} == {task_type}

        assert await asyncio.wait_for(works(2), 60) == 2
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(60), 0.001)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await asyncio.create_task(asyncio.sleep(60))
        assert await asyncio.shield(works(1)) == 1
        assert await asyncio.ensure_future(works(2)) == 2

    run(main())


def test_timeout_and_cancel_within_the_first_step(loop, run, eager):
    async def limited():
        async with asyncio.timeout(0.001):
            await asyncio.sleep(60)

    async def cancels_itself():
        asyncio.current_task().cancel("itself")
        assert asyncio.current_task().cancelling() == 1
        return "returned"

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.create_task(limited())
        task = asyncio.create_task(cancels_itself())
        assert task.cancelled()
        assert task not in asyncio.all_tasks()

    run(main())


def test_run_coroutine_threadsafe(loop, run, eager, task_type):
    async def which():
        await asyncio.sleep(0)
        return type(asyncio.current_task()), threading.get_ident()

    async def main():
        found = await asyncio.to_thread(lambda: asyncio.run_coroutine_threadsafe(which(), loop).result(30))
        assert found == (task_type, threading.get_ident())

    run(main())


def test_runner(new_loop, task_type):
    def factory():
        loop = new_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        return loop

    async def which():
        assert asyncio.create_task(gives()).done()
        return type(asyncio.current_task())

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(which()) is task_type
        assert runner.run(which()) is task_type


def test_another_loops_task(new_loop, task_type):
    """A loop that does not run has its tasks wait, also while another runs in the thread."""
    first, second = new_loop(), new_loop()
    second.set_task_factory(asyncio.eager_task_factory)

    async def main():
        task = second.create_task(gives("later"))
        assert type(task) is task_type
        assert not task.done()
        return task

    task = first.run_until_complete(main())
    assert second.run_until_complete(task) == "later"


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_from_another_thread(loop, kind):
    """The first step runs there, or it is refused, by version; without the GIL a loop of ours refuses it."""

    async def program(loop):
        where, outcome = [], []

        async def tells():
            where.append(threading.current_thread().name)
            await asyncio.sleep(0)
            where.append(threading.current_thread().name)

        coro = tells()

        def body():
            try:
                outcome.append(type(loop.create_task(coro)).__name__)
            except RuntimeError:
                outcome.append("refused")

        loop.set_debug(False)  # in which asyncio refuses the next step half-way
        thread = threading.Thread(target=body, name="other")
        thread.start()
        await until(lambda: not thread.is_alive())
        thread.join()
        for _ in range(3):
            await asyncio.sleep(0)
        coro.close()
        return where, outcome

    if kind == "loopmod" and FREE_THREADED:
        loop.set_task_factory(asyncio.eager_task_factory)
        assert loop.run_until_complete(program(loop)) == ([], ["refused"])
    elif sys.version_info < (3, 14):
        assert same_as_on_asyncio(loop, program) == (["other", "MainThread"], ["Task"])
    else:
        assert same_as_on_asyncio(loop, program) == ([], ["refused"])


def test_loops_in_several_threads(kind, new_loop, task_type):
    """They share the factory, and one of them changes its own all the time."""
    found = []

    async def works(i):
        for _ in range(i % 3):
            await asyncio.sleep(0)
        return type(asyncio.current_task())

    async def main(changes):
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        for _ in range(20):
            kinds = set(await asyncio.gather(*map(works, range(30))))
            if changes:
                loop.set_task_factory(asyncio.create_eager_task_factory(OwnTask))
                assert await works(1) in (task_type, OwnTask)
                loop.set_task_factory(asyncio.eager_task_factory)
            found.append(kinds)

    def body(changes):
        with contextlib.closing(new_loop()) as loop:
            loop.run_until_complete(main(changes))

    threads = [threading.Thread(target=body, args=(i == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [{task_type}] * 80


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_nested_without_end(loop, run, eager):
    depth = 0

    async def nests():
        nonlocal depth
        depth += 1
        await asyncio.create_task(nests())

    async def main():
        with pytest.raises(RecursionError):
            await nests()
        assert depth > 50
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, RecursionError):
                await task

    run(main())
    gc.collect()


def test_many_are_let_go(loop, run, eager):
    """Neither tasks nor their contexts and coroutines stay."""
    alive = []

    async def holds(thing, turns):
        var.set(thing)
        for _ in range(turns):
            await asyncio.sleep(0)

    async def main():
        for turns in (0, 1, 2):
            for _ in range(100):
                thing = Thing()
                alive.append(weakref.ref(thing))
                await asyncio.create_task(holds(thing, turns))
        del thing

    run(main())
    gc.collect()
    assert len(alive) == 300
    assert [ref() for ref in alive if ref() is not None] == []


# What is known of asyncio's own, by version.


def module_of(source):
    """A module in the place of one of asyncio's, with other code."""
    module = types.ModuleType("stand_in")
    exec(textwrap.dedent(source), vars(module))
    return module


CREATE_TASK = """
    def _set_task_name(task, name):
        if name is not None:
            task.set_name(name)

    class BaseEventLoop:
        def create_task(self, coro, *, name=None, context=None, **kwargs):
            self._check_closed()
            {}
            return task
"""
NAMES = [
    ("task = self._task_factory(self, coro); _set_task_name(task, name)", 1),
    ("task = self._task_factory(self, coro); task.set_name(name)", 2),
    ("task = self._task_factory(self, coro, **kwargs); task.set_name(name)", 2),
    ("task = self._task_factory(self, coro, **kwargs | ({} if name is None else {'name': name}))", 0),
    ("task = self._task_factory(self, coro, name=name); task.set_name(name)", None),
    ("task = self._task_factory(self, coro); task.set_name('always')", None),
]


@pytest.mark.parametrize(("body", "expected"), NAMES)
def test_who_names_tasks(kind, monkeypatch, body, expected):
    only_loopmod(kind, "asks loopmod")
    from loopmod import eager_factory

    base_events = module_of(CREATE_TASK.replace("{}", body, 1))
    monkeypatch.setattr(eager_factory, "base_events", base_events)
    assert eager_factory._names_after() == expected
    create_task = base_events.BaseEventLoop.create_task
    create_task.__code__ = create_task.__code__.replace(co_consts=(*create_task.__code__.co_consts, print))
    assert eager_factory._names_after() is None
    base_events.BaseEventLoop.create_task = lambda self, coro, **kwargs: None
    assert eager_factory._names_after() is None


FACTORY = """
    def create_eager_task_factory(custom_task_constructor):
        def factory({}):
            return {}

        return factory

    eager_task_factory = create_eager_task_factory(int)
"""
SHAPES = [
    ("loop, coro, *, name=None, context=None", "custom_task_constructor(coro, loop=loop, name=name)", 2),
    ("loop, coro, *, eager_start=True, **kwargs", "custom_task_constructor(coro, **kwargs)", 1),
    ("loop, coro, *, eager_start=True, **kwargs", "print(custom_task_constructor(coro, **kwargs))", None),
    ("loop, coro, *, eager_start=True, **kwargs", "eager_start", None),
    ("loop, coro, more=1, *, eager_start=True", "custom_task_constructor(coro)", None),
    ("loop, coro, *, eager_start=True, more=1", "custom_task_constructor(coro)", None),
    ("loop, coro", "custom_task_constructor(coro)", None),
]


@pytest.mark.parametrize(("parameters", "body", "expected"), SHAPES)
@pytest.mark.parametrize("left", ["eager_task_factory", "create_eager_task_factory"])
def test_which_factory_is_known(kind, monkeypatch, parameters, body, expected, left):
    """By whichever of the two names still leads to asyncio's code."""
    only_loopmod(kind, "asks loopmod")
    from loopmod import eager_factory

    stand_in = module_of(FACTORY.replace("{}", parameters, 1).replace("{}", body, 1))
    code = stand_in.eager_task_factory.__code__
    for name in {"eager_task_factory", "create_eager_task_factory"} - {left}:
        setattr(stand_in, name, print)
    monkeypatch.setattr(eager_factory, "tasks", stand_in)
    found = eager_factory.stock_eager_factory()
    if expected is None:
        assert found is None
    else:
        assert found[0] is code
        assert len(found) == 2 + 2 * expected
