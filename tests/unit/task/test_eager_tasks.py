"""Eager tasks that the loop makes in the place of asyncio's: registers, contexts, exceptions, groups, threads.

Covers the eager start in task/step.c and the current-task slot around it in task/registry.c.
"""

import asyncio
import contextlib
import contextvars
import gc
import sys
import threading
import traceback
import weakref
from asyncio import tasks

import pytest
from eager_support import OwnTask, waits
from loop_support import Thing
from task_support import fails, gives

if sys.version_info < (3, 12):
    pytest.skip("eager tasks came with 3.12", allow_module_level=True)

var = contextvars.ContextVar("var", default="unset")


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
