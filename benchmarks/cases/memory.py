"""Memory of what a program may have many of. What the process grew by is divided by the count."""

import asyncio
from typing import Any

from cases.declare import memory


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()


@memory(count=50_000)
async def memory_task(count: int) -> list[Any]:
    """a task that waits for a future, with its coroutine and the future"""
    tasks = [asyncio.create_task(_forever()) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


def _nothing() -> None:
    pass


@memory(count=100_000)
async def memory_timer(count: int) -> list[Any]:
    """a pending timer"""
    loop = asyncio.get_running_loop()
    return [loop.call_later(3600.0, _nothing) for _ in range(count)]


@memory(count=100_000)
async def memory_future(count: int) -> list[Any]:
    """a pending future"""
    loop = asyncio.get_running_loop()
    return [loop.create_future() for _ in range(count)]
