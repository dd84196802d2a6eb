"""Callbacks and timers: what a loop schedules without tasks."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from typing import Any

from cases.countdown import countdown
from cases.declare import core


async def _chain(operations: int, *arguments: Any) -> None:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = operations

    def step(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step, *arguments)
        else:
            done.set_result(None)

    loop.call_soon(step, *arguments)
    await done


@core(batch=10_000)
async def call_soon(operations: int) -> None:
    """a callback that schedules itself again: one turn of the loop each"""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    left = operations

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            loop.call_soon(step)
        else:
            done.set_result(None)

    loop.call_soon(step)
    await done


@core(batch=10_000)
async def call_soon_3_arguments(operations: int) -> None:
    """the same with three arguments"""
    await _chain(operations, 1, 2, 3)


def _nothing(*arguments: Any) -> None:
    pass


@core(batch=10_000)
async def call_soon_batch(operations: int) -> None:
    """a callback with one argument, 1,000 of them scheduled at once"""
    loop = asyncio.get_running_loop()
    for _ in range(operations // 1000):
        for i in range(1000):
            loop.call_soon(_nothing, i)
        await asyncio.sleep(0)


@core(batch=10_000)
async def call_soon_threadsafe(operations: int) -> None:
    """a thread-safe call from the loop's own thread, 1,000 of them at once"""
    loop = asyncio.get_running_loop()
    for _ in range(operations // 1000):
        for _ in range(1000):
            loop.call_soon_threadsafe(_nothing)
        await asyncio.sleep(0)


@core(batch=20_000)
async def call_soon_threadsafe_other(operations: int) -> None:
    """a thread-safe call from another thread, as fast as that thread can"""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def work() -> None:
        for _ in range(operations - 1):
            loop.call_soon_threadsafe(_nothing)
        loop.call_soon_threadsafe(done.set_result, None)

    thread = threading.Thread(target=work)
    thread.start()
    await done
    thread.join()


@core(batch=300)
async def call_soon_threadsafe_wakes(operations: int) -> None:
    """a waiting loop woken by another thread, which then waits for its answer"""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    answer = threading.Event()

    def work() -> None:
        for _ in range(operations):
            answer.clear()
            loop.call_soon_threadsafe(answer.set)
            answer.wait()
        loop.call_soon_threadsafe(done.set_result, None)

    thread = threading.Thread(target=work)
    thread.start()
    await done
    thread.join()


def _never() -> None:
    raise AssertionError("a cancelled timer fired")


async def _set_and_cancel(operations: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(operations // 100):
        for _ in range(100):
            loop.call_later(60.0, _never).cancel()
        await asyncio.sleep(0)


@core(batch=10_000)
async def call_later_cancel(operations: int) -> None:
    """a timer a minute ahead, set and cancelled; the loop turns once per 100"""
    await _set_and_cancel(operations)


def _pending(count: int) -> Any:
    @contextlib.asynccontextmanager
    async def around() -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        timers = [loop.call_later(3600.0 + i * 1e-3, _never) for i in range(count)]
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()

    return around


@core(batch=10_000, around=_pending(1_000))
async def call_later_cancel_1k(operations: int) -> None:
    """the same beside 1,000 later timers"""
    await _set_and_cancel(operations)


@core(batch=10_000, around=_pending(100_000))
async def call_later_cancel_100k(operations: int) -> None:
    """the same beside 100,000 later timers"""
    await _set_and_cancel(operations)


@core(batch=10_000, around=_pending(1_000_000), is_quick=False)
async def call_later_cancel_1m(operations: int) -> None:
    """the same beside 1,000,000 later timers"""
    await _set_and_cancel(operations)


@core(batch=10_000)
async def call_later_rolling(operations: int) -> None:
    """a timeout moved on: the oldest of 1,000 timers cancelled, a new one set"""
    loop = asyncio.get_running_loop()
    timers = [loop.call_later(60.0, _never) for _ in range(1000)]
    for i in range(operations):
        timers[i % 1000].cancel()
        timers[i % 1000] = loop.call_later(60.0, _never)
        if i % 100 == 0:
            await asyncio.sleep(0)
    for timer in timers:
        timer.cancel()


@core(batch=20_000)
async def timers_fired(operations: int) -> None:
    """a timer of 0 to 0.7 ms set and fired, 20,000 at once: nearly all are due when the last is set"""
    loop = asyncio.get_running_loop()
    fire, done = countdown(operations)
    for i in range(operations):
        loop.call_later(i * 7 % 8 * 1e-4, fire)
    await done


@core(batch=30_000)
async def timers_spread(operations: int) -> None:
    """a timer set and fired, 30,000 of them spread evenly over 0.5 s, set in no order"""
    loop = asyncio.get_running_loop()
    fire, done = countdown(operations)
    for i in range(operations):
        loop.call_later(i * 7919 % operations * 0.5 / operations, fire)
    await done
