"""Tasks and futures."""

import asyncio
import contextlib
import contextvars
import sys
from collections.abc import AsyncIterator

from cases.declare import core


@core(batch=5_000)
async def sleep_0(operations: int) -> None:
    """one `await asyncio.sleep(0)` of a single task"""
    for _ in range(operations):
        await asyncio.sleep(0)


async def _switch(times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(0)


@core(batch=10_000)
async def sleep_0_100_tasks(operations: int) -> None:
    """one `await asyncio.sleep(0)` of one of 100 tasks that take turns"""
    for task in [asyncio.create_task(_switch(operations // 100)) for _ in range(100)]:
        await task


async def _nothing() -> None:
    pass


async def _one_switch() -> None:
    await asyncio.sleep(0)


@core(batch=20_000)
async def await_done_future(operations: int) -> None:
    """an await of a future that is done"""
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)
    for _ in range(operations):
        await future


@core(batch=10_000)
async def future_made_and_set(operations: int) -> None:
    """a future made, its result set, awaited"""
    loop = asyncio.get_running_loop()
    for _ in range(operations):
        future = loop.create_future()
        future.set_result(None)
        await future


@core(batch=5_000)
async def future_pingpong(operations: int) -> None:
    """one wake-up of a task by another through a fresh future"""
    loop = asyncio.get_running_loop()
    turns = [loop.create_future(), loop.create_future()]

    async def player(me: int, other: int) -> None:
        for _ in range(operations // 2):
            await turns[me]
            turns[me] = loop.create_future()
            turns[other].set_result(None)

    players = [asyncio.create_task(player(0, 1)), asyncio.create_task(player(1, 0))]
    turns[0].set_result(None)
    for each in players:
        await each


@core(batch=2_000)
async def create_task_await(operations: int) -> None:
    """a task of an empty coroutine, created and awaited"""
    for _ in range(operations):
        await asyncio.create_task(_nothing())


@core(batch=100_000)
async def tasks_100k(operations: int) -> None:
    """a task, with 100,000 of them alive at once"""
    for task in [asyncio.create_task(_one_switch()) for _ in range(operations)]:
        await task


@core(batch=2_000)
async def task_in_context(operations: int) -> None:
    """a task that sets a context variable, created and awaited"""
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def change() -> None:
        variable.set(variable.get() + 1)

    for _ in range(operations):
        await asyncio.create_task(change())


@core(batch=20)
async def gather_100(operations: int) -> None:
    """one gather of 100 empty coroutines"""
    for _ in range(operations):
        await asyncio.gather(*[_nothing() for _ in range(100)])


@core(batch=20)
async def gather_100_sleep(operations: int) -> None:
    """one gather of 100 coroutines that each do `sleep(0)`"""
    for _ in range(operations):
        await asyncio.gather(*[_one_switch() for _ in range(100)])


@core(batch=2_000)
async def task_group(operations: int) -> None:
    """a task in a TaskGroup of 100"""
    for _ in range(operations // 100):
        async with asyncio.TaskGroup() as group:
            for _ in range(100):
                group.create_task(_nothing())


if sys.version_info >= (3, 12):

    @contextlib.asynccontextmanager
    async def _eagerly() -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        yield
        loop.set_task_factory(None)

    @core(batch=2_000, around=_eagerly)
    async def eager_gather_10(operations: int) -> None:
        """a task started eagerly that ends at once, in a gather of 10"""
        for _ in range(operations // 10):
            await asyncio.gather(*[_nothing() for _ in range(10)])

    @core(batch=2_000, around=_eagerly, is_quick=False)
    async def eager_gather_10_sleep(operations: int) -> None:
        """a task started eagerly that does `sleep(0)`, in a gather of 10"""
        for _ in range(operations // 10):
            await asyncio.gather(*[_one_switch() for _ in range(10)])

    @core(batch=2_000, around=_eagerly)
    async def eager_task_group_10(operations: int) -> None:
        """a task started eagerly that ends at once, in a TaskGroup of 10"""
        for _ in range(operations // 10):
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(_nothing())

    @core(batch=2_000, around=_eagerly, is_quick=False)
    async def eager_task_group_10_sleep(operations: int) -> None:
        """a task started eagerly that does `sleep(0)`, in a TaskGroup of 10"""
        for _ in range(operations // 10):
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(_one_switch())


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


@core(batch=2_000)
async def cancel(operations: int) -> None:
    """a waiting task cancelled, 100 at once"""
    for _ in range(operations // 100):
        tasks = [asyncio.create_task(_forever()) for _ in range(100)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@core(batch=2_000)
async def wait_for(operations: int) -> None:
    """a wait_for of a coroutine that does `sleep(0)`"""
    for _ in range(operations):
        await asyncio.wait_for(_one_switch(), 60)


@core(batch=2_000)
async def timeout(operations: int) -> None:
    """an `async with timeout()` around a `sleep(0)`"""
    for _ in range(operations):
        async with asyncio.timeout(60):
            await asyncio.sleep(0)


@core(batch=2_000)
async def shield(operations: int) -> None:
    """a shielded coroutine that does `sleep(0)`"""
    for _ in range(operations):
        await asyncio.shield(_one_switch())


@core(batch=5_000)
async def async_generator(operations: int) -> None:
    """an item of an async generator that does `sleep(0)` before each tenth"""

    async def items() -> AsyncIterator[int]:
        for i in range(operations):
            if i % 10 == 0:
                await asyncio.sleep(0)
            yield i

    async for _ in items():
        pass
