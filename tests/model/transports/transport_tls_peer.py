"""Random programs for TLS against a peer by hand: an `ssl.MemoryBIO` pair over a plain socket.

The peer sends its records in odd pieces, and may say goodbye or not, end in the midst of a record, send garbage,
or go on after its goodbye. The other end is a transport.
"""

import asyncio
import contextlib
import socket
import ssl

from transport_links import stream_pair, tls_contexts
from transport_stage import TEXT, Stage, pick, unread, unsent

NAME = "tls_peer"
KINDS = ["tls_to_client", "tls_to_server", "tls_to_start_tls"]
# A record of TLS 1.2's type for application data, whose content no key fits.
GARBAGE = {"text": b"GET / HTTP/1.1\r\n\r\n", "record": b"\x17\x03\x03\x00\x20" + b"x" * 32, "zeros": bytes(40)}
GARBAGE |= {"long": b"\x17\x03\x03\xff\xff" + b"y" * 100, "empty": b"\x17\x03\x03\x00\x00", "half": b"\x17\x03"}
GARBAGE |= {"alert": b"\x15\x03\x03\x00\x02\x02\x28", "warning": b"\x15\x03\x03\x00\x02\x01\x5a"}


def draw_options(chance, kind):
    return {
        "tls_version": chance.choice(["TLSv1_2", "TLSv1_3"]),
        "piece": chance.choice([1, 5, 100, 1000, 100_000]),
        "buffered": chance.choice([None, None, 1, 100, 5000, 100_000]),
        "keep_open": chance.random() < 0.3,
        "is_tcp": chance.random() < 0.3,
        "shutdown_timeout": 30.0,
    }


def draw(chance, kind, options, progress):
    ending = 0.05 + progress
    if chance.random() < 0.6:
        name = pick(chance, {
            "encrypt": 10, "send": 8, "send_all": 6, "goodbye": ending, "end": ending / 2, "cut": ending,
            "garbage": ending / 2, "flip": ending / 4, "gone": ending / 2,
        })  # fmt: skip
        arguments = []
        if name == "encrypt":
            arguments = [chance.choice([0, 1, 7, 100, 1500, 16_384, 16_385, 40_000])]
        elif name == "send":
            arguments = [chance.choice([1, 2, 5, 6, 28, 100, 1500, 16_000])]
        elif name == "garbage":
            arguments = [chance.choice(list(GARBAGE))]
        return "peer", [name, *arguments]
    name = pick(chance, {
        "write": 8, "writelines": 3, "close": ending / 2, "abort": ending / 3, "pause": 2, "resume": 3,
        "set_protocol": 1, "raise": 0.5, "ask": 1, "write_eof": 0.3,
    })  # fmt: skip
    arguments = []
    if name == "write":
        arguments = [chance.choice([0, 1, 100, 16_384, 20_000])]
    elif name == "set_protocol":
        arguments = [chance.choice([None, 1, 5000])]
    elif name == "raise":
        arguments = [chance.choice(["data", "eof", "lost"])]
    return "own", [name, *arguments]


class Plain(asyncio.Protocol):
    def __init__(self, play):
        self.play = play
        self.number = play.protocols = play.protocols + 1

    def called(self, event, *entry):
        self.play.note("own", event, self.number, *entry)
        if self.play.raises == event:
            self.play.raises = None
            raise ValueError(event)

    def connection_made(self, transport):
        self.play.transport = transport
        self.called("made")

    def data_received(self, data):
        self.play.take(data)
        if self.play.raises == "data":
            self.called("data")

    def eof_received(self):
        self.play.has_eof = True
        self.called("eof")
        return self.play.options["keep_open"]

    def connection_lost(self, exc):
        self.play.is_lost = True
        self.called("lost", None if exc is None else self.play.show_exception(exc))


class Buffered(Plain, asyncio.BufferedProtocol):
    data_received = None

    def __init__(self, play, size):
        super().__init__(play)
        self.buffer = bytearray(size)
        self.calls = 0

    def get_buffer(self, hint):
        self.calls += 1
        if self.calls == 200:
            self.buffer = bytearray(max(len(self.buffer), 5000))
        # Of anything else asyncio's TLS fills a copy.
        return memoryview(self.buffer)

    def buffer_updated(self, count):
        Plain.data_received(self, bytes(self.buffer[:count]))


class TlsPeer(Stage):
    rounds = 4

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.protocols = 0
        self.transport = None
        self.is_lost = self.has_eof = self.is_paused = False
        self.raises = None
        self.received = self.decrypted = self.encrypted = self.written = 0
        self.has_sent = False
        self.is_gone = self.has_fault = self.said_goodbye = self.has_ended = False
        # What the peer has encrypted and not sent.
        self.held = bytearray()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()

    def new_step(self, number):
        super().new_step(number)
        self.has_sent = False

    def make_protocol(self, buffered):
        return Plain(self) if buffered is None else Buffered(self, buffered)

    # The connection

    async def begin(self):
        contexts = tls_contexts(self.options["tls_version"])
        is_server = self.kind == "tls_to_client"
        context = contexts[1] if is_server else contexts[0]
        name = None if is_server else "localhost"
        self.peer = context.wrap_bio(self.incoming, self.outgoing, server_side=is_server, server_hostname=name)
        near, self.sock = stream_pair(socket.AF_INET if self.options["is_tcp"] else socket.AF_UNIX)
        self.sock.setblocking(False)
        near.setblocking(False)
        self.near_number = near.fileno()
        making = self.loop.create_task(self.make(near, contexts))
        del near
        await self.shake_hands(making)
        await making

    async def make(self, near, contexts):
        client, server = contexts
        protocol = self.make_protocol(self.options["buffered"])
        more = {"ssl_shutdown_timeout": self.options["shutdown_timeout"]}
        if self.kind == "tls_to_client":
            self.transport, _ = await self.loop.create_connection(
                lambda: protocol, sock=near, ssl=client, server_hostname="localhost", **more
            )
        elif self.kind == "tls_to_server":
            self.transport, _ = await self.loop.connect_accepted_socket(
                lambda: protocol, sock=near, ssl=server, **more
            )
        else:
            plain, _ = await self.loop.connect_accepted_socket(lambda: protocol, sock=near)
            self.transport = await self.loop.start_tls(plain, protocol, server, server_side=True, **more)

    async def shake_hands(self, making):
        """The peer's part of the handshake, sent in the program's pieces."""
        is_done = False
        while not (is_done and making.done()):
            if not is_done:
                with contextlib.suppress(ssl.SSLWantReadError):
                    self.peer.do_handshake()
                    is_done = True
            data = self.outgoing.read()
            piece = max(self.options["piece"], len(data) // 50)
            for start in range(0, len(data), piece):
                self.sock.send(data[start : start + piece])
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            await self.turns()
            with contextlib.suppress(BlockingIOError):
                self.incoming.write(self.sock.recv(100_000))

    async def finish(self):
        self.transport.abort()
        await self.settle("end")
        self.sock.close()

    # Rest

    def take(self, data):
        """Note bytes of the peer's, however they are cut."""
        is_right = TEXT[self.received % 65537 :][: len(data)] == data
        log = self.logs.setdefault("own", [])
        start = self.received
        self.received += len(data)
        if not is_right:
            self.note("own", "WRONG BYTES", start)
        elif log and log[-1][0] == "data" and log[-1][2] == start:
            log[-1][2] = self.received
        else:
            self.note("own", "data", start, self.received)

    def read_all(self):
        """Take what the socket has for the peer, and decrypt it; return whether there was anything."""
        if self.is_gone:
            return False
        try:
            data = self.sock.recv(1_000_000)
        except BlockingIOError:
            return False
        except OSError as exc:
            self.is_gone = True
            self.note("peer", "read fails", self.show_exception(exc))
            return True
        if not data:
            self.is_gone = True
            self.note("peer", "eof")
        else:
            self.incoming.write(data)
            self.decrypt()
        return True

    def decrypt(self):
        try:
            while data := self.peer.read(100_000):
                self.note_decrypted(data)
            self.note_once("goodbye")
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.note_once("goodbye")
        except ssl.SSLError as exc:
            self.note_once("fails", exc.reason)
        self.held += self.outgoing.read()

    def note_once(self, *entry):
        if ["peer", *entry] not in self.logs.setdefault("peer", []):
            self.note("peer", "peer", *entry)

    def note_decrypted(self, data):
        log = self.logs.setdefault("peer", [])
        start = self.decrypted
        self.decrypted += len(data)
        if TEXT[start % 65537 :][: len(data)] != data:
            self.note("peer", "WRONG BYTES", start)
        elif log and log[-1][0] == "data" and log[-1][2] == start:
            log[-1][2] = self.decrypted
        else:
            self.note("peer", "data", start, self.decrypted)

    def state(self):
        return super().state(), self.received, self.decrypted

    def waits_for(self):
        if self.transport is None:
            return None
        if self.read_all():
            return "the peer reads"
        if not self.is_lost and not self.is_paused and not self.is_gone and unsent(self.sock.fileno()):
            return "bytes for the transport"
        if not self.is_lost and not self.is_gone and unsent(self.near_number):
            return "bytes for the peer"
        if unread(self.near_number) and not self.is_lost and not self.is_paused and not self.transport.is_closing():
            return "bytes to read"
        return None

    # The peer's operations

    def may_encrypt(self, actor, size):
        return not self.said_goodbye and len(self.held) < 100_000 and not self.has_fault

    def op_encrypt(self, actor, size):
        data = TEXT[self.encrypted % 65537 :][:size]
        with contextlib.suppress(ssl.SSLError):
            self.encrypted += self.peer.write(data) if data else 0
        self.held += self.outgoing.read()

    def may_send(self, actor, size=0):
        return not self.is_gone and not self.is_paused

    may_send_all = may_send

    def may_garbage(self, actor, what):
        # Of one read asyncio drops what came before what fails; ours gives it.
        return self.may_send(actor) and not self.has_sent

    def op_send(self, actor, size):
        self.has_sent = True
        count = self.sock.send(self.held[:size]) if self.held else 0
        del self.held[:count]
        return count

    def op_send_all(self, actor):
        return self.op_send(actor, 50_000)

    def may_goodbye(self, actor):
        return not self.said_goodbye and not self.has_fault

    def op_goodbye(self, actor):
        self.said_goodbye = True
        with contextlib.suppress(ssl.SSLError):
            self.peer.unwrap()
        self.held += self.outgoing.read()

    def op_garbage(self, actor, what):
        self.has_fault = True
        return self.sock.send(GARBAGE[what])

    def op_flip(self, actor):
        """Change a byte of what is held."""
        if not self.held:
            return None
        self.has_fault = True
        self.held[len(self.held) // 2] ^= 1
        return len(self.held)

    def is_unread(self):
        """Whether something came of which asyncio, at such an end, gives a BufferedProtocol one buffer at most."""
        return self.encrypted > self.received and not self.is_lost

    def may_end(self, actor):
        is_dropped = isinstance(self.transport.get_protocol(), Buffered) and self.is_unread()
        return not self.is_gone and not self.is_paused and not is_dropped

    may_gone = may_cut = may_end

    def op_end(self, actor):
        """The plain end of the connection, after what was held."""
        self.has_ended = True
        self.op_send(actor, 100_000)
        self.sock.shutdown(socket.SHUT_WR)

    def op_cut(self, actor):
        """The same, in the midst of what was held."""
        self.has_ended = True
        self.op_send(actor, len(self.held) // 2)
        self.has_fault = True
        self.sock.shutdown(socket.SHUT_WR)

    def op_gone(self, actor):
        self.has_ended = self.is_gone = True
        self.sock.close()

    # The transport's

    def op_write(self, actor, size):
        return self.transport.write(self.next_bytes(size))

    def next_bytes(self, size):
        data = TEXT[self.written % 65537 :][:size]
        if not self.transport.is_closing():
            self.written += size
        return data

    def may_write(self, actor, size=0):
        return not self.is_gone and not self.transport.is_closing() and not self.said_goodbye

    may_writelines = may_write

    def op_writelines(self, actor):
        return self.transport.writelines([self.next_bytes(size) for size in (1, 20, 300)])

    def op_write_eof(self, actor):
        return self.transport.write_eof()

    def may_close(self, actor):
        return not self.transport.is_closing() and not self.is_paused

    def op_close(self, actor):
        return self.transport.close()

    def op_abort(self, actor):
        return self.transport.abort()

    def may_pause(self, actor):
        return not self.transport.is_closing() and not self.is_paused

    def op_pause(self, actor):
        self.is_paused = True
        return self.transport.pause_reading()

    def op_resume(self, actor):
        self.is_paused = False
        return self.transport.resume_reading()

    def may_set_protocol(self, actor, buffered):
        # Reading may have been paused before the end came: see may_end.
        is_dropped = buffered is not None and self.has_ended and self.is_unread()
        return not self.is_lost and not is_dropped

    def op_set_protocol(self, actor, buffered):
        return self.transport.set_protocol(self.make_protocol(buffered))

    def op_raise(self, actor, event):
        self.raises = event

    def op_ask(self, actor):
        names = ("cipher", "peercert", "compression", "sslcontext", "ssl_object")
        return [self.transport.is_closing(), *(self.transport.get_extra_info(name) is None for name in names)]


STAGE = TlsPeer
