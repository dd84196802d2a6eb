"""The current task and the set of all tasks, seen from steps, callbacks, other loops and other threads.

Both are process-wide books that every kind of task writes: `make_task` runs each test with native, stdlib and pure
Python tasks, and names the books of each. Covers task/registry.c.
"""

import asyncio
import gc
import threading
import weakref

import pytest
from task_support import gives


def test_no_current_task_outside(loop, turn):
    assert asyncio.current_task(loop) is None
    with pytest.raises(RuntimeError):
        asyncio.current_task()
    task = loop.create_task(gives())
    assert asyncio.current_task(loop) is None
    turn()
    assert task.done()
    assert asyncio.current_task(loop) is None


def test_current_task_of_each_step(loop, run, make_task, make_other_task):
    async def looks(seen, current_task):
        me = current_task()
        for _ in range(5):
            await asyncio.sleep(0)
            seen.append(current_task() is me)
            seen.append(current_task(loop) is me)
        return me

    async def main():
        seen = []
        kinds = [make_task, make_other_task] * 3
        tasks = [make(loop, looks(seen, make.current_task)) for make in kinds]
        assert await asyncio.gather(*tasks) == tasks
        assert seen == [True] * 60

    run(main())


def test_no_current_task_in_callbacks(loop, run, make_task):
    seen = []

    def look(*args):
        seen.append((asyncio.current_task(), make_task.current_task()))

    async def steps():
        loop.call_soon(look)
        await asyncio.sleep(0)
        loop.call_soon(look)
        fut = loop.create_future()
        fut.add_done_callback(look)
        fut.set_result(None)
        loop.call_later(0, look)
        await asyncio.sleep(0.001)
        await fut

    async def main():
        task = make_task(loop, steps())
        task.add_done_callback(look)
        await task
        await asyncio.sleep(0)
        assert seen == [(None, None)] * 5

    run(main())


def test_no_current_task_after_an_exit(loop, turn, make_task):
    async def leaves():
        raise SystemExit

    task = make_task(loop, leaves())
    with pytest.raises(SystemExit):
        turn()
    assert asyncio.current_task(loop) is None
    assert make_task.current_task(loop) is None
    task.exception()
    turn()


def test_current_task_while_awaited_code_raises(loop, run, make_task):
    async def waits():
        me = make_task.current_task()
        with pytest.raises(ValueError):
            fut = loop.create_future()
            loop.call_soon(fut.set_exception, ValueError())
            await fut
        assert make_task.current_task() is me
        with pytest.raises(asyncio.CancelledError):
            me.cancel()
            await asyncio.sleep(0)
        assert make_task.current_task() is me

    async def main():
        await make_task(loop, waits())

    run(main())


def test_current_task_seen_from_another_thread(loop, run, make_task):
    def in_thread(seen):
        seen.append(make_task.current_task(loop))
        with pytest.raises(RuntimeError, match="no running event loop"):
            make_task.current_task()
        seen.append("asked")

    async def blocks(seen):
        thread = threading.Thread(target=in_thread, args=(seen,))
        thread.start()
        thread.join()

    async def main():
        seen = []
        task = make_task(loop, blocks(seen))
        await task
        assert seen == [task, "asked"]

    run(main())


def test_current_task_of_another_loop(loop, run, new_loop):
    other = new_loop()

    async def main():
        assert asyncio.current_task(other) is None
        assert asyncio.all_tasks(other) == set()

    run(main())


def test_all_tasks(loop, run, make_task, make_other_task):
    def all_tasks(*where):
        return asyncio.all_tasks(*where) | make_task.all_tasks(*where) | make_other_task.all_tasks(*where)

    async def main():
        me = asyncio.current_task()
        assert asyncio.all_tasks() == {me}
        fut = loop.create_future()

        async def waits():
            await fut

        one, other = make_task(loop, waits()), make_other_task(loop, waits())
        tasks = {one, other}
        assert all_tasks() == tasks | {me}
        assert one in make_task.all_tasks()
        assert other in make_other_task.all_tasks()
        await asyncio.sleep(0)
        assert all_tasks(loop) == tasks | {me}
        fut.set_result(None)
        assert all_tasks() == tasks | {me}
        await asyncio.sleep(0)
        assert all_tasks() == {me}

    run(main())


@pytest.mark.parametrize("end", ["result", "error", "cancel"])
def test_ended_tasks_are_not_among_all_tasks(loop, turn, make_task, end):
    async def ends():
        if end == "error":
            raise ValueError
        await asyncio.sleep(0)

    task = make_task(loop, ends())
    assert make_task.all_tasks(loop) == {task}
    if end == "cancel":
        task.cancel()
        assert make_task.all_tasks(loop) == {task}
    turn(2)
    assert task.done()
    assert make_task.all_tasks(loop) == set()
    task._log_traceback = False


def test_all_tasks_of_two_loops(loop, new_loop, turn):
    other = new_loop()
    mine, others = loop.create_task(gives()), other.create_task(gives())
    assert asyncio.all_tasks(loop) == {mine}
    assert asyncio.all_tasks(other) == {others}
    turn()
    assert asyncio.all_tasks(loop) == set()
    assert asyncio.all_tasks(other) == {others}
    other.run_until_complete(others)
    with pytest.raises(RuntimeError):
        asyncio.all_tasks()


def test_all_tasks_from_another_thread(loop, run):
    def in_thread():
        return asyncio.all_tasks(loop)

    async def main():
        tasks = {loop.create_task(asyncio.sleep(30)) for _ in range(10)}
        found = await loop.run_in_executor(None, in_thread)
        assert found == tasks | {asyncio.current_task()}
        for task in tasks:
            task.cancel()

    run(main())


def test_books_hold_pending_tasks_weakly(loop, turn, errors):
    async def waits():
        await loop.create_future()

    task = loop.create_task(waits())
    turn()
    ref = weakref.ref(task)
    assert asyncio.all_tasks(loop) == {task}
    del task
    gc.collect()
    assert [context["message"] for context in errors] == ["Task was destroyed but it is pending!"]
    errors.clear()
    gc.collect()
    assert ref() is None
    assert asyncio.all_tasks(loop) == set()


def test_books_let_go_of_finished_tasks(loop, turn):
    task = loop.create_task(gives())
    turn()
    ref = weakref.ref(task)
    del task
    # The loop may drop its last reference only with the next step.
    turn()
    gc.collect()
    assert ref() is None


def test_all_tasks_while_tasks_come_and_go(loop, run):
    async def brief(i):
        for _ in range(i % 4):
            await asyncio.sleep(0)
        assert asyncio.current_task() in asyncio.all_tasks()

    async def main():
        me = asyncio.current_task()
        tasks = [loop.create_task(brief(i)) for i in range(200)]
        while len(asyncio.all_tasks()) > 1:
            assert asyncio.all_tasks() == {task for task in tasks if not task.done()} | {me}
            await asyncio.sleep(0)
        assert all(task.done() for task in tasks)
        await asyncio.gather(*tasks)

    run(main())


def test_nested_loop_in_a_thread_has_books_of_its_own(loop, run, new_loop):
    other = new_loop()

    def in_thread():
        async def looks():
            return asyncio.current_task(), asyncio.all_tasks(), asyncio.current_task(loop) is None

        task = other.create_task(looks())
        current, everything, _ = other.run_until_complete(task)
        return current is task, everything == {task}

    async def main():
        assert await loop.run_in_executor(None, in_thread) == (True, True)

    run(main())
