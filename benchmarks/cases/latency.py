"""Lateness of timers, and of I/O beside a task that never waits."""

import asyncio
import time

from cases.declare import Load, latency, server
from cases.tcp import Echo


async def _lateness(delay: float) -> list[float]:
    loop = asyncio.get_running_loop()
    late = []
    for _ in range(100):
        began = loop.time()
        await asyncio.sleep(delay)
        late.append(loop.time() - began - delay)
    return late


@latency
async def late_0_2_ms() -> list[float]:
    """how late a sleep of 0.2 ms is"""
    return await _lateness(0.0002)


@latency
async def late_0_6_ms() -> list[float]:
    """how late a sleep of 0.6 ms is"""
    return await _lateness(0.0006)


@latency
async def late_1_2_ms() -> list[float]:
    """how late a sleep of 1.2 ms is"""
    return await _lateness(0.0012)


@latency
async def late_10_ms() -> list[float]:
    """how late a sleep of 10 ms is"""
    return await _lateness(0.010)


async def _lateness_of_spread(timers: int) -> list[float]:
    """By the system's clock, since some loops' own stands still while callbacks run."""
    loop = asyncio.get_running_loop()
    late: list[float] = []
    for _ in range(max(1, min(20, 100 // timers))):
        done = loop.create_future()
        left = timers

        def fire(due: float, done: "asyncio.Future[None]" = done) -> None:
            nonlocal left
            late.append(time.monotonic() - due)
            left -= 1
            if not left:
                done.set_result(None)

        # All are set, in no order, before the first is due: 30 µs is more than any loop needs for one.
        first = time.monotonic() + max(0.05, timers * 3e-5)
        for i in range(timers):
            due = first + (i * 7919 + 1) % timers * 0.5 / timers
            loop.call_later(max(0.0, due - time.monotonic()), fire, due)
        await done
    return late


@latency
async def late_spread_2() -> list[float]:
    """how late a timer is, 2 of them spread over 0.5 s"""
    return await _lateness_of_spread(2)


@latency
async def late_spread_20() -> list[float]:
    """how late a timer is, 20 of them spread over 0.5 s"""
    return await _lateness_of_spread(20)


@latency
async def late_spread_200() -> list[float]:
    """how late a timer is, 200 of them spread over 0.5 s"""
    return await _lateness_of_spread(200)


@latency
async def late_spread_2000() -> list[float]:
    """how late a timer is, 2,000 of them spread over 0.5 s"""
    return await _lateness_of_spread(2_000)


@latency
async def late_spread_30000() -> list[float]:
    """how late a timer is, 30,000 of them spread over 0.5 s"""
    return await _lateness_of_spread(30_000)


_busy: list[asyncio.Task[None]] = []


@server(loads=(Load(connections=1, shows="p99"),))
async def io_beside_sleep_0() -> asyncio.AbstractServer:
    """the 99th percentile of a 1 KiB echo beside a task that does `sleep(0)` for ever"""

    async def busy() -> None:
        while True:
            await asyncio.sleep(0)

    _busy.append(asyncio.create_task(busy()))
    return await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
