"""Task groups and asyncio's synchronisation tools under contention, on our futures and tasks.

Covers task/waiters.c and task/step.c. The tools are the stdlib's; each test makes many tasks meet in one of them
and checks what it promises.
"""

import asyncio
import collections

import pytest
from task_support import later


async def forever(loop, ended):
    try:
        await loop.create_future()
    finally:
        ended.append("ended")


def test_group_waits_for_all(loop, run, task_type):
    async def main():
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(later(i, i), name=f"part {i}") for i in range(5)]
            assert all(type(task) is task_type for task in tasks)
        assert [task.result() for task in tasks] == list(range(5))
        assert tasks[3].get_name() == "part 3"

    run(main())


def test_group_collects_errors_and_cancels_the_rest(loop, run):
    async def main():
        ended = []
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(forever(loop, ended))
                group.create_task(later(ValueError("one"), 2))
                group.create_task(later(KeyError("two"), 2))
        assert {type(error) for error in caught.value.exceptions} == {ValueError, KeyError}
        assert ended == ["ended"]

    run(main())


def test_group_error_in_the_body(loop, run):
    async def main():
        ended = []
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(forever(loop, ended))
                await asyncio.sleep(0)
                raise LookupError("body")
        assert [type(error) for error in caught.value.exceptions] == [LookupError]
        assert ended == ["ended"]

    run(main())


def test_group_interrupts_its_waiting_body(loop, run):
    async def main():
        with pytest.raises(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(later(ValueError()))
                await loop.create_future()
        assert asyncio.current_task().cancelling() == 0
        await asyncio.sleep(0)

    run(main())


def test_nested_groups(loop, run):
    async def inner(fail):
        async with asyncio.TaskGroup() as group:
            group.create_task(later(1, 3))
            if fail:
                group.create_task(later(ValueError("deep")))
        return "inner"

    async def main():
        async with asyncio.TaskGroup() as group:
            good = group.create_task(inner(False))
        assert good.result() == "inner"
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.TaskGroup() as group:
                group.create_task(inner(True))
        [error] = caught.value.exceptions
        assert isinstance(error, ExceptionGroup)
        assert isinstance(error.exceptions[0], ValueError)

    run(main())


def test_cancelling_a_group(loop, run):
    async def works(ended):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(forever(loop, ended))

    async def main():
        ended = []
        task = loop.create_task(works(ended))
        await later(None, 3)
        task.cancel("stop")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("stop",)
        assert ended == ["ended"] * 3
        assert task.cancelling() == 1

    run(main())


def test_group_inside_a_timeout(loop, run):
    async def main():
        ended = []
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01), asyncio.TaskGroup() as group:
                group.create_task(forever(loop, ended))
        assert ended == ["ended"]
        assert asyncio.current_task().cancelling() == 0

    run(main())


def test_queue_with_many_producers_and_consumers(loop, run):
    async def produces(queue, base):
        for i in range(50):
            await queue.put(base + i)

    async def consumes(queue, seen):
        while True:
            seen.append(await queue.get())
            queue.task_done()

    async def main():
        queue = asyncio.Queue(maxsize=3)
        seen = []
        consumers = [loop.create_task(consumes(queue, seen)) for _ in range(4)]
        await asyncio.gather(*[produces(queue, 100 * i) for i in range(5)])
        await queue.join()
        for task in consumers:
            task.cancel()
        await asyncio.gather(*consumers, return_exceptions=True)
        assert sorted(seen) == sorted(100 * i + j for i in range(5) for j in range(50))

    run(main())


def test_cancelled_getter_loses_nothing(loop, run):
    async def main():
        queue = asyncio.Queue()
        first = loop.create_task(queue.get())
        second = loop.create_task(queue.get())
        await asyncio.sleep(0)
        queue.put_nowait("item")
        first.cancel()
        assert await second == "item"
        assert first.cancelled()

    run(main())


def test_lock_admits_one_and_is_fair(loop, run):
    async def works(lock, i, inside, order):
        async with lock:
            inside.append(i)
            assert len(inside) == 1
            await asyncio.sleep(0)
            inside.pop()
            order.append(i)

    async def main():
        lock = asyncio.Lock()
        inside, order = [], []
        await asyncio.gather(*[works(lock, i, inside, order) for i in range(20)])
        assert order == list(range(20))
        assert not lock.locked()

    run(main())


def test_cancelled_waiter_hands_the_lock_on(loop, run):
    async def main():
        lock = asyncio.Lock()
        await lock.acquire()
        first = loop.create_task(lock.acquire())
        second = loop.create_task(lock.acquire())
        await asyncio.sleep(0)
        lock.release()
        first.cancel()
        assert await second is True
        assert first.cancelled()

    run(main())


def test_event_wakes_everybody(loop, run):
    async def main():
        event = asyncio.Event()
        tasks = [loop.create_task(event.wait()) for _ in range(20)]
        await asyncio.sleep(0)
        tasks[7].cancel()
        event.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert collections.Counter(map(str, results)) == {"True": 19, "": 1}

    run(main())


def test_condition(loop, run):
    async def waits(condition, box, i):
        async with condition:
            await condition.wait_for(lambda: box["level"] >= i)
            box["seen"].append(i)

    async def main():
        condition = asyncio.Condition()
        box = {"level": -1, "seen": []}
        tasks = [loop.create_task(waits(condition, box, i)) for i in range(5)]
        for level in range(5):
            await asyncio.sleep(0)
            async with condition:
                box["level"] = level
                condition.notify_all()
        await asyncio.gather(*tasks)
        assert sorted(box["seen"]) == list(range(5))

    run(main())


@pytest.mark.parametrize("kind_of_semaphore", [asyncio.Semaphore, asyncio.BoundedSemaphore])
def test_semaphore_bounds_the_number_inside(loop, run, kind_of_semaphore):
    async def works(semaphore, state):
        async with semaphore:
            state["now"] += 1
            state["most"] = max(state["most"], state["now"])
            await later(None, 3)
            state["now"] -= 1
            state["done"] += 1

    async def main():
        semaphore = kind_of_semaphore(3)
        state = {"now": 0, "most": 0, "done": 0}
        tasks = [loop.create_task(works(semaphore, state)) for _ in range(20)]
        await asyncio.sleep(0)
        tasks[10].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert state == {"now": 0, "most": 3, "done": 19}

    run(main())


def test_barrier(loop, run):
    async def meets(barrier, order, i):
        order.append("before")
        place = await barrier.wait()
        order.append("after")
        return place

    async def main():
        barrier = asyncio.Barrier(4)
        order = []
        places = await asyncio.gather(*[meets(barrier, order, i) for i in range(4)])
        assert sorted(places) == [0, 1, 2, 3]
        assert order == ["before"] * 4 + ["after"] * 4
        lonely = loop.create_task(barrier.wait())
        await asyncio.sleep(0)
        await barrier.abort()
        with pytest.raises(asyncio.BrokenBarrierError):
            await lonely

    run(main())


def test_everything_at_once(loop, run):
    async def works(queue, lock, event, semaphore, i):
        await event.wait()
        async with semaphore, lock:
            await queue.put(i)
        return await asyncio.wait_for(asyncio.shield(later(i, i % 5)), 30)

    async def main():
        tools = asyncio.Queue(), asyncio.Lock(), asyncio.Event(), asyncio.Semaphore(4)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(works(*tools, i)) for i in range(100)]
            loop.call_soon(tools[2].set)
        assert [task.result() for task in tasks] == list(range(100))
        assert sorted(tools[0].get_nowait() for _ in range(100)) == list(range(100))

    run(main())
