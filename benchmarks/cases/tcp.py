"""Echo over TCP by every way there is to write it: Protocol, BufferedProtocol, streams, sockets."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from cases.declare import SIZES, Load, server

PIPELINED = Load("pipelined", in_flight=16)
IDLE = Load("memory", mode="idle", connections=5000)
# What a message costs must not grow with the connections.
GROWTH = (Load("10_connections", connections=10), Load("10000_connections", connections=10_000))


class Echo(asyncio.Protocol):
    # Some loops' transports are no instances of asyncio.Transport, so nothing here asks what they are.
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@server(loads=(*SIZES, *GROWTH, IDLE))
async def echo_protocol() -> asyncio.AbstractServer:
    """a 1 KiB message echoed by a Protocol (64 connections, one message in flight on each)"""
    return await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=1024)


class _BufferedEcho(asyncio.BufferedProtocol):
    def __init__(self) -> None:
        self.buffer = bytearray(64 * 1024)
        self.view = memoryview(self.buffer)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.view[:nbytes]))


@server(loads=SIZES)
async def echo_buffered() -> asyncio.AbstractServer:
    """the same by a BufferedProtocol"""
    return await asyncio.get_running_loop().create_server(_BufferedEcho, "127.0.0.1", 0, backlog=1024)


async def serve_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass  # the load goes away with answers still in flight
    finally:
        writer.close()


@server(loads=(*SIZES, IDLE))
async def echo_streams() -> asyncio.AbstractServer:
    """the same through StreamReader.read and StreamWriter"""
    return await asyncio.start_server(serve_reads, "127.0.0.1", 0, backlog=1024)


@server(loads=(Load(), PIPELINED))
async def echo_readexactly() -> asyncio.AbstractServer:
    """the same through StreamReader.readexactly"""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(await reader.readexactly(1024))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@server(loads=(Load(), PIPELINED))
async def echo_readline() -> asyncio.AbstractServer:
    """the same through StreamReader.readline"""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


class SocketServer:
    """What the load needs of a server, around a listening socket that is served by coroutines."""

    def __init__(self, echo: Callable[[socket.socket], Coroutine[Any, Any, None]]) -> None:
        self._echo = echo
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=1024)]
        self.sockets[0].setblocking(False)
        self._tasks = {asyncio.get_running_loop().create_task(self._accept())}

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self.sockets[0])
            self._tasks.add(loop.create_task(self._echo(connection)))


async def _echo_by_operations(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        while data := await loop.sock_recv(connection, 65536):
            await loop.sock_sendall(connection, data)
    except ConnectionError:
        pass
    finally:
        connection.close()


@server(loads=SIZES)
async def echo_sockets() -> Any:
    """the same by sock_recv and sock_sendall"""
    return SocketServer(_echo_by_operations)


async def _echo_by_transport(connection: socket.socket) -> None:
    await asyncio.get_running_loop().connect_accepted_socket(Echo, connection)


@server
async def echo_own_socket() -> Any:
    """a 1 KiB message echoed by a Protocol whose transport was given a Python socket, as every client's is"""
    return SocketServer(_echo_by_transport)
