"""Target `streams`: bytes in odd pieces to a StreamReader that is read in odd ways, on both loops; the logs must be
equal.

Bytes for asyncio's StreamReaderProtocol do not pass through its methods but go into the reader's buffer in C, as
long as nothing of both was replaced. So the input also replaces: attributes of the instances, of what type and when
it likes.
"""

import asyncio
import contextlib
import socket

from fuzz_draw import Descriptors, Draw, expect, pattern, run_turns, shown

MOST_STEPS = 40
TURNS = 6
LIMITS = (1, 2, 16, 64, 1000, 1 << 16)


class OddReader(asyncio.StreamReader):
    def feed_data(self, data):
        super().feed_data(data.upper())


class Scene:
    def __init__(self, draw, loop):
        self.draw, self.loop = draw, loop
        self.log = []
        loop.set_exception_handler(self.handle)
        near, self.far = socket.socketpair()
        for sock in (near, self.far):
            sock.setblocking(False)
        kind = draw.below(8)
        reader = OddReader if kind == 7 else asyncio.StreamReader
        self.reader = reader(limit=draw.choice(LIMITS), loop=loop)
        self.protocol = asyncio.StreamReaderProtocol(self.reader, self.connected if kind & 1 else None, loop=loop)
        self.transport = loop._make_socket_transport(near, self.protocol)
        self.tasks = []
        self.read_bytes = 0
        run_turns(loop, 2)

    async def connected(self, reader, writer):
        self.writer = writer
        self.log.append("connected")

    def handle(self, loop, context):
        """What a future is told of by its end comes whenever the collector does."""
        if "never retrieved" not in context["message"]:
            self.note("handler", context.get("exception"))

    def note(self, name, value):
        expect(not isinstance(value, SystemError), "{!r}", value)
        self.log.append((name, shown(value) if isinstance(value, BaseException | None) else value))

    async def read(self, name, *args):
        try:
            value = await getattr(self.reader, name)(*args)
        except (Exception, asyncio.CancelledError) as exc:
            value = shown(exc)
            if isinstance(exc, asyncio.IncompleteReadError):
                value = ("partial", exc.partial)
        self.log.append((name, value))

    def start(self, name, *args):
        self.tasks.append(self.loop.create_task(self.read(name, *args)))

    # --- the steps

    def send(self):
        self.give(self.draw.bytes(60))

    def send_lines(self):
        self.give(b"\n".join(pattern(self.draw.below(40), 3).replace(b"\n", b"x") for _ in range(self.draw.below(6))))

    def send_much(self):
        """Any amount, or as much as makes the reader pause, or nearly so."""
        size = self.draw.size(100_000)
        limit = self.reader._limit
        if size % 2 and isinstance(limit, int) and 0 <= limit <= 1 << 16:
            size = max(0, 2 * limit - len(self.reader._buffer) + size // 2 % 3)
        self.give(pattern(size))

    def give(self, data):
        with contextlib.suppress(OSError):
            self.far.send(data)

    def end(self):
        with contextlib.suppress(OSError):
            self.far.shutdown(socket.SHUT_WR)

    def reset(self):
        self.far.close()

    def readline(self):
        self.start("readline")

    def readuntil(self):
        self.start("readuntil", self.draw.choice((b"\n", b"x", b"\r\n", b"", b"abc", b"\0", None, 1)))

    def readexactly(self):
        self.start("readexactly", self.draw.choice((0, 1, 10, 1000, -1, self.draw.size(5000))))

    def read_some(self):
        self.start("read", self.draw.choice((0, 1, 10, 1 << 20, self.draw.size(5000))))

    def read_all(self):
        self.start("read", -1)

    def cancel(self):
        if self.tasks:
            self.draw.choice(self.tasks).cancel()

    def feed(self):
        """By the program itself, in between."""
        for call in ((self.reader.feed_data, self.draw.bytes(20)),):
            with contextlib.suppress(AssertionError):
                call[0](*call[1:])

    def feed_eof(self):
        self.reader.feed_eof()

    def fail(self):
        self.reader.set_exception(ValueError("set"))

    def replace(self):
        """An attribute of the reader."""
        name = self.draw.choice(("_limit", "_eof", "_buffer", "_waiter", "_transport", "_paused", "_loop"))
        values = {
            "_limit": (0, 1, 2**70, -1, 1.5, True),
            "_eof": (False, 0, None),
            "_buffer": (bytearray(b"other"), bytearray(), OddArray(b"odd")),
            "_waiter": (None, None, None),
            "_transport": (self.transport, None, Transportless(self.log)),
            "_paused": (False, True, 0, 1),
            "_loop": (self.loop,),
        }[name]
        setattr(self.reader, name, self.draw.choice(values))

    def replace_method(self):
        name = self.draw.choice(("feed_data", "_wakeup_waiter", "data_received"))
        thing = self.protocol if name == "data_received" else self.reader
        if name in vars(thing):
            delattr(thing, name)
            return
        stock, log = getattr(thing, name), self.log

        def method(*args):
            log.append((name, args))
            return stock(*args)

        setattr(thing, name, method)

    def other_protocol(self):
        self.reader = asyncio.StreamReader(limit=self.draw.choice(LIMITS), loop=self.loop)
        self.protocol = asyncio.StreamReaderProtocol(self.reader, loop=self.loop)
        self.transport.set_protocol(self.protocol)
        self.reader.set_transport(self.transport)

    def pause(self):
        self.transport.pause_reading()

    def resume(self):
        self.transport.resume_reading()

    def turn(self):
        run_turns(self.loop)

    def hold_buffer(self):
        """A view of the buffer, which then cannot grow."""
        view = memoryview(self.reader._buffer)
        run_turns(self.loop, TURNS)
        view.release()

    STEPS = (
        send, send, send_lines, send_lines,
        send_much, readline, readline, readuntil, readexactly, read_some,
        read_all, cancel, feed, turn, pause, resume, end, reset, feed_eof, fail, replace, replace_method,
        other_protocol, hold_buffer,
    )  # fmt: skip

    def play(self):
        for _ in range(MOST_STEPS):
            if not self.draw:
                break
            try:
                self.draw.choice(self.STEPS)(self)
            except Exception as exc:
                self.note("raised", exc)
            if not self.draw.one_in(4):
                run_turns(self.loop, TURNS)
                self.log.append(("held", self.held()))

    def held(self):
        reader = self.reader
        return len(reader._buffer), reader._eof, bool(reader._paused), self.transport.is_reading()

    def finish(self):
        self.far.close()
        self.transport.abort()
        run_turns(self.loop, TURNS)
        for task in self.tasks:
            task.cancel()
        run_turns(self.loop, TURNS)
        expect(all(task.done() for task in self.tasks), "a task waits")


class OddArray(bytearray):
    pass


class Transportless:
    """In a transport's place: it cannot pause."""

    def __init__(self, log):
        self.log = log

    def pause_reading(self):
        self.log.append("asked to pause")
        raise NotImplementedError

    def resume_reading(self):
        self.log.append("asked to resume")


def course(data, factory):
    loop = factory()
    scene = Scene(Draw(data), loop)
    try:
        scene.play()
    finally:
        scene.finish()
        loop.close()
    return scene.log


def streams(data, factory):
    with Descriptors():
        log = course(data, factory)
    if factory is not asyncio.SelectorEventLoop:
        stock = course(data, asyncio.SelectorEventLoop)
        for mine, theirs in zip(log, stock, strict=False):
            expect(mine == theirs, "{!r:.300} where asyncio has {!r:.300}", mine, theirs)
        expect(len(log) == len(stock), "{} entries, {} of asyncio", len(log), len(stock))
    return log
