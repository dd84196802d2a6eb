"""Random programs for datagram endpoints and plain peers: `remote_addr`, flow control, refusals, sizes.

The endpoint is made by `create_datagram_endpoint` with addresses, the peer is a socket of the player's. A Unix socket
holds few messages, so that what is sent beyond waits in the transport; a connected UDP socket hears where nobody is.
What is received is compared message by message.
"""

import asyncio
import contextlib
import inspect
import socket

from transport_stage import TEXT, Stage, pick, unread

NAME = "datagrams"
# Some versions count a header with each message that waits, and forget to take it off again.
ENDPOINT = asyncio.selector_events._SelectorDatagramTransport
COUNTS_RIGHT = ("header" in inspect.getsource(ENDPOINT.sendto)) == (
    "header" in inspect.getsource(ENDPOINT._sendto_ready)
)
KINDS = ["remote_addr", "local_addr", "unix_remote", "unix_local"]


def draw_options(chance, kind):
    return {"is_refused": kind == "remote_addr" and chance.random() < 0.3}


def draw(chance, kind, options, progress):
    name = pick(chance, {
        "sendto": 12, "many": 3, "drain": 5, "peer_send": 6, "limits": 2, "ask": 2, "close": progress / 3,
        "abort": progress / 4, "raise": 0.5, "peer_close": progress / 3, "wrong": 0.5, "set_protocol": 0.5,
        "stop": 0.5,
    })  # fmt: skip
    arguments = []
    if name in ("sendto", "peer_send"):
        arguments = [chance.choice([0, 1, 7, 1500, 9000]), chance.choice(["bytes", "bytearray", "memoryview"])]
    elif name == "many":
        arguments = [chance.choice([5, 15, 40]), chance.choice([1, 100, 3000])]
    elif name == "limits":
        arguments = [chance.choice([None, 0, 1, 1000, 100_000])]
    elif name == "raise":
        arguments = [chance.choice(["datagram", "error", "pause", "resume", "lost"])]
    elif name == "wrong":
        arguments = [chance.choice(["str", "None", "address", "long", "closed"])]
    return "end", [name, *arguments]


class Protocol(asyncio.DatagramProtocol):
    def __init__(self, play):
        self.play = play

    def called(self, event, *entry):
        self.play.note("end", event, *entry)
        if self.play.raises == event:
            self.play.raises = None
            raise ValueError(event)

    def connection_made(self, transport):
        self.called("made")

    def datagram_received(self, data, address):
        self.called("datagram", len(data), self.play.show(data), self.play.show(address))

    def error_received(self, exc):
        self.called("error", self.play.show_exception(exc))

    def pause_writing(self):
        if COUNTS_RIGHT:
            self.called("pause", self.play.transport.get_write_buffer_size())

    def resume_writing(self):
        if COUNTS_RIGHT:
            self.called("resume", self.play.transport.get_write_buffer_size())

    def connection_lost(self, exc):
        self.play.is_lost = True
        self.called("lost", None if exc is None else self.play.show_exception(exc))


class Datagrams(Stage):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.is_unix = self.kind.startswith("unix")
        self.is_connected = self.kind.endswith("remote") or self.kind == "remote_addr"
        self.is_lost = self.is_peer_gone = False
        self.raises = None
        self.sent = self.arrived = 0
        self.sent_now = False

    async def begin(self):
        family = socket.AF_UNIX if self.is_unix else socket.AF_INET
        self.peer = socket.socket(family, socket.SOCK_DGRAM)
        self.peer.setblocking(False)
        self.peer.bind(f"{self.directory}/peer" if self.is_unix else ("127.0.0.1", 0))
        self.peer_address = self.peer.getsockname()
        if self.options["is_refused"]:
            self.op_peer_close("end")
        own = f"{self.directory}/own" if self.is_unix else ("127.0.0.1", 0)
        remote = self.peer_address if self.is_connected else None
        more = {"family": family} if self.is_unix else {}
        self.transport, _ = await self.loop.create_datagram_endpoint(
            lambda: Protocol(self), local_addr=own, remote_addr=remote, **more
        )
        self.own_address = self.transport.get_extra_info("sockname")

    async def finish(self):
        if not self.is_lost:
            self.transport.abort()
        await self.settle("end")
        self.peer.close()

    def show(self, value):
        if value == self.peer_address:
            return "address of the peer"
        return super().show(value)

    def show_exception(self, exc):
        return str(super().show_exception(exc)).replace(str(self.peer_address), "address of the peer")

    def new_step(self, number):
        super().new_step(number)
        self.sent_now = False

    def drain_peer(self, most=1000):
        """Read what has arrived at the peer."""
        count = 0
        with contextlib.suppress(OSError):
            while count < most:
                data, _ = self.peer.recvfrom(100_000)
                self.note("peer", "datagram", len(data), self.show(data))
                count += 1
                self.arrived += 1
        return count

    def state(self):
        return super().state(), self.transport.get_write_buffer_size()

    def waits_for(self):
        if not self.is_unix and not self.is_peer_gone and self.drain_peer():
            return "messages for the peer"
        sock = self.transport.get_extra_info("socket")
        if not self.is_lost and not self.transport.is_closing() and unread(sock.fileno()):
            return "messages"
        return None

    # Operations

    def next_message(self, size):
        self.sent += 1
        return TEXT[self.sent % 1000 : self.sent % 1000 + size]

    def form(self, data, form):
        return {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview}[form](data)

    def target(self):
        return None if self.is_connected else self.peer_address

    def may_send_out(self, *arguments):
        # Whether the kernel tells of a refusal before the next message is its business.
        # What waits in a closing transport makes asyncio's call connection_lost twice.
        if self.is_unix and self.transport.is_closing():
            return False
        return not (self.is_peer_gone and self.sent_now) and not self.is_lost

    may_sendto = may_send_out

    def may_many(self, actor, count, size):
        return self.may_send_out() and not self.is_peer_gone and (self.is_unix or count * size < 50_000)

    def op_sendto(self, actor, size, form):
        if size == 0:
            return None  # some versions do not send these
        self.sent_now = True
        return self.transport.sendto(self.form(self.next_message(size), form), self.target())

    def op_many(self, actor, count, size):
        for _ in range(count):
            self.transport.sendto(self.next_message(size), self.target())
        return self.size_shown()

    def size_shown(self):
        return self.transport.get_write_buffer_size() if COUNTS_RIGHT else None

    def op_drain(self, actor):
        return self.drain_peer() if self.is_unix and not self.is_peer_gone else None

    def may_peer_send(self, actor, *arguments):
        return not self.is_peer_gone and not self.is_lost and not self.transport.is_closing()

    def op_peer_send(self, actor, size, form):
        with contextlib.suppress(BlockingIOError):
            return self.peer.sendto(self.form(self.next_message(size), form), self.own_address)

    def may_limits(self, actor, high):
        return not self.is_lost

    def op_limits(self, actor, high):
        return self.transport.set_write_buffer_limits(high)

    def op_ask(self, actor):
        transport = self.transport
        names = ("sockname", "peername", "socket", "nothing")
        answers = [transport.is_closing(), transport.get_write_buffer_limits(), self.size_shown()]
        return answers + [transport.get_extra_info(name) is None for name in names]

    def op_close(self, actor):
        return self.transport.close()

    def may_abort(self, actor):
        # asyncio's fails without its loop, and calls connection_lost twice.
        return not self.is_lost and not self.transport.is_closing()

    def op_abort(self, actor):
        return self.transport.abort()

    def op_stop(self, actor):
        """Ask for the end with messages waiting, then send more."""
        self.op_close(actor)
        return self.may_send_out() and self.op_sendto(actor, 5, "bytes")

    def op_raise(self, actor, event):
        self.raises = event

    def op_peer_close(self, actor):
        self.is_peer_gone = True
        self.peer.close()

    def may_peer_close(self, actor):
        return not self.is_unix or self.arrived >= self.sent - 5  # which the kernel holds

    def op_set_protocol(self, actor):
        return self.transport.set_protocol(Protocol(self))

    def may_wrong(self, actor, what):
        return not self.is_lost

    def op_wrong(self, actor, what):
        match what:
            case "str":
                return self.transport.sendto("text", self.target())
            case "None":
                return self.transport.sendto(None, self.target())
            case "address":
                return self.transport.sendto(
                    b"x", ("127.0.0.1", 9) if not self.is_unix else f"{self.directory}/nobody"
                )
            case "long":
                return self.transport.sendto(TEXT[:70_000], self.target()) if not self.is_unix else None
            case _:
                return self.transport.get_extra_info("socket").fileno() >= 0


STAGE = Datagrams
