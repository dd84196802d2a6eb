"""What threads do in make bench-threads: core cases of cases/, echo within one loop, and the control.

In echo both ends of each connection are the same loop's, over TCP on the loopback interface: a load in another
process would want a processor of its own, and there are as many threads as processors. Each client has a message
of its own: that of a global would be counted by all threads. `asyncio.sleep` is such a global in effect: asyncio's
module has a `__getattr__`, so its attributes are looked up anew each time, with the counts of dict and function
written; `_by_name` are cases without. And constants of code other than None, strings and small ints, and functions
of a module, are counted by every thread that holds them; in `_own` each thread has its own. Relies on cases/.
"""

import asyncio
import contextlib
from asyncio import create_task, sleep
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from cases import CASES
from cases.countdown import countdown
from cases.tcp import Echo, serve_reads

Batch = Callable[[int], Awaitable[None]]

CONNECTIONS = 16
SIZE = 1024
CONTROL_BATCH = 50_000


@dataclass(frozen=True)
class Workload:
    operation: str
    batch: int
    opened: Callable[[], AbstractAsyncContextManager[Batch]]


def count(operations: int) -> int:
    """The control: Python code that shares nothing with another thread."""
    total = 0
    for i in range(operations):
        total += i & 15
    return total


class _Client(asyncio.Protocol):
    """Sends a message anew when all of it is back, until there were enough."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.message = b"x" * SIZE

    def begin(self, messages: int) -> asyncio.Future[None]:
        self.left, self.missing = messages, len(self.message)
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(self.message)
        return self.done

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing:
            return
        self.left -= 1
        if self.left:
            self.missing = len(self.message)
            self.transport.write(self.message)
        else:
            self.done.set_result(None)


@contextlib.asynccontextmanager
async def _protocols() -> AsyncIterator[Batch]:
    """a 1 KiB message to a Protocol and back to another one of the same loop, 16 connections"""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clients = [(await loop.create_connection(_Client, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]

    async def batch(operations: int) -> None:
        for done in [client.begin(operations // CONNECTIONS) for client in clients]:
            await done

    yield batch
    for client in clients:
        client.transport.close()
    server.close()
    await asyncio.sleep(0.01)  # the servers' ends see it


@contextlib.asynccontextmanager
async def _streams() -> AsyncIterator[Batch]:
    """the same by streams at both ends"""
    server = await asyncio.start_server(serve_reads, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CONNECTIONS)]

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, messages: int) -> None:
        message = b"x" * SIZE
        for _ in range(messages):
            writer.write(message)
            await reader.readexactly(len(message))

    async def batch(operations: int) -> None:
        await asyncio.gather(*[exchange(*client, operations // CONNECTIONS) for client in clients])

    yield batch
    for _, writer in clients:
        writer.close()
    server.close()
    await asyncio.sleep(0.01)


def _of_case(name: str) -> Workload:
    case = CASES[name]

    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Batch]:
        yield case.function

    return Workload(case.operation, case.batch, opened)


async def _nothing() -> None:
    pass


@contextlib.asynccontextmanager
async def _tasks_by_name() -> AsyncIterator[Batch]:
    """the same, with `create_task` imported by name"""

    async def batch(operations: int) -> None:
        for _ in range(operations):
            await create_task(_nothing())

    yield batch


@contextlib.asynccontextmanager
async def _sleep_by_name() -> AsyncIterator[Batch]:
    """the same, with `sleep` imported by name"""

    async def batch(operations: int) -> None:
        for _ in range(operations):
            await sleep(0)

    yield batch


@contextlib.asynccontextmanager
async def _timers_own() -> AsyncIterator[Batch]:
    """a timer of 0 to 0.7 ms set and fired, 20,000 at once, with delays and a callback of the thread's own"""
    loop = asyncio.get_running_loop()
    delays = [float(i) / 10_000 for i in range(8)]

    async def batch(operations: int) -> None:
        fire, done = countdown(operations)
        for i in range(operations):
            loop.call_later(delays[i & 7], fire)
        await done

    yield batch


@contextlib.asynccontextmanager
async def _cancelled_own() -> AsyncIterator[Batch]:
    """a timer a minute ahead, set and cancelled, with a delay and a callback of the thread's own"""
    loop = asyncio.get_running_loop()
    delay = float(str(60))

    def never() -> None:
        raise AssertionError("a cancelled timer fired")

    async def batch(operations: int) -> None:
        for _ in range(operations // 100):
            for _ in range(100):
                loop.call_later(delay, never).cancel()
            await sleep(0)

    yield batch


def _workload(batch: int, opened: Callable[[], AbstractAsyncContextManager[Batch]]) -> Workload:
    return Workload(" ".join((opened.__doc__ or "").split()), batch, opened)


_CORE = (
    "create_task_await",
    "gather_100",
    "timers_fired",
    "call_later_cancel",
    "future_made_and_set",
    "call_soon",
    "sleep_0",
    "sleep_0_100_tasks",
)
WORKLOADS = {name: _of_case(name) for name in _CORE} | {
    "create_task_by_name": _workload(2_000, _tasks_by_name),
    "sleep_0_by_name": _workload(5_000, _sleep_by_name),
    "timers_fired_own": _workload(20_000, _timers_own),
    "call_later_cancel_own": _workload(10_000, _cancelled_own),
    "echo_protocol": _workload(64 * CONNECTIONS, _protocols),
    "echo_streams": _workload(64 * CONNECTIONS, _streams),
}
