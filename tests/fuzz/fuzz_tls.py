"""Target `tls`: a hostile peer of a TLS connection, a server or a client, before, during and after the handshake.

The input is a list of what peer and application do. The peer is an SSLObject of the ssl module whose records are
passed on as they are, in pieces, changed, doubled, held back or dropped, with others between that the input holds.
What is below is a transport in Python or the loop's own over a socket pair. What holds, whatever is done:

- what the application receives is the beginning of what the peer wrote, and the reverse;
- while all that the peer said has come, unchanged and in order, it meets no error of TLS, and where nobody ends the
  connection the handshake succeeds and every byte arrives, both ways;
- connection_lost comes exactly once behind connection_made, and without it never;
- exceptions are those of a network and of the ssl module;
- while the application pauses reading, what waits is bounded, and so is what the peer makes us send;
- descriptors are closed.
"""

import asyncio
import contextlib
import functools
import ssl
from pathlib import Path

from fuzz_draw import Broken, Descriptors, Draw, expect, pattern, run_turns, shown
from fuzz_tls_below import Below, BelowSocket
from fuzz_tls_peer import Peer

PEM = Path(__file__).with_name("peer.pem")
MOST_STEPS = 64
MOST_CALM = 20
# asyncio's mark for raw bytes that wait, one buffer that comes on top, and a record.
MOST_INPUT = 256 * 1024 + 256 * 1024 + 20_000
# What OpenSSL answers by itself and nobody reads: loopmod's mark for it, and what one buffer may ask for.
MOST_ANSWERS = 64 * 1024 + 256 * 1024 + 20_000


@functools.cache
def contexts(version):
    """A server's and a client's, of one version of TLS."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(PEM)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(PEM)
    client.check_hostname = False
    for context in (server, client):
        context.minimum_version = context.maximum_version = version
        context.set_ciphers("ECDHE+AESGCM")
    return server, client


class App:
    """What the application is told, and the rules of it."""

    def __init__(self):
        self.transport = None
        self.received = bytearray()
        self.calls = []
        self.is_lost = False

    def told(self, name, detail=None):
        expect(not self.is_lost, "{} behind connection_lost", name)
        self.calls.append((name, detail))

    def connection_made(self, transport):
        # It may write before, by the transport that stands in for the one to be.
        expect({name for name, _ in self.calls} <= {"pause", "resume"}, "connection_made behind {}", self.calls)
        self.told("made")

    def pause_writing(self):
        self.told("pause")

    def resume_writing(self):
        self.told("resume")

    def eof_received(self):
        self.told("eof")

    def connection_lost(self, exc):
        self.told("lost", shown(exc))
        expect(exc is None or isinstance(exc, OSError), "connection_lost({!r})", exc)
        self.is_lost = True


class PlainApp(App, asyncio.Protocol):
    def data_received(self, data):
        self.told("data")
        expect(type(data) is bytes and data, "data_received({!r})", data)
        self.received += data


class BufferedApp(App, asyncio.BufferedProtocol):
    def __init__(self, room):
        super().__init__()
        self.room = bytearray(room)

    def get_buffer(self, hint):
        return self.room

    def buffer_updated(self, count):
        self.told("data")
        expect(0 < count <= len(self.room), "buffer_updated({})", count)
        self.received += self.room[:count]


class Scene:
    """One connection between the two, and what the input does with it."""

    def __init__(self, draw, loop, make_protocol):
        self.draw, self.loop = draw, loop
        self.faults = []
        self.logged = []
        loop.set_exception_handler(self.handle)
        flags = draw.byte()
        is_server = bool(flags & 1)
        version = ssl.TLSVersion.TLSv1_2 if flags & 2 else ssl.TLSVersion.TLSv1_3
        ours, theirs = contexts(version) if is_server else reversed(contexts(version))
        self.steps = self.HONEST_STEPS if flags & 0x30 == 0x30 else self.STEPS
        self.app = BufferedApp(draw.size(70_000) or 1) if flags & 8 else PlainApp()
        self.waiter = loop.create_future()
        protocol = make_protocol(loop, self.app, ours, self.waiter, is_server, None if is_server else "peer")
        self.transport = protocol._app_transport
        self.peer = Peer(theirs, not is_server)
        self.below = (BelowSocket if flags & 4 else Below)(loop, protocol)
        self.wrote = bytearray()
        self.held = b""
        self.last = b""
        self.is_paused = False
        self.is_true = True  # what the peer said, and nothing else, has come
        self.is_open = True  # nobody has ended the connection
        self.fed_before = 0
        self.piece = 1 << 18

    def handle(self, loop, context):
        exc = context.get("exception")
        if isinstance(exc, Broken):
            self.faults.append(exc)
        elif exc is None or not isinstance(exc, OSError):
            self.faults.append(Broken(f"{context.get('message')}: {exc!r}"))
        self.logged.append(shown(exc))

    # --- what the peer does

    def give(self, data):
        data, self.held = self.held + data, b""
        if data:
            self.last = data
            self.below.send(data, self.piece)

    def give_untrue(self, data):
        self.is_true = self.is_true and not data
        self.give(data)

    def honest(self):
        for _ in range(2):
            self.peer.take(self.below.received_by_peer())
            self.give(self.peer.step())

    def converse(self):
        """Until neither has more to say, or some turns."""
        for _ in range(4):
            self.peer.take(self.below.received_by_peer())
            self.give(self.peer.step())

    def changed(self):
        self.peer.take(self.below.received_by_peer())
        data = bytearray(self.peer.step())
        for _ in range(1 + self.draw.below(3)):
            place, value = self.draw.below(65536), self.draw.byte()
            if data:
                data[place % len(data)] ^= value or 1
        self.give_untrue(bytes(data))

    def short(self):
        self.peer.take(self.below.received_by_peer())
        data = self.peer.step()
        cut = self.draw.below(65536) % (len(data) + 1)
        self.give(data[:cut])
        self.held = data[cut:]

    def lost_records(self):
        self.peer.take(self.below.received_by_peer())
        self.is_true = not self.peer.step() and self.is_true

    def raw(self):
        self.give_untrue(self.draw.bytes(255))

    def record(self):
        kind = self.draw.choice((22, 23, 21, 20, 24, 0, 255, 25))
        version = self.draw.choice((b"\3\3", b"\3\1", b"\3\4", b"\2\0", b"\0\0"))
        body = self.draw.bytes(64)
        length = self.draw.choice((len(body), 0, 16384, 16640, 18432, 18433, 65535))
        self.give_untrue(bytes([kind]) + version + length.to_bytes(2) + body)

    def filled_record(self):
        body = pattern(self.draw.size(18_500))
        self.give_untrue(bytes([self.draw.choice((22, 23, 21, 20)), 3, 3]) + len(body).to_bytes(2) + body)

    def again(self):
        self.give_untrue(self.last[: self.draw.size(len(self.last))] if self.draw.one_in(2) else self.last)

    def peer_writes(self):
        size = self.draw.size(100_000)
        self.peer.write(pattern(size))
        self.give(self.peer.step())

    def peer_writes_small_ones(self):
        for _ in range(1 + self.draw.below(64)):
            self.peer.write(pattern(self.draw.below(4)))
        self.give(self.peer.step())

    def peer_wants_keys(self):
        for _ in range(1 + self.draw.size(500)):
            self.peer.ask_for_new_keys()
        self.give(self.peer.step())

    def peer_closes(self):
        self.is_open = False
        self.peer.close()
        self.give(self.peer.outgoing.read())

    def peer_ends(self):
        self.is_open = False
        self.below.end_of_peer()

    def set_piece(self):
        self.piece = max(1, self.draw.size(1 << 18))

    def fills(self):
        self.below.set_full(self.draw.one_in(2))

    def breaks(self):
        self.is_open = False
        self.below.lose(self.draw.choice((None, ConnectionResetError(104, "reset"), OSError(5, "error"))))

    # --- what the application does

    def write(self):
        data = pattern(self.draw.size(200_000))
        self.transport.write(data)
        self.wrote += data

    def write_lines(self):
        pieces = [pattern(self.draw.size(20_000)) for _ in range(self.draw.below(5))]
        self.transport.writelines(pieces)
        self.wrote += b"".join(pieces)

    def pause(self):
        with contextlib.suppress(RuntimeError):
            self.transport.pause_reading()
        self.is_paused = True
        self.fed_before = self.fed

    def resume(self):
        with contextlib.suppress(RuntimeError):
            self.transport.resume_reading()
        self.is_paused = False

    def close(self):
        self.is_open = False
        self.transport.close()

    def abort(self):
        self.is_open = False
        self.transport.abort()

    def limit(self):
        self.transport.set_write_buffer_limits(self.draw.size(1 << 17))

    def ask(self):
        for name in ("peercert", "cipher", "ssl_object", "peername"):
            self.transport.get_extra_info(name)
        repr(self.transport)
        self.transport.get_write_buffer_size()

    def turn(self):
        run_turns(self.loop, 1 + self.draw.below(3))

    STEPS = (
        honest, converse, changed, short, lost_records, raw, record, filled_record, again, peer_writes,
        peer_writes_small_ones, peer_wants_keys, peer_closes, peer_ends,
        set_piece, fills, breaks, write,
        write_lines, pause, resume, close, abort, limit, ask, turn, converse, converse, write, peer_writes,
        peer_wants_keys,
    )  # fmt: skip
    # Without those that tell untruths and those that end the connection.
    HONEST_STEPS = (
        honest, converse, short, peer_writes, peer_writes_small_ones, peer_wants_keys, set_piece, fills, write,
        write_lines, pause, resume, limit, ask, turn,
    )  # fmt: skip

    def play(self):
        self.below.begin()
        if self.draw.byte() & 1 == 0:
            self.converse()
        for _ in range(MOST_STEPS):
            if not self.draw:
                break
            self.draw.choice(self.steps)(self)
            self.check()

    @property
    def fed(self):
        return self.below.fed if isinstance(self.below, Below) and not self.below.is_lost else 0

    @property
    def below_is_lost(self):
        return isinstance(self.below, Below) and self.below.is_lost

    def check(self):
        if self.faults:
            raise self.faults[0]
        app, peer = self.app, self.peer
        waits = self.fed - self.fed_before
        expect(not self.is_paused or waits <= MOST_INPUT, "{} bytes wait while reading is paused", waits)
        unsent = 0 if app.is_lost or self.below_is_lost else self.transport.get_write_buffer_size()
        expect(unsent <= 2 * len(self.wrote) + MOST_ANSWERS, "{} bytes unsent", unsent)
        expect(peer.wrote.startswith(app.received), "received what the peer did not write")
        expect(self.wrote.startswith(peer.received), "the peer received what was not written")
        expect(not self.is_true or peer.error is None, "an honest peer met {!r}", peer.error)

    def is_whole(self):
        """Whether everything that was said has come."""
        peer = self.peer
        return peer.is_made and peer.wrote == self.app.received and self.wrote == peer.received

    def settle(self):
        """Both say all that they have to say."""
        self.below.set_full(False)
        self.piece = 1 << 18
        came, calm = None, 0
        while not self.is_whole() and calm < MOST_CALM:
            self.give(b"")
            self.below.send(b"", self.piece)
            self.converse()
            run_turns(self.loop, 3)
            before, came = came, (len(self.app.received), len(self.peer.received), self.peer.is_made)
            calm = calm + 1 if came == before else 0
        self.check()
        exc = self.waiter.exception() if self.waiter.done() else "nothing"
        expect(exc is None, "beside an honest peer the waiter was given {!r}", exc)
        expect(self.peer.is_made and not self.app.is_lost, "beside an honest peer the connection is lost")
        counts = len(self.app.received), len(self.peer.wrote), len(self.peer.received), len(self.wrote)
        expect(self.is_whole(), "beside an honest peer {} of {} bytes came, and {} of {} left", *counts)

    def finish(self):
        if self.is_paused:
            self.resume()
        if self.is_true and self.is_open:
            self.settle()
        self.below.finish()
        run_turns(self.loop, 6)
        self.check()
        names = [name for name, _ in self.app.calls]
        expect(names.count("lost") == names.count("made"), "calls of the protocol: {}", names)
        expect(self.waiter.done(), "the waiter waits")
        if not self.waiter.cancelled():
            exc = self.waiter.exception()
            expect(exc is None or isinstance(exc, OSError), "the waiter was given {!r}", exc)
        return [name for i, name in enumerate(names) if name != "data" or names[i - 1] != "data"]


def stock_protocol(loop, app, context, waiter, is_server, name):
    return asyncio.sslproto.SSLProtocol(loop, app, context, waiter, is_server, name)


def protocol_maker(factory):
    if factory is asyncio.SelectorEventLoop:
        return stock_protocol
    from loopmod import _loopmod

    return _loopmod.SSLProtocol


def tls(data, factory):
    """Play an input; what comes back tells its course."""
    contexts(ssl.TLSVersion.TLSv1_2), contexts(ssl.TLSVersion.TLSv1_3)
    with Descriptors():
        loop = factory()
        try:
            scene = Scene(Draw(data), loop, protocol_maker(factory))
            scene.play()
            return scene.finish()
        finally:
            with contextlib.suppress(UnboundLocalError, AttributeError):
                scene.below.far.close()
            loop.close()
