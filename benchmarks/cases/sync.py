"""Queue, Lock, Semaphore, Event: asyncio's own code, over the loop's futures."""

import asyncio

from cases.declare import core


async def _through(queue: "asyncio.Queue[int]", operations: int) -> None:
    async def produce() -> None:
        for i in range(operations):
            await queue.put(i)

    producer = asyncio.create_task(produce())
    for _ in range(operations):
        await queue.get()
    await producer


@core(batch=5_000)
async def queue(operations: int) -> None:
    """an item through an unbounded queue"""
    await _through(asyncio.Queue(), operations)


@core(batch=2_000)
async def queue_of_1(operations: int) -> None:
    """an item through a queue that holds one"""
    await _through(asyncio.Queue(1), operations)


async def _compete(guard: "asyncio.Lock | asyncio.Semaphore", tasks: int, operations: int) -> None:
    async def work() -> None:
        for _ in range(operations // tasks):
            async with guard:
                await asyncio.sleep(0)

    for task in [asyncio.create_task(work()) for _ in range(tasks)]:
        await task


@core(batch=10_000)
async def lock_free(operations: int) -> None:
    """a lock that nobody holds, taken and released"""
    lock = asyncio.Lock()
    for _ in range(operations):
        async with lock:
            pass


@core(batch=2_000)
async def lock_contended(operations: int) -> None:
    """a lock held over a `sleep(0)`, with 10 tasks after it"""
    await _compete(asyncio.Lock(), 10, operations)


@core(batch=2_000)
async def semaphore_contended(operations: int) -> None:
    """a semaphore of 10 held over a `sleep(0)`, with 100 tasks after it"""
    await _compete(asyncio.Semaphore(10), 100, operations)


@core(batch=2_000)
async def event(operations: int) -> None:
    """a task woken by an event that 100 wait for"""
    for _ in range(operations // 100):
        happened = asyncio.Event()
        waiters = [asyncio.create_task(happened.wait()) for _ in range(100)]
        await asyncio.sleep(0)
        happened.set()
        for waiter in waiters:
            await waiter
