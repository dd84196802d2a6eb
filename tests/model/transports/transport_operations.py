"""The operations of a program, and the rules by which some are left out.

What would make the kernel's timing visible is not done (and noted as "left out"), by rules that know only what the
program did:

- A way holds little, which surely fits into the kernel, or more than the kernel holds ("bulk").
- In one direction at a time bytes flow in bulk, so that little that goes the other way surely comes first (and none
  does if it would be read in small pieces).
- A reaction to data waits for the last byte that was sent, not for a piece.
- What is written in a reaction is the first that is written that way since all was at rest, or goes on with a bulk.
- Over TCP nothing is written to an end that closes in the same step, which it may reach before or after that.
- To an end that is gone a transport writes once a step: when the kernel tells of it is unknown within one.
- What arrives after a sender threw away a part of a bulk is not compared, but for being the right bytes.

What asyncio itself is known to do wrong is left out as well, each at its place.
"""

import asyncio
import inspect
import sys

from transport_program import BIG

LITTLE = 8192
LITTLE_WRITES = 16
# Some versions do not look at the mark after writelines.
STREAM = asyncio.selector_events._SelectorSocketTransport
WRITELINES = inspect.getsource(STREAM.writelines) if "writelines" in vars(STREAM) else "_maybe_pause_protocol"
WRITELINES_PAUSES = "_maybe_pause_protocol" in WRITELINES
# Some versions send no empty datagrams.
SENDTO = inspect.getsource(asyncio.selector_events._SelectorDatagramTransport.sendto)
SENDS_EMPTY_DATAGRAMS = "if not data:" not in SENDTO
BAD = {"str": "text", "None": None, "int": 5, "list": [1]}


class Operations:
    """What a player can do to an end: `op_` on a transport, `raw_` on a raw end, each if `may_` allows it."""

    def do(self, end, operation):
        name, *arguments = operation
        if end.transport is None or not getattr(self, f"may_{name}", self.may)(end, *arguments):
            end.note("left out", name)
            return
        method = getattr(self, f"raw_{name}" if end.is_raw else f"op_{name}", None)
        if method is None:
            return
        if end.is_raw and not end.peer.is_raw:
            # What is joined leaves before a stranger does something.
            end.peer.buffered()
        try:
            answer = method(end, *arguments)
        except Exception as exc:
            end.note(name, "raises", self.show_exception(exc))
        else:
            end.note(name, "gives", self.show(answer))

    def may(self, end, *arguments):
        if self.is_joined and end.number in self.sent_to_gone:
            return False
        # How much has come when a buffer is asked for in the midst of a bulk is the kernel's business.
        return not (self.within == (end, "get_buffer") and end.way_in.is_bulk)

    def is_within_flush(self, end):
        """Whether the transport has just sent what it had. asyncio's, if it is closed from there, calls
        connection_lost twice, and if it was closed before, does not send what is written there."""
        return self.within == (end, "resume")

    def is_gone(self, end):
        return end.is_lost or end.is_closing_now()

    def may_carry(self, end, sizes):
        """Whether these sizes may be written now, one by one."""
        way, peer = end.way_out, end.peer
        if not self.may(end):
            return False
        if self.is_pipe and end.number == 1:
            return False
        if self.is_within_flush(end) and (self.is_pipe or end.is_closing_now()):
            return False
        if self.within is not None and self.within[1] not in ("pause", "resume") and not end.may_answer:
            return False
        # asyncio sends what is written in connection_lost after a flush, and nothing after other ends; later it
        # does not know that the transport is lost.
        if self.within == (end, "lost") or end.has_flushed:
            return False
        sizes = [size for size in sizes if size]
        if not self.takes_writes(end) or not sizes:
            return True
        if self.is_gone(peer):
            if self.is_over_tcp and not peer.is_lost:
                return False
            # Once a step; and what a closing end still sends would be lost with the reset.
            if len(sizes) > 1 or sum(sizes) > LITTLE or peer.way_out.is_bulk or way.is_bulk:
                return False
            if (end.is_raw or self.is_tcp or self.is_joined) and end.number in self.sent_to_gone:
                return False
            return True
        if way.is_bulk or max(sizes) >= BIG:
            return not end.is_raw and self.may_move(way) and not (end.is_slow() and end.way_in.outstanding)
        if self.moving is peer.way_out and peer.is_slow():
            return False
        return way.since_rest + sum(sizes) <= LITTLE and way.waiting_writes + len(sizes) <= LITTLE_WRITES

    def may_move(self, way):
        return self.moving in (None, way) or not (self.moving.outstanding or self.moving.is_cut)

    def takes_writes(self, end):
        """Whether what is written is sent: what comes after an end is dropped."""
        if end.is_lost or end.is_eof_sent:
            return False
        if end.is_raw or not end.transport.is_closing():
            return True
        return not self.is_pipe and not end.is_aborted and end.way_out.is_bulk

    def carry(self, end, sizes):
        """Note these sizes as written, and return the bytes."""
        way, parts = end.way_out, []
        takes = self.takes_writes(end)
        if takes and sum(sizes) and self.is_gone(end.peer):
            self.sent_to_gone.add(end.number)
            end.was_sent_to_gone = self.is_tcp
        for size in sizes:
            parts.append(way.next_bytes(size))
            if takes:
                way.written += size
                way.waiting_writes += bool(size)
                if size >= BIG and not self.is_gone(end.peer):
                    way.is_bulk = True
        if takes and way.is_bulk:
            self.moving = way
        if takes and self.is_gone(end.peer):
            way.is_broken = True
        return parts

    def form(self, data, form):
        if form == "bytearray":
            return bytearray(data)
        return memoryview(data) if form == "memoryview" else data

    def may_write(self, end, size, form):
        return self.may_carry(end, [size])

    def op_write(self, end, size, form):
        return end.transport.write(self.form(self.carry(end, [size])[0], form))

    def raw_write(self, end, size, form):
        for part in self.carry(end, [size]):
            return None if not part else end.send(part) == len(part)

    def may_writelines(self, end, sizes, form):
        # asyncio's writelines has no method to send with after close(), and spins on empty data.
        if not end.is_raw and end.transport.is_closing() and not self.is_pipe:
            return False
        if not WRITELINES_PAUSES and not self.is_pipe and (end.way_out.is_bulk or sum(sizes) >= BIG):
            return False
        # 3.11 speaks of write() there.
        if sys.version_info < (3, 12) and end.is_eof_sent:
            return False
        return self.may_carry(end, sizes)

    def op_writelines(self, end, sizes, form):
        sizes = [size for size in sizes if size]
        return end.transport.writelines([self.form(part, form) for part in self.carry(end, sizes)])

    def raw_writelines(self, end, sizes, form):
        return all(end.send(part) == len(part) for part in self.carry(end, sizes) if part)

    def op_bad_write(self, end, what):
        if self.is_datagram:
            return end.transport.sendto(BAD[what])
        return end.transport.write(BAD[what])

    def may_bad_write(self, end, what):
        return self.may(end) and not (self.is_pipe and sys.flags.optimize)

    def may_write_eof(self, end):
        if self.is_pipe:
            return self.may_close(end)
        return self.may(end)

    def op_write_eof(self, end):
        is_open = not end.is_lost and not end.transport.is_closing()
        answer = end.transport.write_eof()
        end.is_eof_sent = end.is_eof_sent or is_open
        return answer

    def raw_write_eof(self, end):
        if self.is_pipe:
            end.close()
        elif not end.is_lost:
            end.is_eof_sent = True
            end.shutdown()

    def is_reached(self, end):
        """Whether what was written to the end has reached it, as far as the kernel's part in that goes."""
        return not (self.is_over_tcp and end.way_in.outstanding and end.way_in.written != end.way_in.written_at_rest)

    def may_close(self, end):
        if not self.is_reached(end):
            return False
        # A second close() leaves asyncio's TLS transport without its protocol; with bytes unread it may wait in vain
        # for the other end.
        if self.is_tls and (end.is_closing_now() or end.way_in.outstanding):
            return False
        # Unread bytes make a reset of the end, and a reset throws away what the kernel has to send.
        if end.way_out.is_bulk and end.way_in.outstanding:
            return False
        return self.may(end) and not self.is_within_flush(end)

    def op_close(self, end):
        return end.transport.close()

    def raw_close(self, end):
        self.leave(end)
        end.close()

    def is_cutting(self, end):
        """Whether an abrupt end would take from a TLS protocol at the other end what it has not been given yet."""
        return self.is_tls and end.way_out.since_rest > 0

    def may_raise(self, end, event):
        # After a full buffer asyncio's TLS has one more read scheduled, which calls a protocol that has failed since.
        if self.is_tls and event in ("data", "get_buffer") and end.has_buffer() and end.way_in.is_bulk:
            return False
        return not self.is_cutting(end)

    def may_abort(self, end):
        # How much TLS reads ahead decides whether the other end sees a reset.
        if not self.is_reached(end) or (self.is_tls and (end.way_in.outstanding or self.is_cutting(end))):
            return False
        # A pipe that has ended, or is about to, calls connection_lost twice or fails.
        if self.is_pipe and not end.is_raw and end.is_closing_now() and not end.buffered():
            return False
        return self.may(end) and not end.has_flushed and not self.is_within_flush(end)

    def leave(self, end):
        """Note that what the end has not sent is thrown away."""
        end.is_aborted = True
        if end.way_out.is_bulk:
            end.way_out.cut()

    def op_abort(self, end):
        if hasattr(end.transport, "abort"):
            self.leave(end)
        return end.transport.abort()

    def raw_abort(self, end):
        self.leave(end)
        end.reset()

    def may_pause_reading(self, end):
        # asyncio's client would not send the last of its handshake.
        return self.may(end) and not (self.program.kind == "tls" and self.is_connecting)

    def op_pause_reading(self, end):
        answer = end.transport.pause_reading()
        if not end.transport.is_closing():
            end.is_paused = True
        return answer

    def raw_pause_reading(self, end):
        end.is_paused = True

    def may_resume_reading(self, end):
        if end.is_paused and end.way_in.is_bulk and not self.may_move(end.way_in):
            return False
        if end.way_in.outstanding and self.moving is end.way_out and end.is_slow():
            return False
        return self.may(end)

    def op_resume_reading(self, end):
        if end.is_paused and end.way_in.is_bulk:
            self.moving = end.way_in
        answer = end.transport.resume_reading()
        if not end.transport.is_closing():
            end.is_paused = False
        return answer

    def raw_resume_reading(self, end):
        if end.way_in.is_bulk:
            self.moving = end.way_in
        end.is_paused = False

    def may_limits(self, end, high):
        # Whether what is left is below the mark would be the kernel's business.
        # Of a lost TLS transport asyncio tells a protocol that is none.
        return self.may(end) and not end.way_out.is_bulk and not (self.is_tls and end.is_lost)

    def op_limits(self, end, high):
        # At 0 TLS pauses and resumes in turn, whatever it holds.
        end.is_toggling = high == 0
        return end.transport.set_write_buffer_limits(high)

    def op_ask(self, end, name):
        transport = end.transport
        end.note("is_closing", transport.is_closing())
        if hasattr(transport, "is_reading"):
            end.note("is_reading", transport.is_reading())
        if hasattr(transport, "get_write_buffer_size") and not end.is_lost:
            size = transport.get_write_buffer_size()
            if not end.way_out.is_bulk:
                end.note("buffer size", size)
            elif self.within in (None, (end, "pause")) and not self.is_tls:
                end.note("buffer size", bool(size))
            end.note("limits", list(transport.get_write_buffer_limits()))
        if hasattr(transport, "can_write_eof"):
            end.note("can_write_eof", transport.can_write_eof())
        end.note("protocol", end.protocols.index(transport.get_protocol()) if not end.is_lost else "")
        return transport.get_extra_info(name, "default")

    def may_set_protocol(self, end, buffered):
        return self.may(end) and self.within != (end, "get_buffer") and not end.is_lost

    def op_set_protocol(self, end, buffered):
        if self.is_pipe or self.is_datagram:
            buffered = None
        return end.transport.set_protocol(end.make_protocol(buffered))

    def may_soon(self, end):
        # Resumed TLS gives some of what it has read ahead before the mark; how much is its business.
        if self.is_tls and end.way_in.is_bulk:
            return False
        # One wake-up of ours gives several datagrams.
        return self.may(end) and not (self.is_datagram and self.within is not None)

    def op_soon(self, end):
        end.loop.call_soon(end.note, "soon")

    def op_flutter(self, end):
        end.flutter = not end.flutter

    def op_on(self, end, event, operations, finish):
        end.reactions.setdefault(event, []).append((operations, finish))

    # Datagrams

    def may_sendto(self, end, size, form, where):
        way, peer = end.way_out, end.peer
        if end.is_lost or (size == 0 and not end.is_raw and not SENDS_EMPTY_DATAGRAMS):
            return False
        # One wake-up of ours gives several datagrams: an answer waits for the last, and is not answered.
        if self.within is not None and (end.way_in.messages or end.number in self.has_sent):
            return False
        if self.is_gone(peer):
            return end.number not in self.sent_to_gone
        waiting = sum(len(message) for message in way.messages)
        return len(way.messages) < 8 and (waiting + size <= 40_000 or size == 100_000)

    def target(self, end, where):
        match where:
            case "peer":
                return end.peer_address
            case "none":
                return None
            case "bad":
                return "nowhere" if self.program.kind != "unix_datagram" else 5
            case _:
                return "/nowhere" if self.program.kind == "unix_datagram" else ("127.0.0.1", 9)

    def op_sendto(self, end, size, form, where):
        self.note_sender(end)
        data = end.way_out.next_message(size)
        if self.is_gone(end.peer):
            self.sent_to_gone.add(end.number)
            if self.program.kind == "udp_connected" and end.peer.is_lost:
                end.errors_expected = 1
        elif (where == "peer" or self.program.kind == "udp_connected") and self.fits(size):
            end.way_out.messages.append(data)
        end.transport.sendto(self.form(data, form), self.target(end, where))

    def fits(self, size):
        return size < 65000 or self.program.kind == "unix_datagram"

    def note_sender(self, end):
        if self.within is None:
            self.has_sent.add(end.number)
        else:
            self.has_sent.add(end.peer.number)

    def raw_sendto(self, end, size, form, where):
        self.note_sender(end)
        data = end.way_out.next_message(size)
        if self.is_gone(end.peer) or not self.fits(size):
            return
        end.way_out.messages.append(data)
        if self.program.kind == "udp_connected":
            end.file.send(data)
        else:
            end.file.sendto(data, end.peer_address)
