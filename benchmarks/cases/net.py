"""Unix, UDP, TLS; accepting, fan-out, bulk and files."""

import asyncio
import os
import ssl
import tempfile
import threading
from pathlib import Path
from typing import Any

from cases.declare import Load, core, server
from cases.tcp import PIPELINED, Echo, serve_reads


def _socket_path() -> str:
    folder = os.environ.get("BENCH_DIR") or tempfile.gettempdir()
    path = f"{folder}/server-{os.getpid()}.sock"
    Path(path).unlink(missing_ok=True)
    return path


@server(loads=(Load(), PIPELINED))
async def echo_unix() -> asyncio.AbstractServer:
    """a 1 KiB message echoed by a Protocol over a Unix socket"""
    return await asyncio.get_running_loop().create_unix_server(Echo, _socket_path(), backlog=1024)


class _DatagramEcho(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


@server(loads=(Load(), Load("1_peer", connections=1)))
async def echo_udp() -> Any:
    """a 1 KiB datagram echoed by a DatagramProtocol (64 peers, one datagram in flight for each)"""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_DatagramEcho, ("127.0.0.1", 0))
    return transport


class _Counting(asyncio.DatagramProtocol):
    """Says when as many have come as were sent, or time is up: a loop may receive more slowly than it sends."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.done = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.done.set_result(None)


async def _flood(datagrams: int, burst: int) -> None:
    loop = asyncio.get_running_loop()
    near, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
    far, counting = await loop.create_datagram_endpoint(lambda: _Counting(burst), ("127.0.0.1", 0))
    address = far.get_extra_info("sockname")
    data = b"x" * 1200
    for _ in range(datagrams // burst):
        for _ in range(burst):
            near.sendto(data, address)
        await counting.done
        counting.left, counting.done = burst, loop.create_future()
    near.close()
    far.close()
    await asyncio.sleep(0)


@core(6400, is_joined=True)
async def udp_flood_10(datagrams: int) -> None:
    """a 1,200-byte datagram sent and received by DatagramProtocols of one loop, in bursts of 10 as QUIC servers do"""
    await _flood(datagrams, 10)


@core(6400, is_joined=True, is_quick=False)
async def udp_flood_64(datagrams: int) -> None:
    """the same in bursts of 64"""
    await _flood(datagrams, 64)


def _tls_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.environ["BENCH_CERTIFICATE"])
    return context


TLS_SIZES = (
    Load(),
    Load("10k", size=10 * 1024),
    Load("100k", size=100 * 1024, connections=16),
    Load("memory", mode="idle", connections=500),
)


@server(loads=TLS_SIZES, uses_tls=True)
async def echo_tls() -> asyncio.AbstractServer:
    """a 1 KiB message echoed by a Protocol over TLS"""
    loop = asyncio.get_running_loop()
    return await loop.create_server(Echo, "127.0.0.1", 0, ssl=_tls_context(), backlog=1024)


@server(uses_tls=True)
async def echo_tls_streams() -> asyncio.AbstractServer:
    """a 1 KiB message echoed by streams over TLS"""
    return await asyncio.start_server(serve_reads, "127.0.0.1", 0, ssl=_tls_context(), backlog=1024)


def _spin() -> None:
    while True:
        pass


@server(loads=(Load("median", shows="p50"),), uses_tls=True)
async def echo_tls_beside_a_thread() -> asyncio.AbstractServer:
    """latency of a 1 KiB message over TLS while a thread computes in Python without end"""
    # On one core the system's scheduler decides who goes on, not the lock of the interpreter.
    os.sched_setaffinity(0, range(os.cpu_count() or 1))
    threading.Thread(target=_spin, daemon=True).start()
    return await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, ssl=_tls_context(), backlog=1024)


@server(loads=(Load(mode="accept", size=1, connections=16),))
async def accept() -> asyncio.AbstractServer:
    """a connection made, one byte echoed, closed by the client"""
    return await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=1024)


class _Broadcast(asyncio.Protocol):
    everyone: set[Any] = set()
    message = b"x" * 64

    def connection_made(self, transport: Any) -> None:
        self.everyone.add(transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data != b"!":
            self.transport.write(data)  # a newcomer that wants to know when it is known
            return
        for transport in self.everyone:
            transport.write(self.message)

    def connection_lost(self, exc: Exception | None) -> None:
        self.everyone.discard(self.transport)


@server(loads=(Load(mode="fanout", size=64, connections=1000),))
async def fan_out() -> asyncio.AbstractServer:
    """64 bytes written to one of 1,000 connections, all in one callback"""
    return await asyncio.get_running_loop().create_server(_Broadcast, "127.0.0.1", 0, backlog=1024)


@server(loads=(Load(mode="sink", connections=1),))
async def bulk_receive() -> asyncio.AbstractServer:
    """1 MiB received and dropped by a Protocol"""
    return await asyncio.get_running_loop().create_server(asyncio.Protocol, "127.0.0.1", 0)


class _Source(asyncio.Protocol):
    data: bytes | memoryview = b"x" * (256 * 1024)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.flows = True
        self.task: asyncio.Task[None] | None = None

    def data_received(self, data: bytes) -> None:
        self.go_on()

    def go_on(self) -> None:
        while self.flows and not self.transport.is_closing():
            self.transport.write(self.data)

    def pause_writing(self) -> None:
        self.flows = False

    def resume_writing(self) -> None:
        self.flows = True
        # Not from here: a kernel that takes all would keep the loop in this callback.
        asyncio.get_running_loop().call_soon(self.go_on)

    def connection_lost(self, exc: Exception | None) -> None:
        self.flows = False


@server(loads=(Load(mode="source", connections=1),))
async def bulk_send() -> asyncio.AbstractServer:
    """1 MiB sent by a Protocol under flow control"""
    return await asyncio.get_running_loop().create_server(_Source, "127.0.0.1", 0)


class _ViewSource(_Source):
    data = memoryview(bytes(1024 * 1024))


@server(loads=(Load(mode="source", connections=1),))
async def bulk_send_views() -> asyncio.AbstractServer:
    """1 MiB sent by a Protocol under flow control, as a memoryview of bytes"""
    return await asyncio.get_running_loop().create_server(_ViewSource, "127.0.0.1", 0)


@server(loads=(Load(size=1, answer=1024 * 1024, connections=4),))
async def sendfile() -> asyncio.AbstractServer:
    """a file of 1 MiB sent by loop.sendfile for a byte received"""
    file = tempfile.TemporaryFile()  # as long as the server
    file.write(b"x" * (1024 * 1024))
    file.flush()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        own = os.fdopen(os.dup(file.fileno()), "rb")
        try:
            while await reader.readexactly(1):
                await loop.sendfile(writer.transport, own, 0, 1024 * 1024)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)


@server(loads=(Load(mode="source", connections=1),))
async def sendfile_large() -> asyncio.AbstractServer:
    """1 MiB sent by loop.sendfile of a file of 256 MiB, again and again"""
    file = tempfile.TemporaryFile()  # as long as the server
    for _ in range(256):
        file.write(b"x" * (1024 * 1024))
    file.flush()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(1)
            while True:
                await asyncio.get_running_loop().sendfile(writer.transport, file)
        except ConnectionError:
            pass
        finally:
            writer.close()

    return await asyncio.start_server(serve, "127.0.0.1", 0)
