"""The two ends of a link: the protocols that note how they are called, and a raw end in the place of a transport.

An end's log holds, in order: the calls of its protocol, with arguments; what the player did to it and what that gave
or raised; what the exception handler was told of it. Bytes that arrive one after the other are one entry, since how
they are cut into calls is the kernel's business; each byte is compared with the one that was sent.
"""

import asyncio
import contextlib
import fcntl
import os
import random
import select
import socket
import struct
import sys
import termios

import transport_program as program

PERIOD = 65537


def make_pattern(seed):
    block = random.Random(seed).randbytes(PERIOD)
    return block * (program.BIG // PERIOD + 2)


PATTERNS = [make_pattern(0), make_pattern(1)]


class Boom(Exception):
    """What a protocol raises where the program wants it to."""


class Way:
    """One direction of a link: how much was written into it, and what is known of where that is."""

    def __init__(self, number):
        self.number = number
        self.written = 0
        self.received = 0
        self.waiting_writes = 0
        # More was written than the kernel can hold, and it has not all arrived.
        self.is_bulk = False
        # What the sender held was thrown away: how much arrives is the kernel's business.
        self.is_cut = False
        self.cut_from = 0
        self.settled_at = 0
        self.written_at_rest = 0
        # The receiver is gone.
        self.is_broken = False
        self.messages = []

    def next_bytes(self, size):
        start = self.written % PERIOD
        return PATTERNS[self.number][start : start + size]

    def next_message(self, size):
        """A datagram, another one than the last."""
        self.written += 1
        return self.next_bytes(size)

    @property
    def outstanding(self):
        return self.written - self.received

    @property
    def since_rest(self):
        """How much was under way at the last rest, or was written since then."""
        return self.written - self.settled_at

    def cut(self):
        if not self.is_cut:
            self.is_cut = True
            self.cut_from = self.settled_at

    def settled(self, is_datagram):
        """Everything has come to rest."""
        self.settled_at = self.received
        self.written_at_rest = self.written
        if not self.outstanding:
            self.is_bulk = False
            self.waiting_writes = 0

    def take(self, data):
        """Note that data arrived; return whether it is what was sent."""
        at, is_right = self.received, True
        for start in range(0, len(data), program.BIG):
            part = data[start : start + program.BIG]
            begin = (at + start) % PERIOD
            is_right = is_right and PATTERNS[self.number][begin : begin + len(part)] == part
        self.received += len(data)
        return is_right and self.received <= self.written


class End:
    """What both kinds of end have: a log, the ways in and out, reactions that wait for their event."""

    is_raw = False

    def __init__(self, number, plan, play):
        self.number = number
        self.plan = plan
        self.play = play
        self.loop = play.loops[number]
        self.log = []
        self.way_out = play.ways[number]
        self.way_in = play.ways[1 - number]
        self.transport = None
        self.is_made = False
        self.is_lost = False
        self.is_eof_seen = False
        self.is_eof_sent = False
        self.is_paused = False
        self.is_aborted = False
        self.may_answer = False
        # Closed with something to send, and lost when that was sent.
        self.has_flushed = False
        self.was_sent_to_gone = False
        self.is_writing_paused = self.is_toggling = False
        self.flutter = 0
        self.protocols = []
        self.reactions = {}
        self.address = self.peer_address = None
        self.errors_expected = 0

    @property
    def peer(self):
        return self.play.ends[1 - self.number]

    def note(self, *entry):
        self.log.append(list(entry))

    def note_data(self, data):
        start = self.way_in.received
        is_right = self.way_in.take(data)
        if not is_right:
            self.note("WRONG BYTES", start, len(data))
        elif self.log and self.log[-1][0] == "data" and self.log[-1][2] == start:
            self.log[-1][2] = self.way_in.received
        else:
            self.note("data", start, self.way_in.received)

    def unacknowledged(self):
        """How much the kernel has sent that has not been acknowledged, if somebody reads it."""
        if self.is_lost or not self.peer.is_reading():
            return 0
        count = bytearray(4)
        fcntl.ioctl(self.fileno(), termios.TIOCOUTQ, count)
        return int.from_bytes(count, sys.byteorder)

    def is_slow(self):
        """Whether it reads in small pieces."""
        return False

    def is_closing_now(self):
        return self.transport is not None and self.transport.is_closing()

    def react(self, event):
        """Do what waits for this event; return how the callback is to end."""
        if not self.reactions.get(event):
            return None
        operations, finish = self.reactions[event].pop(0)
        self.may_answer = self.way_out.since_rest == 0
        before, self.play.within = self.play.within, (self, event)
        for operation in operations:
            self.play.do(self, operation)
        self.play.within = before
        if finish == "raise" and not self.play.may_raise(self, event):
            self.note("left out", "raise")
            return None
        if finish == "raise":
            self.note("raises in", event)
            if event in ("data", "eof", "get_buffer") and not self.play.is_pipe and not self.play.is_datagram:
                self.play.leave(self)
            raise Boom(event)
        return finish


class TransportEnd(End):
    """An end that is a transport of the loop under test."""

    def make_protocol(self, buffered=False):
        """The first protocol of the end, or one of another kind to be set later."""
        if buffered is False:
            buffered = self.plan["buffered"]
        if self.play.is_datagram:
            protocol = Datagrams(self)
        elif buffered is None:
            protocol = Plain(self)
        else:
            protocol = Buffered(self, buffered)
        self.protocols.append(protocol)
        return protocol

    def called(self, protocol, *entry):
        if protocol is not self.protocols[-1]:
            entry += (f"on protocol {self.protocols.index(protocol)}",)
        self.note(*entry)

    def on_made(self, protocol, transport):
        self.transport = transport
        self.is_made = True
        self.called(protocol, "made")
        for operation in self.plan["made"]:
            self.play.do(self, operation)

    def on_data(self, data):
        self.note_data(data)
        if self.way_in.outstanding == 0:
            self.react("data")
        if self.flutter and not self.is_paused and not self.transport.is_closing():
            self.transport.pause_reading()
            self.loop.call_soon(self.resume_after_flutter)

    def resume_after_flutter(self):
        if not self.is_paused and not self.is_lost:
            self.transport.resume_reading()

    def is_reading(self):
        return not self.is_paused and not self.transport.is_closing() and not self.is_eof_seen

    def has_buffer(self):
        return isinstance(self.protocols[-1], Buffered)

    def is_slow(self):
        return bool(self.flutter) or (self.has_buffer() and len(self.protocols[-1].buffer) < 10_000)

    def buffered(self):
        """How much waits in the transport."""
        if self.is_lost or not hasattr(self.transport, "get_write_buffer_size"):
            return 0
        return self.transport.get_write_buffer_size()

    def fileno(self):
        extra = self.transport.get_extra_info
        file = extra("socket") or extra("pipe")
        return -1 if file is None or getattr(file, "closed", False) else file.fileno()

    def ready_events(self):
        """Of what the transport waits for, what the kernel has ready."""
        # Below TLS other things are waited for.
        if self.is_lost or self.play.is_tls or self.play.is_joined:
            return 0
        number = self.fileno()
        if number < 0:
            return 0
        wanted = 0
        if self.is_reading():
            wanted |= select.POLLIN
        if self.buffered():
            wanted |= select.POLLOUT
        if not wanted:
            return 0
        poll = select.poll()
        poll.register(number, wanted)
        return sum(event for _, event in poll.poll(0))

    def has_error(self):
        if self.play.is_joined:
            return True
        poll = select.poll()
        poll.register(self.fileno(), 0)
        return bool(poll.poll(0))


class Plain(asyncio.Protocol):
    def __init__(self, end):
        self.end = end

    def connection_made(self, transport):
        self.end.on_made(self, transport)

    def data_received(self, data):
        if type(data) is not bytes or not data:
            self.end.called(self, "data of another kind", type(data).__name__)
        if self is not self.end.protocols[-1]:
            self.end.called(self, "late data")
        self.end.on_data(data)

    def eof_received(self):
        self.end.is_eof_seen = True
        self.end.called(self, "eof")
        finish = self.end.react("eof")
        return self.end.plan["keep_open"] if finish is None else finish

    # When TLS says pause depends on what it has encrypted already, which is asyncio's and ours; but both in turn, and
    # with nothing left to send it is resumed.

    def hear_tls(self, is_paused):
        if self.end.is_writing_paused == is_paused:
            self.end.note("PAUSED TWICE" if is_paused else "RESUMED TWICE")
        self.end.is_writing_paused = is_paused

    def pause_writing(self):
        if self.end.play.is_tls:
            self.hear_tls(True)
            return
        self.end.called(self, "pause")
        self.end.react("pause")

    def resume_writing(self):
        if self.end.play.is_tls:
            self.hear_tls(False)
            return
        self.end.called(self, "resume")
        self.end.react("resume")

    def connection_lost(self, exc):
        self.end.called(self, "lost", self.end.play.show_exception(exc))
        self.end.is_lost = True
        self.end.has_flushed = exc is None and self.end.way_out.is_bulk
        self.end.react("lost")


class Buffered(Plain, asyncio.BufferedProtocol):
    def __init__(self, end, size):
        super().__init__(end)
        self.buffer = bytearray(size)
        self.calls = 0

    data_received = None

    def get_buffer(self, hint):
        # How often TLS asks, and with what in view, depends on how its bytes arrive.
        if self.end.play.is_tls:
            return memoryview(self.next_buffer())
        if hint != -1:
            self.end.called(self, "hint", hint)
        if self.end.react("get_buffer"):
            return bytearray()
        return memoryview(self.next_buffer())

    def next_buffer(self):
        """The buffer, grown after a while: a bulk in small bits takes too long."""
        self.calls += 1
        if self.calls == 40:
            self.buffer = bytearray(max(len(self.buffer), 50_000))
        return self.buffer

    def buffer_updated(self, count):
        if self is not self.end.protocols[-1]:
            self.end.called(self, "late data")
        self.end.on_data(bytes(self.buffer[:count]))


class Datagrams(asyncio.DatagramProtocol):
    def __init__(self, end):
        self.end = end

    def connection_made(self, transport):
        self.end.on_made(self, transport)

    def datagram_received(self, data, address):
        way = self.end.way_in
        sent = way.messages.pop(0) if way.messages else None
        is_right = sent is not None and data == sent and type(data) is bytes
        self.end.called(self, "datagram" if is_right else "WRONG DATAGRAM", len(data), self.end.play.show(address))
        self.end.react("data")

    def error_received(self, exc):
        self.end.errors_expected = 0
        self.end.called(self, "error", self.end.play.show_exception(exc))
        self.end.react("error")

    pause_writing = Plain.pause_writing
    resume_writing = Plain.resume_writing
    connection_lost = Plain.connection_lost


class RawEnd(End):
    """An end that is a plain socket or file of the player's: it never waits, and is read when things come to rest."""

    is_raw = True

    def live_on(self, file):
        self.file = file
        self.transport = self
        self.is_made = True
        if isinstance(file, socket.socket):
            file.setblocking(False)
        else:
            os.set_blocking(file.fileno(), False)

    def fileno(self):
        return self.file.fileno()

    def send(self, data):
        """Send as much as fits; return how much that was."""
        if isinstance(self.file, socket.socket):
            return self.file.send(data)
        return os.write(self.file.fileno(), data)

    def is_reading(self):
        return not self.is_paused and not self.is_lost and not self.is_eof_seen

    def is_closing(self):
        return self.is_lost

    def buffered(self):
        return 0

    def ready_events(self):
        return 0

    def close(self):
        self.is_lost = True
        self.file.close()

    def drain(self):
        """Read what is there; return whether anything was."""
        if not self.is_reading():
            return False
        try:
            if self.play.is_datagram:
                data, address = self.file.recvfrom(200_000)
                way = self.way_in
                is_right = bool(way.messages) and way.messages.pop(0) == data
                self.note("datagram" if is_right else "WRONG DATAGRAM", len(data), self.play.show(address))
                return True
            if isinstance(self.file, socket.socket):
                data = self.file.recv(1_000_000)
            else:
                data = os.read(self.file.fileno(), 1_000_000)
        except BlockingIOError:
            return False
        except OSError as exc:
            self.note("read fails", self.play.show_exception(exc))
            if not self.play.is_datagram:
                self.close()
            return True
        if data:
            self.note_data(data)
        else:
            self.is_eof_seen = True
            self.note("eof")
        return True

    def shutdown(self):
        with contextlib.suppress(OSError):
            self.file.shutdown(socket.SHUT_WR)

    def reset(self):
        if isinstance(self.file, socket.socket) and not self.play.is_datagram:
            self.file.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()
