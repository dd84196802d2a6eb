"""Lateness of timers, and of I/O beside a task that never waits."""

import asyncio

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


_busy: list[asyncio.Task[None]] = []


@server(loads=(Load(connections=1, shows="p99"),))
async def io_beside_sleep_0() -> asyncio.AbstractServer:
    """the 99th percentile of a 1 KiB echo beside a task that does `sleep(0)` for ever"""

    async def busy() -> None:
        while True:
            await asyncio.sleep(0)

    _busy.append(asyncio.create_task(busy()))
    return await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
