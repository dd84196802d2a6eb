"""Tasks that are over leave nothing behind: neither to the slot of the current task nor to the tasks after them.

Covers task/task_make.c and task/registry.c. The memory of a dead task may serve the next one, and the slot may name
a task that is over until other code runs; these tests look for a way to notice.
"""

import asyncio
import gc
import weakref

from task_support import gives


def test_a_task_that_is_over_is_not_current(loop, turn):
    seen = []
    kept = loop.create_task(gives())
    loop.call_soon(lambda: seen.append(asyncio.current_task(loop)))
    turn()
    assert kept.done()
    assert seen == [None]


def test_its_callbacks_see_no_current_task(loop, turn):
    seen = []
    kept = loop.create_task(gives())
    kept.add_done_callback(lambda task: seen.append((task is kept, asyncio.current_task(loop))))
    turn(2)
    assert seen == [(True, None)]


def test_the_task_of_the_next_step_is_current(loop, run):
    async def looks():
        return asyncio.current_task()

    async def main():
        me = asyncio.current_task()
        for _ in range(5):
            over, looking = asyncio.create_task(gives()), asyncio.create_task(looks())
            await over
            assert asyncio.current_task() is me
            assert await looking is looking

    run(main())


def test_nothing_keeps_an_awaited_task(loop, run):
    async def main():
        task = asyncio.create_task(gives())
        ref = weakref.ref(task)
        await task
        del task
        await asyncio.sleep(0)
        gc.collect()
        assert ref() is None

    run(main())


def test_nothing_keeps_a_task_while_the_loop_waits(loop, run):
    refs = []

    async def main():
        holders = [asyncio.create_task(gives())]
        refs.append(weakref.ref(holders[0]))
        loop.call_later(0.01, holders.clear)
        await asyncio.sleep(0.03)
        gc.collect()
        assert refs[0]() is None

    run(main())


def test_a_new_task_has_nothing_of_a_dead_one(loop, run):
    async def main():
        refs = []
        for i in range(10):
            task = asyncio.create_task(gives(i))
            assert not hasattr(task, "mark")
            assert not task.done()
            assert task.cancelling() == 0
            task.mark = i
            if i % 2:
                task.add_done_callback(lambda task: None)
                task.set_name(f"task {i}")
            if i == 5:
                task.cancel("away")
                try:
                    await task
                except asyncio.CancelledError as exc:
                    assert exc.args == ("away",)
            else:
                assert await task == i
            assert i % 2 or task.get_name().startswith("Task-")
            refs.append(weakref.ref(task))
            del task
        await asyncio.sleep(0)
        gc.collect()
        assert [ref() for ref in refs] == [None] * 10

    run(main())


def test_every_pending_task_that_dies_is_reported(loop, turn):
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context["message"]))

    async def waits():
        await loop.create_future()

    for _ in range(5):
        loop.create_task(waits())
        turn()
        gc.collect()
    assert reports == ["Task was destroyed but it is pending!"] * 5


def test_attributes_of_a_task_end_with_it(loop, run):
    async def main():
        for i in range(5):
            task = asyncio.create_task(gives())
            assert not hasattr(task, "note")
            task.note = i
            assert task.note == i
            await task
            del task

    run(main())
