"""Native, stdlib and pure Python tasks and futures side by side on one loop, and guests that bring their own.

Covers task/step.c, which knows what it may wait for, and task/waiters.c. Libraries build `asyncio.Task(...)` by
hand, subclass it, or drive coroutines with futures of their own; the loop must serve them all alike.
"""

import asyncio
import gc
import sys
import weakref

import pytest
from task_support import gives, needs_eager, waits

V314 = sys.version_info >= (3, 14)


def test_task_awaits_future_and_task_of_any_kind(loop, run, make_task, make_other_task, make_future):
    async def main():
        fut = make_future(loop)
        inner = make_other_task(loop, waits(fut))
        outer = make_task(loop, waits(inner))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert inner._fut_waiter is fut
        assert outer._fut_waiter is inner
        fut.set_result("through")
        assert await outer == "through"

    run(main())


def test_error_crosses_kinds(loop, run, make_task, make_other_task, make_future):
    error = LookupError("crosses")

    async def main():
        fut = make_future(loop)
        outer = make_task(loop, waits(make_other_task(loop, waits(fut))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        fut.set_exception(error)
        with pytest.raises(LookupError) as caught:
            await outer
        assert caught.value is error

    run(main())


@pytest.mark.parametrize("end", ("result", "error", "cancel"))
def test_task_is_woken_and_callbacks_beside_it_get_the_future_itself(loop, run, make_task, end):
    async def main():
        fut = loop.create_future()
        seen = []
        fut.add_done_callback(seen.append)
        task = make_task(loop, waits(fut))
        await asyncio.sleep(0)
        fut.add_done_callback(seen.append)
        if end == "result":
            fut.set_result("through")
            assert await task == "through"
        elif end == "error":
            fut.set_exception(LookupError("through"))
            with pytest.raises(LookupError, match="through"):
                await task
        else:
            fut.cancel("through")
            with pytest.raises(asyncio.CancelledError, match="through"):
                await task
        assert seen == [fut, fut]

    run(main())


def test_error_of_another_future_is_thrown_into_a_task_that_it_wakes(loop, run, make_task):
    async def main():
        fut, other = loop.create_future(), loop.create_future()
        task = make_task(loop, waits(fut))
        await asyncio.sleep(0)
        [(wake_up, _)] = fut._callbacks
        other.add_done_callback(wake_up)
        other.set_exception(LookupError("by another"))
        with pytest.raises(LookupError, match="by another"):
            await task

    run(main())


def test_cancellation_crosses_kinds(loop, run, make_task, make_other_task, make_future):
    async def main():
        fut = make_future(loop)
        inner = make_other_task(loop, waits(fut))
        outer = make_task(loop, waits(inner))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        outer.cancel("crosses")
        assert fut.done()
        with pytest.raises(asyncio.CancelledError) as caught:
            await outer
        assert caught.value.args == ("crosses",)
        assert inner.cancelled()
        assert outer.cancelled()

    run(main())


def test_kinds_take_turns_fairly(loop, run, make_task, make_other_task):
    order = []

    async def steps(name, current_task):
        me = current_task()
        assert me is not None
        for _ in range(4):
            order.append(name)
            await asyncio.sleep(0)
            assert current_task() is me

    async def main():
        await asyncio.gather(
            make_task(loop, steps("a", make_task.current_task)),
            make_other_task(loop, steps("b", make_other_task.current_task)),
            make_task(loop, steps("c", make_task.current_task)),
        )
        assert order == ["a", "b", "c"] * 4

    run(main())


def test_all_kinds_wait_for_one_future_in_order(loop, run, make_future):
    order = []

    async def joins(fut, name):
        await fut
        order.append(name)

    async def main():
        from_conftest = asyncio.tasks._PyTask, asyncio.Task
        fut = make_future(loop)
        tasks = []
        for i in range(3):
            tasks.append(loop.create_task(joins(fut, (i, "native"))))
            tasks += [cls(joins(fut, (i, cls.__module__)), loop=loop) for cls in from_conftest]
        await asyncio.sleep(0)
        expected = [(i, name) for i in range(3) for name in ("native", "asyncio.tasks", "_asyncio")]
        fut.set_result(None)
        await asyncio.gather(*tasks)
        assert order == expected

    run(main())


def test_native_callbacks_on_a_stdlib_future_of_this_loop(loop, turn):
    seen = []
    fut = asyncio.Future(loop=loop)
    fut.add_done_callback(seen.append)
    fut.set_result(1)
    assert seen == []
    turn()
    assert seen == [fut]


def test_native_types_on_a_stock_loop(future_type, task_type):
    stock = asyncio.SelectorEventLoop()
    try:
        seen = []

        async def main():
            me = asyncio.current_task()
            fut = future_type(loop=stock)
            task = task_type(waits(fut), loop=stock, name="guest")
            assert task.get_loop() is stock
            task.add_done_callback(seen.append)
            await asyncio.sleep(0)
            assert asyncio.all_tasks() == {me, task}
            fut.set_result("hosted")
            assert await task == "hosted"
            await asyncio.sleep(0)
            assert seen == [task]
            task = task_type(waits(future_type(loop=stock)), loop=stock)
            await asyncio.sleep(0)
            task.cancel("hosted")
            with pytest.raises(asyncio.CancelledError):
                await task

            async def current():
                await asyncio.sleep(0)
                return asyncio.current_task()

            task = task_type(current(), loop=stock)
            assert await task is task
            with pytest.raises(ValueError):
                await task_type(waits(failing()), loop=stock)

        async def failing():
            raise ValueError

        with asyncio.Runner(loop_factory=lambda: stock) as runner:
            runner.run(main())
    finally:
        stock.close()


def test_native_task_on_a_stock_loop_steps_in_debug(task_type):
    stock = asyncio.SelectorEventLoop()
    stock.set_debug(True)
    try:
        assert stock.run_until_complete(task_type(gives(3), loop=stock)) == 3
    finally:
        stock.close()


@needs_eager
@pytest.mark.parametrize("kind_of_eager", ["stdlib", "native", "python"])
def test_eager_task_inside_a_task(loop, run, make_task, task_kinds, task_type, kind_of_eager):
    cls = {"stdlib": asyncio.Task, "native": task_type, "python": asyncio.tasks._PyTask}[kind_of_eager]
    eager = task_kinds[kind_of_eager]
    seen = []

    async def inside(depth):
        me = eager.current_task()
        seen.append(me)
        if depth:
            child = cls(inside(depth - 1), loop=loop, eager_start=True)
            assert eager.current_task() is me
            await child
        await asyncio.sleep(0)
        assert eager.current_task() is me
        return depth

    async def outer():
        me = make_task.current_task()
        task = cls(inside(3), loop=loop, eager_start=True)
        assert make_task.current_task() is me
        assert seen[0] is task
        assert len(set(seen)) == 4
        assert me in make_task.all_tasks()
        assert eager.all_tasks() >= set(seen)
        done = cls(gives("done"), loop=loop, eager_start=True)
        assert done.done()
        assert done not in eager.all_tasks()
        assert await task == 3
        assert make_task.current_task() is me

    async def main():
        await make_task(loop, outer())

    run(main())


@needs_eager
@pytest.mark.parametrize("kind_of_eager", ["stdlib", "native", "python"])
def test_eager_task_inside_a_callback(loop, turn, task_kinds, task_type, kind_of_eager):
    cls = {"stdlib": asyncio.Task, "native": task_type, "python": asyncio.tasks._PyTask}[kind_of_eager]
    current_task = task_kinds[kind_of_eager].current_task
    seen = []

    async def inside():
        seen.append(current_task())
        await asyncio.sleep(0)
        seen.append(current_task())

    def callback():
        seen.append(current_task())
        seen.append(cls(inside(), loop=loop, eager_start=True))
        seen.append(current_task())

    loop.call_soon(callback)
    turn(3)
    task = seen[2]
    assert seen == [None, task, task, None, task]
    assert task.done()


@needs_eager
def test_eager_start_needs_a_running_loop(loop, turn, task_type):
    # Without one the stdlib's types start the ordinary way (or refuse, since 3.14).
    try:
        task = task_type(gives(1), loop=loop, eager_start=True)
    except RuntimeError:
        assert V314
        return
    assert not task.done()
    turn()
    assert task.result() == 1


def test_mixed_cycles_are_collected(loop, turn, make_task, make_future):
    fut = make_future(loop)
    task = make_task(loop, waits(fut))
    fut.task = task
    task._log_destroy_pending = False
    turn()
    refs = [weakref.ref(fut), weakref.ref(task)]
    del fut, task
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_unbound_methods_of_the_stdlib_types(loop, turn):
    # A program may call through the base class; an answer or a clean error will do, a crash will not.
    task = loop.create_task(gives(1))
    for method in (asyncio.Task.done, asyncio.Task.cancelled, asyncio.Task.get_name, asyncio.Future.get_loop):
        try:
            method(task)
        except RuntimeError as error:
            assert "initialized" in str(error)
    turn()
    assert task.result() == 1
