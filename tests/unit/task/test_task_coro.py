"""`task._coro` replaced: tools put a coroutine of theirs around a task's, as asyncio's task in Python allows.

The oracle is asyncio's own task in Python: its task in C has no setter. Covers task/task_type.c and task/step.c.
"""

import asyncio
import gc
import weakref

import pytest


@pytest.fixture
def make_swappable(kind, loop):
    """Make a task whose coroutine may be replaced."""
    if kind == "asyncio":
        python_task = asyncio.tasks._PyTask
        return lambda coro: python_task(coro, loop=loop)
    return loop.create_task


async def counted(seen, turns, result):
    for i in range(turns):
        seen.append((result, i))
        await asyncio.sleep(0)
    return result


def test_before_the_first_step(loop, make_swappable):
    seen = []
    first, second = counted(seen, 2, "first"), counted(seen, 2, "second")
    task = make_swappable(first)
    task._coro = second
    assert task._coro is second and task.get_coro() is second
    assert loop.run_until_complete(task) == "second"
    assert seen == [("second", 0), ("second", 1)]
    first.close()


def test_from_within_a_step(loop, make_swappable):
    """The step that runs ends with the coroutine that it began with; the next one goes on with the new one."""
    seen = []

    async def swaps():
        task._coro = second
        seen.append("still here")
        await asyncio.sleep(0)
        seen.append("never here")

    first, second = swaps(), counted(seen, 1, "second")
    task = make_swappable(first)
    assert loop.run_until_complete(task) == "second"
    assert seen == ["still here", ("second", 0)]
    first.close()


def test_while_it_waits(loop, make_swappable):
    async def waits(future):
        return await future

    async def main():
        future = loop.create_future()
        task = make_swappable(waits(future))
        await asyncio.sleep(0)
        old, task._coro = task._coro, counted([], 1, "other")
        future.set_result(1)
        assert await task == "other"
        old.close()

    loop.run_until_complete(main())


def test_cancelling_reaches_the_new_one(loop, make_swappable):
    async def sleeps():
        await asyncio.sleep(3600)

    async def resists():
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "resisted"

    async def main():
        task = make_swappable(sleeps())
        task._coro.close()
        task._coro = resists()
        await asyncio.sleep(0)
        task.cancel()
        return await task

    assert loop.run_until_complete(main()) == "resisted"


def test_what_was_replaced_is_let_go_of(loop, make_swappable):
    class Marker:
        pass

    async def holds(marker):
        await asyncio.sleep(0)

    marker = Marker()
    gone = weakref.ref(marker)
    first = holds(marker)
    task = make_swappable(first)
    first.close()
    del marker, first
    task._coro = counted([], 0, 1)
    gc.collect()
    assert gone() is None
    assert loop.run_until_complete(task) == 1


@pytest.mark.parametrize("junk", [1, "text", object()], ids=lambda value: type(value).__name__)
def test_junk(loop, make_swappable, junk):
    """What cannot be sent to fails the task."""
    task = make_swappable(counted([], 1, 1))
    old, task._coro = task._coro, junk
    old.close()
    loop.run_until_complete(asyncio.wait([task]))
    assert type(task.exception()) is AttributeError


def test_no_deleting(kind, loop, make_swappable):
    if kind == "asyncio":
        pytest.skip("asyncio's task in Python breaks without it")
    task = make_swappable(counted([], 1, 1))
    with pytest.raises(AttributeError):
        del task._coro
    assert loop.run_until_complete(task) == 1
