"""What the TCP tests share: a protocol that records its calls, connected pairs, scripts in their own process.

Everything goes over loopback. A test mostly holds one end as a transport of the loop under test, the other as
a raw non-blocking socket, so that it alone decides what the peer does. Relies on `loop.sock_*` for that end.
"""

import array
import asyncio
import contextlib
import functools
import importlib
import os
import re
import socket
import struct
import subprocess
import sys

import pytest
from tree import SUPPORT

# More than loopback's send and receive buffers together, so that some of it must wait in the transport.
BIG = 8 * 1024 * 1024


def have_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not have_ipv6(), reason="no IPv6 on loopback")


class Record:
    """What a recording protocol of any kind has: its calls by name in `events`, and waiting for them."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.transport = None
        self.events = []
        self.lost = self.loop.create_future()
        self._changed = None

    def note(self, event):
        self.events.append(event)
        self.wake()

    def wake(self):
        changed, self._changed = self._changed, None
        if changed is not None and not changed.done():
            changed.set_result(None)

    async def until(self, condition):
        """Return once condition() holds; it is looked at after each call the transport makes."""
        while not condition():
            if self._changed is None:
                self._changed = self.loop.create_future()
            await self._changed

    def connection_made(self, transport):
        self.transport = transport
        self.note("made")

    def pause_writing(self):
        self.note("pause")

    def resume_writing(self):
        self.note("resume")


class Recorder(Record, asyncio.Protocol):
    """Notes each call by name in `events` (consecutive data once) and the bytes in `received`."""

    keep_open = None  # what eof_received returns

    def __init__(self):
        super().__init__()
        self.received = bytearray()
        self.chunks = 0
        self.exception = None

    async def until_received(self, count):
        await self.until(lambda: len(self.received) >= count)
        return bytes(self.received)

    def data_received(self, data):
        assert type(data) is bytes and data
        self.received += data
        self.chunks += 1
        if self.events[-1] != "data":
            self.events.append("data")
        self.wake()

    def eof_received(self):
        self.note("eof")
        return self.keep_open

    def connection_lost(self, exc):
        self.exception = exc
        self.note("lost")
        if not self.lost.done():
            self.lost.set_result(exc)


class KeepOpen(Recorder):
    keep_open = True


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):
    """The same over get_buffer/buffer_updated with a buffer of `size` bytes."""

    size = 4096

    def __init__(self):
        super().__init__()
        self.space = bytearray(self.size)
        self.hints = []

    def get_buffer(self, sizehint):
        self.hints.append(sizehint)
        return self.space

    def buffer_updated(self, nbytes):
        Recorder.data_received(self, bytes(self.space[:nbytes]))

    def data_received(self, data):
        raise AssertionError("data_received() called on a BufferedProtocol")


def tcp_pair():
    """Two connected non-blocking TCP sockets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


def unix_pair():
    """Two connected non-blocking Unix sockets."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    return near, far


def reset(sock):
    """Close `sock` so that the peer gets RST instead of FIN."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def drop(transport):
    """Abort `transport` unless it is gone: asyncio's abort() fails on one closed with data queued."""
    if transport.get_extra_info("socket").fileno() != -1:
        transport.abort()


def shape(transport):
    """repr without what differs by class and by run."""
    return re.sub(r"fd=\d+", "fd=N", re.sub(r"^<\w+", "<T", repr(transport)))


async def turns(count=5):
    """Let the loop take some turns."""
    for _ in range(count):
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def connected(factory=Recorder):
    """A (transport, protocol, raw socket of the peer) over one TCP connection."""
    near, far = tcp_pair()
    transport, protocol = await asyncio.get_running_loop().create_connection(factory, sock=near)
    try:
        yield transport, protocol, far
    finally:
        drop(transport)
        far.close()
        await turns()


@contextlib.asynccontextmanager
async def linked(near_factory=Recorder, far_factory=Recorder):
    """The protocols of the two ends of one TCP connection, both on the running loop."""
    loop = asyncio.get_running_loop()
    near, far = tcp_pair()
    near_transport, near_protocol = await loop.create_connection(near_factory, sock=near)
    far_transport, far_protocol = await loop.connect_accepted_socket(far_factory, sock=far)
    try:
        yield near_protocol, far_protocol
    finally:
        drop(near_transport)
        drop(far_transport)
        await turns()


async def recv_exactly(sock, count):
    loop = asyncio.get_running_loop()
    data = bytearray()
    while len(data) < count:
        part = await loop.sock_recv(sock, count - len(data))
        assert part, f"end of stream after {len(data)} of {count} bytes"
        data += part
    return bytes(data)


async def recv_all(sock):
    loop = asyncio.get_running_loop()
    data = bytearray()
    while part := await loop.sock_recv(sock, 262144):
        data += part
    return bytes(data)


@functools.lru_cache(maxsize=16)
def pattern(size, seed=1):
    """`size` bytes in which no word equals its neighbour, so that loss, repeats and swaps all show."""
    start = seed << 32
    return array.array("Q", range(start, start + size // 8 + 1)).tobytes()[:size]


async def check(transport, listener):
    """The connection carries bytes; then it is dropped."""
    listener.setblocking(False)
    peer, address = await asyncio.get_running_loop().sock_accept(listener)
    with peer:
        assert address[:2] == transport.get_extra_info("sockname")[:2]
        transport.write(b"hello")
        assert await recv_exactly(peer, 5) == b"hello"
    drop(transport)
    await turns()


@contextlib.asynccontextmanager
async def stream(**options):
    """A (reader, writer, raw socket of the peer) over one TCP connection."""
    near, far = tcp_pair()
    reader, writer = await asyncio.open_connection(sock=near, **options)
    try:
        yield reader, writer, far
    finally:
        if writer.transport.get_extra_info("socket").fileno() != -1:
            writer.transport.abort()
        far.close()
        await turns()


@contextlib.asynccontextmanager
async def serving(handler, **options):
    server = await asyncio.start_server(handler, "127.0.0.1", 0, **options)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await server.wait_closed()


async def ask(address, data):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return answer


def open_fds():
    return len(os.listdir("/proc/self/fd"))


def only_loopmod(kind, reason):
    """Skip on stock asyncio: loopmod keeps the documented behaviour where asyncio does not."""
    if kind != "loopmod":
        pytest.skip(reason)


def loop_factory(kind):
    """What makes a loop of `kind`; for threads and processes of a test, beyond the fixtures."""
    if kind == "asyncio":
        return asyncio.SelectorEventLoop
    return importlib.import_module("loopmod").new_event_loop


def other_kind(kind):
    """The kind that a loop of `kind` should get along with; itself when loopmod cannot be imported."""
    if kind == "asyncio" and os.environ.get("LOOPMOD_TEST_ONLY") != "asyncio":
        with contextlib.suppress(ImportError):
            importlib.import_module("loopmod")
            return "loopmod"
    return "asyncio"


def run_script(source, *args, timeout=60):
    """Run `source` in a fresh interpreter, where `loop_factory(kind)()` makes a loop of that kind."""
    prologue = "import sys\nfrom tcp_support import loop_factory\n"
    path = [str(SUPPORT), *(entry for entry in sys.path if entry)]
    return subprocess.run(
        [sys.executable, "-c", prologue + source, *args],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=timeout,
    )
