"""What the work of this room is made of: bytes that say where they belong, protocols that check them, what was told.

A way's byte at each place is known, so each chunk is compared as it comes: a byte lost, doubled or in the wrong order
is found at once, whatever becomes of the rest.
"""

import asyncio
import logging
import random
import re
import sys

PATTERN = random.Random(15).randbytes(65521)


class Way:
    """One direction of a connection: how much is to go, has gone, has come."""

    def __init__(self, work, name, total):
        self.work = work
        self.name = name
        self.total = total
        self.shift = work.rng.randrange(len(PATTERN))
        self.sent = self.come = 0

    def part(self, start, size):
        start = (start + self.shift) % len(PATTERN)
        data = PATTERN[start : start + size]
        while len(data) < size:
            data += PATTERN[: size - len(data)]
        return data

    def take(self, size=None):
        """The next bytes to send."""
        size = self.total - self.sent if size is None else min(size, self.total - self.sent)
        data = self.part(self.sent, size)
        self.sent += size
        return data

    def chunk(self):
        """Some bytes to send, of a size that varies much."""
        rng = self.work.rng
        return self.take(rng.choice((1, rng.randrange(1, 200), rng.randrange(1, 3000), rng.randrange(1, 100_000))))

    def check(self, data):
        """These came."""
        if bytes(data) != self.part(self.come, len(data)):
            self.work.complain(f"{self.name}: wrong bytes at {self.come}, {len(data)} of them")
        self.come += len(data)
        self.work.bytes += len(data)
        if self.come > self.total:
            self.work.complain(f"{self.name}: {self.come} bytes of {self.total}")

    @property
    def is_whole(self):
        return self.come == self.total


class End(asyncio.Protocol):
    """One end of a connection: sends all of its way, checks what comes, closes when both are done."""

    def __init__(self, work, name, way_in, way_out):
        self.work = work
        self.name = name
        self.way_in = way_in
        self.way_out = way_out
        self.transport = None
        self.made = self.lost = 0
        self.is_paused = False
        self.has_ended = False
        self.begins = True
        self.sends_eof = False  # as soon as all is sent, and waits for the rest
        self.has_sent_eof = False
        self.flutter = work.rng.choice((0, 0, 1, 5))  # so many times it pauses reading
        self.done = work.loop.create_future()
        work.ends.append(self)

    def connection_made(self, transport):
        self.made += 1
        self.transport = transport
        if isinstance(transport, asyncio.WriteTransport):
            transport.set_write_buffer_limits(self.work.rng.choice((1, 1000, 65536)))  # of 0, TLS never resumes
        if self.begins:
            self.go_on()

    def go_on(self):
        """Send until told to pause."""
        while not self.is_paused and self.way_out and self.way_out.sent < self.way_out.total and not self.lost:
            if self.work.rng.randrange(4):
                self.transport.write(self.way_out.chunk())
            else:
                chunks = [self.way_out.chunk() for _ in range(self.work.rng.randrange(1, 4))]
                # Of nothing but empty ones asyncio never sees the end.
                self.transport.writelines([chunk for chunk in chunks if chunk])
        self.end_if_done()

    def end_if_done(self):
        if not self.begins:
            return
        is_sent = self.way_out is None or self.way_out.sent == self.way_out.total
        if is_sent and self.sends_eof and not self.has_sent_eof and not self.lost:
            self.has_sent_eof = True
            try:
                self.transport.write_eof()
            except OSError as exc:
                self.work.tell(exc, "raised")
                self.transport.abort()
        if is_sent and (self.way_in is None or self.way_in.is_whole) and not self.has_ended:
            self.has_ended = True
            self.transport.close()

    def pause_writing(self):
        self.is_paused = True

    def resume_writing(self):
        self.is_paused = False
        self.go_on()

    def begin(self):
        """Where it was told to wait."""
        self.begins = True
        if not self.lost:
            self.go_on()

    def data_received(self, data):
        if self.lost or not self.made:
            self.work.complain(f"{self.name}: data outside of its life")
        self.way_in.check(data)
        if self.flutter and not self.work.rng.randrange(3):
            self.flutter -= 1
            self.transport.pause_reading()
            self.work.loop.call_soon(self.read_on)
        self.end_if_done()

    def read_on(self):
        if not self.lost:
            self.transport.resume_reading()

    def eof_received(self):
        return self.sends_eof and self.way_in.is_whole and not self.has_ended

    def connection_lost(self, exc):
        self.lost += 1
        if exc is not None:
            self.work.tell(exc, "lost")
        if not self.done.done():
            self.done.set_result(None)

    def look_back(self):
        """Whether its life was in order."""
        if self.made and self.lost != 1:
            self.work.complain(f"{self.name}: connection_lost {self.lost} times")
        if not self.made and self.lost:
            self.work.complain(f"{self.name}: lost, not made")
        way = self.way_in
        if way and not way.is_whole:
            self.work.miss(f"{self.name}: {way.come} bytes of {way.total}")


class BufferedEnd(End, asyncio.BufferedProtocol):
    """The same, by a buffer of its own."""

    def __init__(self, *args):
        super().__init__(*args)
        self.buffer = memoryview(bytearray(self.work.rng.randrange(256, 9000)))  # asyncio's TLS slices it

    def get_buffer(self, size):
        return self.buffer

    def buffer_updated(self, count):
        self.data_received(self.buffer[:count])


BufferedEnd.data_received = End.data_received


class _Handler(logging.Handler):
    def __init__(self, work):
        super().__init__()
        self.work = work

    def emit(self, record):
        if record.exc_info and record.exc_info[1] is not None:
            self.work.tell(record.exc_info[1], "log")
        self.work.tell_text(record.getMessage(), "log")


class Work:
    """What one seed does on one loop, and what it was told."""

    def __init__(self, loop, rng, shim, *, is_soft):
        self.loop = loop
        self.rng = rng
        self.shim = shim
        self.is_soft = is_soft
        self.told = []
        self.wrong = []
        self.missing = []
        self.ends = []
        self.bytes = 0
        self.handler = _Handler(self)
        logger = logging.getLogger("asyncio")
        logger.addHandler(self.handler)
        logger.propagate = False
        loop.set_exception_handler(self.on_exception)
        sys.unraisablehook = self.on_unraisable

    def complain(self, text):
        if len(self.wrong) < 20:
            self.wrong.append(text)

    def miss(self, text):
        """Something is not as it is without faults, which in a hard run somebody has to be told of."""
        if self.is_soft:
            self.complain(text)
        elif len(self.missing) < 20:
            self.missing.append(text)

    def on_exception(self, loop, context):
        exc = context.get("exception")
        if exc is None:
            self.tell_text(context["message"], "handler")
        else:
            self.tell(exc, "handler")

    def on_unraisable(self, unraisable):
        self.tell(unraisable.exc_value, "unraisable")

    def tell(self, exc, where):
        """Somebody was told of an exception."""
        seen = []
        waiting = [exc]
        while waiting:
            one = waiting.pop()
            if one is None or one in seen:
                continue
            seen.append(one)
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
        errors = {getattr(one, "errno", None) or 0 for one in seen if isinstance(one, OSError | EOFError)}
        for one in seen:
            errors.update(int(found) for found in re.findall(r"\[Errno (\d+)\]", str(one)))
        for number in errors:
            self.told.append((where, number))
        # A RuntimeError with an errno is how add_signal_handler() tells.
        is_plain = errors or any(isinstance(one, asyncio.CancelledError) for one in seen)
        if self.is_soft or not is_plain:
            self.complain(f"{where}: {exc!r}")

    def tell_text(self, text, where):
        for found in re.findall(r"\[Errno (\d+)\]", text):
            self.told.append((where, int(found)))
        if self.is_soft:
            self.complain(f"{where}: {text}")
