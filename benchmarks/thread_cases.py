"""What threads do in make bench-threads: core cases of cases/, echo within one loop, and the control.

In echo both ends of each connection are the same loop's, over TCP on the loopback interface: a load in another process
would want a processor of its own, and there are as many threads as processors. Relies on cases/.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from cases import CASES
from cases.tcp import Echo, serve_reads

Batch = Callable[[int], Awaitable[None]]

CONNECTIONS = 16
MESSAGE = b"x" * 1024
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

    def begin(self, messages: int) -> asyncio.Future[None]:
        self.left, self.missing = messages, len(MESSAGE)
        self.done = asyncio.get_running_loop().create_future()
        self.transport.write(MESSAGE)
        return self.done

    def data_received(self, data: bytes) -> None:
        self.missing -= len(data)
        if self.missing:
            return
        self.left -= 1
        if self.left:
            self.missing = len(MESSAGE)
            self.transport.write(MESSAGE)
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
        for _ in range(messages):
            writer.write(MESSAGE)
            await reader.readexactly(len(MESSAGE))

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
    "echo_protocol": Workload(" ".join((_protocols.__doc__ or "").split()), 64 * CONNECTIONS, _protocols),
    "echo_streams": Workload(" ".join((_streams.__doc__ or "").split()), 64 * CONNECTIONS, _streams),
}
