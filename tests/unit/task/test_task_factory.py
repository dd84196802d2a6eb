"""Task factories: how they are called, what they may return, and the stdlib's eager factories.

Covers task/task_make.c and create_task in face/loop_schedule.c.
"""

import asyncio
import contextvars
import gc
import sys

import pytest
from task_support import gives, needs_eager

V314 = sys.version_info >= (3, 14)
PASSES_ON = sys.version_info >= (3, 13, 3)

var = contextvars.ContextVar("var", default="unset")


def test_set_and_get(loop):
    assert loop.get_task_factory() is None

    def factory(loop, coro, **kwargs):
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    for bad in (1, "text", object()):
        with pytest.raises(TypeError):
            loop.set_task_factory(bad)
    assert loop.get_task_factory() is None


def test_factory_with_two_arguments(loop, run):
    calls = []

    def factory(loop, coro):
        calls.append((loop, coro))
        return asyncio.Task(coro, loop=loop)

    loop.set_task_factory(factory)
    coro = gives(1)
    task = loop.create_task(coro)
    assert type(task) is asyncio.Task
    assert calls == [(loop, coro)]
    assert loop.run_until_complete(task) == 1


def test_what_a_factory_is_given(loop):
    calls = []

    def factory(loop, coro, **kwargs):
        calls.append(kwargs)
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    context = contextvars.copy_context()
    tasks = [
        loop.create_task(gives()),
        loop.create_task(gives(), context=context),
        loop.create_task(gives(), name="named"),
        loop.create_task(gives(), name="both", context=context),
    ]
    assert [task.get_name() for task in tasks[2:]] == ["named", "both"]
    assert calls[0] == {}
    assert calls[1] == {"context": context}
    assert calls[3].get("context") is context
    if not PASSES_ON:
        # The name is set on what the factory returned.
        assert [sorted(call) for call in calls] == [[], ["context"], [], ["context"]]
    loop.run_until_complete(asyncio.wait(tasks))


@pytest.mark.skipif(PASSES_ON, reason="the name is passed to the factory")
def test_name_is_set_on_any_object_that_takes_one(loop):
    class Named:
        def set_name(self, name):
            self.name = name

    class Nameless:
        pass

    loop.set_task_factory(lambda loop, coro: coro.close() or Named())
    assert loop.create_task(gives(), name="x").name == "x"
    if sys.version_info < (3, 13):
        loop.set_task_factory(lambda loop, coro: coro.close() or Nameless())
        assert isinstance(loop.create_task(gives()), Nameless)


def test_error_of_a_factory(loop):
    def factory(loop, coro, **kwargs):
        coro.close()
        raise LookupError("factory")

    loop.set_task_factory(factory)
    with pytest.raises(LookupError, match="factory"):
        loop.create_task(gives())
    loop.set_task_factory(None)
    assert loop.run_until_complete(gives(2)) == 2


def test_factory_for_every_way_of_making_tasks(loop, run):
    made = []

    def factory(loop, coro, **kwargs):
        made.append(asyncio.Task(coro, loop=loop, **kwargs))
        return made[-1]

    async def main():
        loop.set_task_factory(factory)
        await asyncio.create_task(gives())
        await asyncio.ensure_future(gives())
        await asyncio.gather(gives())
        async with asyncio.TaskGroup() as group:
            group.create_task(gives())
        await asyncio.shield(gives())
        assert len(made) == 5
        assert all(task.done() for task in made)
        loop.set_task_factory(None)

    run(main())


def test_factory_of_a_python_subclass(loop, run, task_type):
    class Counting(task_type):
        steps = 0

        def __init__(self, coro, **kwargs):
            super().__init__(coro, **kwargs)
            self.note = "initialised"

    async def main():
        loop.set_task_factory(lambda loop, coro, **kwargs: Counting(coro, loop=loop, **kwargs))
        task = asyncio.create_task(gives(4), name="sub")
        assert type(task) is Counting
        assert isinstance(task, task_type)
        assert task.note == "initialised"
        assert task.get_name() == "sub"
        assert await task == 4
        loop.set_task_factory(None)

    run(main())


def test_subclass_of_the_stdlib_task(loop, run):
    class Sub(asyncio.Task):
        pass

    async def waits(fut):
        return asyncio.current_task(), await fut

    async def main():
        loop.set_task_factory(lambda loop, coro, **kwargs: Sub(coro, loop=loop, **kwargs))
        fut = loop.create_future()
        task = asyncio.create_task(waits(fut))
        await asyncio.sleep(0)
        fut.set_result(6)
        assert await task == (task, 6)
        loop.set_task_factory(None)

    run(main())


@pytest.fixture(params=["stdlib", "native"])
def eager(request, loop, task_type):
    """The loop with an eager factory: the stdlib's own, or one made for the native type."""
    if request.param == "stdlib":
        factory = asyncio.eager_task_factory
    else:
        factory = asyncio.create_eager_task_factory(task_type)
    loop.set_task_factory(factory)
    return factory


@needs_eager
def test_eager_task_runs_at_once(loop, run, eager):
    seen = []

    async def steps():
        seen.append("one")
        await asyncio.sleep(0)
        seen.append("two")
        return "end"

    async def main():
        task = asyncio.create_task(steps(), name="eager")
        assert seen == ["one"]
        assert not task.done()
        assert task.get_name() == "eager"
        assert await task == "end"
        task = asyncio.create_task(gives("at once"))
        assert task.done()
        assert task.result() == "at once"
        assert await task == "at once"

    run(main())


@needs_eager
def test_eager_task_waits_when_the_loop_is_not_running(loop, eager, turn):
    seen = []

    async def appends():
        seen.append(1)

    task = loop.create_task(appends())
    assert seen == []
    turn()
    assert seen == [1]
    assert task.done()


@needs_eager
def test_eager_task_that_fails(loop, run, eager, errors):
    async def fails():
        raise ValueError("eager")

    async def main():
        task = asyncio.create_task(fails())
        assert task.done()
        with pytest.raises(ValueError, match="eager"):
            await task
        gone = asyncio.create_task(fails())
        assert gone._log_traceback is True
        del gone, task
        # The frames below an eager step keep the task in a cycle with its exception.
        gc.collect()

    run(main())
    assert [context["message"] for context in errors] == ["Task exception was never retrieved"]


@needs_eager
def test_eager_task_that_is_cancelled(loop, run, eager):
    async def raises():
        raise asyncio.CancelledError("at once")

    async def forever():
        await loop.create_future()

    async def itself():
        asyncio.current_task().cancel("self")
        await asyncio.sleep(0)

    async def main():
        assert asyncio.create_task(raises()).cancelled()
        task = asyncio.create_task(forever())
        assert task._fut_waiter is not None
        task.cancel("later")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("later",)
        task = asyncio.create_task(itself())
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


@needs_eager
def test_nested_eager_tasks(loop, run, eager):
    order = []

    async def nests(depth):
        me = asyncio.current_task()
        order.append(depth)
        if depth:
            child = asyncio.create_task(nests(depth - 1))
            assert asyncio.current_task() is me
            assert child is not me
            await child
        await asyncio.sleep(0)
        assert asyncio.current_task() is me
        order.append(-depth)

    async def main():
        me = asyncio.current_task()
        task = asyncio.create_task(nests(5))
        assert order == [5, 4, 3, 2, 1, 0]
        assert asyncio.current_task() is me
        assert len(asyncio.all_tasks()) == 7
        await task
        assert order[6:] == [0, -1, -2, -3, -4, -5]
        assert asyncio.all_tasks() == {me}

    run(main())


@needs_eager
def test_eager_task_started_from_a_callback(loop, run, eager):
    seen = []

    async def looks():
        seen.append(asyncio.current_task())
        await asyncio.sleep(0)
        seen.append(asyncio.current_task())

    def callback(done):
        task = loop.create_task(looks())
        assert asyncio.current_task() is None
        assert seen == [task]
        task.add_done_callback(done.set_result)

    async def main():
        done = loop.create_future()
        loop.call_soon(callback, done)
        task = await done
        assert seen == [task, task]

    run(main())


@needs_eager
def test_context_of_an_eager_task(loop, run, eager):
    async def sets(value):
        assert var.get() == "outer"
        var.set(value)
        await asyncio.sleep(0)
        assert var.get() == value

    async def main():
        var.set("outer")
        task = asyncio.create_task(sets("inner"))
        assert var.get() == "outer"
        await task
        assert var.get() == "outer"
        context = contextvars.copy_context()
        await asyncio.create_task(sets("shared"), context=context)
        assert context[var] == "shared"

    run(main())


@needs_eager
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_eager_task_that_leaves_the_program(loop, eager, error, turn):
    made = []

    async def leaves():
        made.append(asyncio.current_task())
        raise error("leave")

    def callback():
        loop.create_task(leaves())

    loop.call_soon(callback)
    with pytest.raises(error):
        turn()
    [task] = made
    assert isinstance(task.exception(), error)
    assert asyncio.current_task(loop) is None


@needs_eager
def test_eager_groups_and_gather(loop, run, eager):
    async def works(i):
        for _ in range(i % 3):
            await asyncio.sleep(0)
        return i

    async def main():
        assert await asyncio.gather(*[works(i) for i in range(20)]) == list(range(20))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(works(i)) for i in range(20)]
        assert [task.result() for task in tasks] == list(range(20))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.create_task(asyncio.sleep(30)), 0.01)

    run(main())
