"""Target `buffers`: any object as bytes to write and as room to read into.

Views that are not contiguous, of items of several bytes, of several dimensions, empty, released or read-only;
arrays, ctypes and mapped memory, subclasses of bytes, objects that are no buffers. They are written to streams,
datagrams and pipes, alone and as lists, sent and received into by sock_* calls, and are what a BufferedProtocol
gives as its room. What holds: a call raises TypeError, ValueError or BufferError, or the connection ends by one of
them, or its bytes arrive as `memoryview(data).tobytes()` has them, once and in their order; what is a flat buffer of
bytes is always taken. asyncio, which counts items in place of bytes here and there and asserts what it is given, is
no oracle for this.
"""

import array
import asyncio
import contextlib
import ctypes
import mmap
import os
import socket

from fuzz_draw import Descriptors, Draw, expect, pattern, run_turns

MOST_STEPS = 24
TURNS = 8


class OddBytes(bytes):
    def __len__(self):
        return 1


class OddArray(bytearray):
    pass


class Structure(ctypes.Structure):
    _fields_ = [("a", ctypes.c_uint16), ("b", ctypes.c_uint64)]


def released(data):
    view = memoryview(data)
    view.release()
    return view


def mapped(data):
    area = mmap.mmap(-1, max(1, len(data)))
    area[: len(data)] = data
    return area


def whole(data, size):
    return data[: len(data) - len(data) % size]


SHAPES = (
    bytes, bytearray, memoryview, OddBytes, OddArray, mapped, released,
    lambda data: memoryview(bytearray(data)),
    lambda data: memoryview(data)[::2],
    lambda data: memoryview(bytearray(data))[::-1],
    lambda data: memoryview(data)[1:-1],
    lambda data: memoryview(whole(data, 4)).cast("I"),
    lambda data: memoryview(bytearray(whole(data, 8))).cast("d"),
    lambda data: memoryview(whole(data, 8)).cast("B", (len(data) // 8, 8)) if len(data) >= 8 else memoryview(data),
    lambda data: array.array("H", whole(data, 2)),
    lambda data: (ctypes.c_char * len(data)).from_buffer_copy(data),
    lambda data: (ctypes.c_uint32 * (len(data) // 4)).from_buffer_copy(data),
    lambda data: Structure(1, len(data)),
    lambda data: memoryview(b""),
    lambda data: data.decode("latin-1"),
    list, len, iter,
    lambda data: None,
    lambda data: object(),
    lambda data: bytes,
)  # fmt: skip


def buffer_of(draw, most=5000):
    return draw.choice(SHAPES)(pattern(draw.size(most)))


REFUSED = (TypeError, ValueError, BufferError, AssertionError)  # the last one is what asyncio's pipes raise


def content(data):
    """The bytes of a buffer; None where it is none."""
    try:
        return memoryview(data).tobytes()
    except (TypeError, ValueError):
        return None


def is_plain(data):
    return type(data) in (bytes, bytearray) or (
        type(data) is memoryview and content(data) is not None and data.c_contiguous and data.format == "B"
        and data.ndim == 1
    )  # fmt: skip


class Told:
    def __init__(self, draw):
        self.draw = draw
        self.received = b""
        self.given = None
        self.is_lost = False

    def connection_lost(self, exc):
        self.is_lost = True
        expect(exc is None or isinstance(exc, (OSError, *REFUSED)), "lost by {!r}", exc)


class Reader(Told, asyncio.Protocol):
    def data_received(self, data):
        self.received += data

    def datagram_received(self, data, addr):
        pass


class Room(Told, asyncio.BufferedProtocol):
    """Gives as its room what the input says."""

    def get_buffer(self, hint):
        self.given = buffer_of(self.draw, 300)
        return self.given

    def buffer_updated(self, count):
        self.received += content(self.given)[:count]


class Scene:
    def __init__(self, draw, loop):
        self.draw, self.loop = draw, loop
        self.written, self.arrived, self.given = b"", b"", b""
        self.open = contextlib.ExitStack()
        self.kind = draw.choice(("stream", "stream", "datagram", "pipe", "room"))
        self.protocol = (Room if self.kind == "room" else Reader)(draw)
        self.is_odd = self.must_die = self.is_dead = False
        self.faults = []
        loop.set_exception_handler(self.handle)
        self.make()

    def handle(self, loop, context):
        is_refusal = "Fatal " in context["message"] and isinstance(context["exception"], REFUSED)
        self.is_dead = self.is_dead or is_refusal
        if not is_refusal or not (self.is_odd or self.kind == "room"):
            self.faults.append(f"{context['message']}: {context.get('exception')!r}")

    def pair(self, kind=socket.SOCK_STREAM):
        near, far = socket.socketpair(type=kind)
        for sock in (near, far):
            sock.setblocking(False)
            self.open.enter_context(sock)
        return near, far

    def make(self):
        if self.kind == "pipe":
            reading, writing = os.pipe()
            self.open.callback(os.close, reading)
            os.set_blocking(reading, False)
            making = self.loop.connect_write_pipe(lambda: self.protocol, os.fdopen(writing, "wb", 0))
            self.transport, _ = self.loop.run_until_complete(making)
            self.read = lambda: os.read(reading, 1 << 20)
            return
        near, self.far = self.pair(socket.SOCK_DGRAM if self.kind == "datagram" else socket.SOCK_STREAM)
        if self.kind == "datagram":
            self.far.bind("")  # only with a name to be shown it is a peer
        self.read = lambda: self.far.recv(1 << 20)
        make = self.loop._make_datagram_transport if self.kind == "datagram" else self.loop._make_socket_transport
        self.transport = make(near, self.protocol)
        run_turns(self.loop, 2)

    def write(self, function, data, pieces):
        """A call with something made of the pieces; its bytes are to arrive unless it raises."""
        contents = [content(piece) for piece in pieces]
        self.is_odd = self.is_odd or not all(is_plain(piece) for piece in pieces)
        try:
            function(data)
        except REFUSED as exc:
            expect(not all(is_plain(piece) for piece in pieces), "{!r} for {!r}", exc, pieces)
            return
        self.must_die = self.must_die or None in contents
        self.written += b"".join(filter(None, contents))

    def take(self):
        """What arrived is what was written."""
        run_turns(self.loop, 3)
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while (piece := self.read()) or self.kind == "datagram":  # where one may be empty
                self.arrived += piece
                run_turns(self.loop)
        expect(not self.faults, "{}", self.faults)
        if self.is_dead:
            return
        expect(not self.must_die, "what is no buffer was taken")
        expect(self.written.startswith(self.arrived), "other bytes arrived than were written")
        expect(self.arrived == self.written, "{} bytes arrived of {}", len(self.arrived), len(self.written))

    # --- the steps

    def write_some(self):
        function = self.transport.sendto if self.kind == "datagram" else self.transport.write
        for _ in range(1 + self.draw.below(3)):
            data = buffer_of(self.draw)
            self.write(function, data, [data])
        self.take()

    def write_much(self):
        """Sent while the kernel takes no more, and changed behind the call where that can be."""
        if self.kind == "datagram":
            return
        much = pattern(300_000)
        self.write(self.transport.write, much, [much])
        data = buffer_of(self.draw)
        self.write(self.transport.write, data, [data])
        if isinstance(data, bytearray):
            with contextlib.suppress(BufferError):
                data.clear()
        self.take()

    def write_lines(self):
        if self.kind == "datagram":
            return
        pieces = [buffer_of(self.draw, 500) for _ in range(self.draw.below(5))]
        self.write(self.transport.writelines, self.draw.choice((list, tuple, iter))(pieces), pieces)
        self.take()

    def receive(self):
        if self.kind in ("stream", "room"):
            data = pattern(self.draw.size(2000))
            with contextlib.suppress(OSError):
                self.far.send(data)
                self.given += data
            run_turns(self.loop, 4)
            expect(self.given.startswith(self.protocol.received), "other bytes received than were sent")
            expect(self.protocol.is_lost or self.given == self.protocol.received or self.kind == "room", "bytes lost")

    def sendall(self):
        near, far = self.pair()
        data = buffer_of(self.draw)
        try:
            self.run(self.loop.sock_sendall(near, data))
        except REFUSED:
            expect(not is_plain(data), "refused {!r}", data)
            return
        got = b""
        with contextlib.suppress(BlockingIOError):
            got = far.recv(1 << 16)
        expect(got == content(data), "sent {} bytes of {!r}", len(got), data)

    def recv_into(self):
        near, far = self.pair(self.draw.choice((socket.SOCK_STREAM, socket.SOCK_DGRAM)))
        data = pattern(1 + self.draw.below(100))
        far.send(data)
        room = buffer_of(self.draw, 300)
        name = self.draw.choice(("sock_recv_into", "sock_recvfrom_into"))
        try:
            count = self.run(getattr(self.loop, name)(near, room))
        except REFUSED:
            return
        count = count[0] if isinstance(count, tuple) else count
        # Where none is said asyncio asks for as many bytes as there are items.
        most = len(room) if name == "sock_recvfrom_into" else len(content(room))
        expect(count == min(len(data), most), "{} bytes into {!r}", count, room)
        expect(content(room)[:count] == data[:count], "other bytes were received")

    def recv(self):
        near, far = self.pair()
        far.send(b"some bytes")
        size = self.draw.choice((0, 1, 10, -1, 2**20, 2**62, 2**64, None, "1", 1.5, True))
        try:
            got = self.run(self.loop.sock_recv(near, size))
        except (*REFUSED, MemoryError, OverflowError):
            return
        expect(b"some bytes"[:size] == got, "{!r} by recv({!r})", got, size)

    def run(self, coroutine):
        task = self.loop.create_task(coroutine)
        run_turns(self.loop, TURNS)
        if not task.done():
            task.cancel()
            run_turns(self.loop, 2)
            expect(False, "goes on waiting")
        return task.result()

    STEPS = (
        write_some, write_some, write_some, write_much, write_lines, write_lines, receive, receive, sendall,
        recv_into, recv,
    )  # fmt: skip

    def play(self):
        for _ in range(MOST_STEPS):
            if not self.draw or self.protocol.is_lost or self.is_dead:
                break
            self.draw.choice(self.STEPS)(self)

    def close(self):
        if not self.transport.is_closing():
            self.transport.abort()
        run_turns(self.loop, 3)
        self.open.close()
        self.loop.close()


def buffers(data, factory):
    with Descriptors():
        scene = Scene(Draw(data), factory())
        try:
            scene.play()
        finally:
            scene.close()
