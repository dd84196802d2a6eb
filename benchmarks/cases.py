"""What is measured: one function per case, in plain asyncio code that knows nothing of the loop it runs on.

Three kinds, each with a decorator that enters the function in CASES:

  @core      `async def case(operations)`: does that many operations; sample.py repeats and times it
  @process   `def case(loop_factory, operations)`: the same for what lies around a loop's life
  @server    `async def case()`: starts a server on the loopback interface or on an abstract Unix socket and
             returns it; load.c drives it and reads the server's CPU clock

The number given to the decorator is the operations of one batch: enough for a few milliseconds, so that
reading the clock between batches costs nothing. Relies on the standard library alone.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    operation: str  # what one operation is, for the reader of a table
    function: Callable[..., Any]
    batch: int = 0  # unused for a server: there the load decides


CASES: dict[str, Case] = {}


def _enter(kind: str, batch: int = 0) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        name = function.__name__
        CASES[name] = Case(name, kind, (function.__doc__ or "").strip(), function, batch)
        return function

    return enter


def core(batch: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return _enter("core", batch)


def process(batch: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return _enter("process", batch)


server = _enter("server")


# Callbacks and timers


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
async def call_later_cancel(operations: int) -> None:
    """a timer a minute ahead, set and cancelled; the loop turns once per 100"""
    loop = asyncio.get_running_loop()

    def never() -> None:
        raise AssertionError("a cancelled timer fired")

    for _ in range(operations // 100):
        for _ in range(100):
            loop.call_later(60.0, never).cancel()
        await asyncio.sleep(0)


# Tasks and futures


@core(batch=5_000)
async def sleep_0(operations: int) -> None:
    """one `await asyncio.sleep(0)` of a single task"""
    for _ in range(operations):
        await asyncio.sleep(0)


async def _nothing() -> None:
    pass


async def _one_switch() -> None:
    await asyncio.sleep(0)


@core(batch=2_000)
async def create_task_await(operations: int) -> None:
    """a task of an empty coroutine, created and awaited"""
    for _ in range(operations):
        await asyncio.create_task(_nothing())


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


# The life of a loop


@process(batch=20)
def start_stop(loop_factory: Callable[[], asyncio.AbstractEventLoop], operations: int) -> None:
    """a loop made, an empty coroutine run on it, all closed, as `asyncio.run` does"""
    for _ in range(operations):
        # `asyncio.run` itself takes a loop factory only from Python 3.12 on.
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_nothing())


# TCP


class _Echo(asyncio.Protocol):
    # Some loops' transports are no instances of asyncio.Transport, so nothing here asks what they are.
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@server
async def echo_protocol() -> asyncio.AbstractServer:
    """a 1 KiB message echoed by a Protocol (64 connections, one message in flight on each)"""
    return await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)


@server
async def echo_streams() -> asyncio.AbstractServer:
    """a 1 KiB message echoed through StreamReader and StreamWriter (64 connections, as above)"""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass  # the load goes away with answers still in flight
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


# Unix sockets


@server
async def echo_unix() -> asyncio.AbstractServer:
    """a 1 KiB message echoed by a Protocol over a Unix socket (64 connections, as above)"""
    # Abstract: nobody has to remove a file after a server that was killed.
    return await asyncio.get_running_loop().create_unix_server(_Echo, f"\0loopmod-bench-{os.getpid()}")


class _SocketServer:
    """What load.c needs of a server, around a listening socket that is served by coroutines."""

    def __init__(self) -> None:
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=128)]
        self.sockets[0].setblocking(False)
        self._tasks = {asyncio.get_running_loop().create_task(self._accept())}

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self.sockets[0])
            self._tasks.add(loop.create_task(self._echo(connection)))

    async def _echo(self, connection: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := await loop.sock_recv(connection, 65536):
                await loop.sock_sendall(connection, data)
        except ConnectionError:
            pass  # as above
        finally:
            connection.close()


@server
async def echo_sockets() -> Any:
    """a 1 KiB message echoed by sock_recv and sock_sendall (64 connections, as above)"""
    return _SocketServer()
