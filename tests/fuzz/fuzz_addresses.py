"""Target `addresses`: any object as an address, and any name that the kernel gives, on both loops; the logs must be
equal.

Addresses are tuples of odd lengths with odd hosts, ports, flows and scopes, text, bytes, subclasses and other
things; names of Unix sockets are any bytes up to more than there is room for. They go to sendto() of datagram
transports, connected or not, to sock_sendto(), sock_connect() and create_datagram_endpoint(); a peer that is bound
to such a name sends to us and is accepted. All this runs in a network namespace of its own: nothing leaves the
process, no name is looked up outside.
"""

import asyncio
import contextlib
import ctypes
import fcntl
import os
import socket
import struct
import tempfile
from typing import NamedTuple

from fuzz_draw import Descriptors, Draw, Unavailable, expect, run_turns, shown

NEW_USER, NEW_NET = 0x10000000, 0x40000000
PORT = 40_000
MOST_STEPS = 12
LIMIT = 5.0


def lo_up():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0x41)  # IFF_UP | IFF_RUNNING
        fcntl.ioctl(sock, 0x8914, request)  # SIOCSIFFLAGS


def leave_network():
    """For a namespace that has only the loopback."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NET) and libc.unshare(NEW_USER | NEW_NET):
        raise Unavailable(f"no network namespace: {os.strerror(ctypes.get_errno())}")
    lo_up()


def prepare():
    leave_network()
    os.chdir(tempfile.mkdtemp())  # where the names of Unix sockets without a directory are made


class OddText(str):
    pass


class OddNumber(int):
    pass


class OddTuple(tuple):
    pass


class Pair(NamedTuple):
    host: object
    port: object


class Index:
    def __index__(self):
        return PORT


HOSTS = (
    "127.0.0.1", "::1", "", "<broadcast>", "localhost", "0", "127.1", "::ffff:127.0.0.1", "::1%1", "fe80::1%lo", "::",
    "127.0.0.1\0", "127.0.0.1\0junk", "\ud800", "127.0.0.1.", "127.0.0.256", "0x7f.1", "127.0.0.01", " 127.0.0.1",
    "127.0.0.1 ", "\uff11\uff12\uff17.0.0.1", "ß.invalid", b"127.0.0.1", b"::1", bytearray(b"127.0.0.1"),
    None, 0, 1.5,
    OddText("127.0.0.1"), OddText("::1"), "1" * 300, "a" * 64, "1:2:3:4:5:6:7:8:9", "::1::", "::127.0.0.1", "0.0.0.0",
    "255.255.255.255", "224.0.0.1", "ff02::1", (), ("127.0.0.1",), object, "::1\0", "127.0.0.1%lo",
)  # fmt: skip
PORTS = (
    PORT, 0, 1, 65535, 65536, -1, 2**31, 2**63, 2**64, -(2**64), True, str(PORT), b"80", 1.5, None, OddNumber(PORT),
    Index(), object, "http", "", "\0", "\ud800",
)  # fmt: skip
ENDINGS = ("", "", "", "", "", "\0", "\0junk", ".", "%1", " ")  # behind a host that is one
NUMBERS = (
    0, 1, 2, 2**20 - 1, 2**20, 2**31, 2**32 - 1, 2**32, -1, -(2**31), 2**64, True, OddNumber(1), Index(), None, "0",
    0.0,
)  # fmt: skip
FAMILIES = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)
OWN = {socket.AF_INET: ("127.0.0.1", PORT), socket.AF_INET6: ("::1", PORT), socket.AF_UNIX: "\0receiver"}


def text_of(draw):
    data = draw.bytes(40)
    return data.decode("latin-1") if draw.one_in(2) else data.decode("utf-8", "surrogateescape")


def host_of(draw, family):
    if family != socket.AF_UNIX and draw.one_in(2):
        return OWN[family][0] + draw.choice(ENDINGS)
    return text_of(draw) if draw.one_in(8) else draw.choice(HOSTS)


def number_of(draw, choices):
    return draw.integer() if draw.one_in(8) else draw.choice(choices)


def name_of(draw):
    """A Unix socket's, as bytes; one with a directory stays as it is and leads nowhere."""
    kind = draw.below(6)
    if kind == 0:
        return b"\0" + draw.bytes(110)
    name = draw.bytes(60).replace(b"/", b"_") or b"name"
    if kind == 1:
        name = name * 60
    return name[: draw.choice((107, 108, 109, 1, 106, 200))]


def address_of(draw, family):
    """Anything at all; mostly what looks like an address of the family."""
    kind = draw.below(10)
    if kind == 0:
        return draw.choice((None, (), [], 0, b"", "", "127.0.0.1", {}, object, (None,), ((),), b"\0", iter(())))
    if family == socket.AF_UNIX and kind < 8:
        name = name_of(draw)
        makers = (lambda data: data, os.fsdecode, bytearray, memoryview, OddText, lambda data: (data,))
        made = draw.choice(makers)
        return OddText(os.fsdecode(name)) if made is OddText else made(name)
    length = draw.choice((2, 2, 2, 2, 2, 2, 4, 4, 4, 3, 1, 0, 5, 6))
    host, port = host_of(draw, family), PORT if draw.one_in(2) else number_of(draw, PORTS)
    items = [host, port, number_of(draw, NUMBERS), number_of(draw, NUMBERS), 0, None]
    shape = draw.choice((tuple, tuple, tuple, OddTuple, list)) if kind < 9 else tuple
    if length == 2 and draw.one_in(8):
        return Pair(*items[:2])
    return shape(items[:length])


class Log(asyncio.DatagramProtocol):
    def __init__(self, told):
        self.told = told

    def connection_made(self, transport):
        self.told.append("made")

    def datagram_received(self, data, addr):
        self.told.append(("got", data, repr(addr)))

    def error_received(self, exc):
        self.told.append(("error", shown(exc)))

    def connection_lost(self, exc):
        self.told.append(("lost", shown(exc)))


class Scene:
    """A loop, and sockets that receive what is sent to where we listen."""

    def __init__(self, data, factory):
        self.draw = Draw(data)
        self.loop = factory()
        self.log = []
        self.open = contextlib.ExitStack()
        self.loop.set_exception_handler(self.handle)
        self.family = self.draw.choice(FAMILIES)
        self.receiver = self.socket(socket.SOCK_DGRAM)
        self.receiver.bind(OWN[self.family])
        self.transports = []

    def handle(self, loop, context):
        exc = context.get("exception")
        self.log.append(("handler", context.get("message"), shown(exc)))

    def socket(self, kind):
        sock = self.open.enter_context(socket.socket(self.family, kind))
        sock.setblocking(False)
        return sock

    def run(self, awaitable):
        return self.loop.run_until_complete(asyncio.wait_for(awaitable, LIMIT))

    def call(self, function, *args, **more):
        """Log what comes of it."""
        try:
            result = function(*args, **more)
        except Exception as exc:
            expect(not isinstance(exc, SystemError), "{!r}", exc)
            self.log.append(("raised", shown(exc)))
            return None
        return result

    def received(self):
        """What arrived, and whether the sender's address is one of the loopback."""
        while True:
            try:
                data, _ = self.receiver.recvfrom(1 << 16)
            except OSError:
                return
            self.log.append(("arrived", data))

    def transport(self):
        """The one that there is, or a new one: a lost one of asyncio's raises AttributeError for everything."""
        if not self.transports or self.transports[-1].is_closing() or self.draw.one_in(6):
            sock = self.socket(socket.SOCK_DGRAM)
            if self.draw.one_in(3):
                sock.connect(OWN[self.family])
                self.log.append("connected")
            protocol = Log(self.log)
            self.transports.append(self.loop._make_datagram_transport(sock, protocol, self.peer_of(sock)))
            run_turns(self.loop)
        return self.transports[-1]

    def peer_of(self, sock):
        try:
            return sock.getpeername()
        except OSError:
            return None

    # --- the steps

    def send(self):
        transport = self.transport()
        self.call(transport.sendto, b"datagram", address_of(self.draw, self.family))
        run_turns(self.loop, 2)
        self.received()

    def send_by_socket(self):
        address = address_of(self.draw, self.family)
        sock = self.socket(socket.SOCK_DGRAM)
        sent = self.call(lambda: self.run(self.loop.sock_sendto(sock, b"by socket", address)))
        self.log.append(("sent", sent))
        self.received()

    def connect(self):
        sock = self.socket(self.draw.choice((socket.SOCK_DGRAM, socket.SOCK_STREAM)))
        address = address_of(self.draw, self.family)
        self.call(lambda: self.run(self.loop.sock_connect(sock, address)))
        self.log.append(("peer", self.peer_of(sock)))

    def endpoint(self):
        which = self.draw.choice(("local_addr", "remote_addr"))
        address = address_of(self.draw, self.family)
        family = self.draw.choice((0, self.family))
        making = self.loop.create_datagram_endpoint(lambda: Log(self.log), **{which: address}, family=family)
        made = self.call(lambda: self.run(making))
        if made is not None:
            name = made[0].get_extra_info("peername" if which == "remote_addr" else "sockname")
            # Not a port that the kernel chose.
            if which == "remote_addr" or not isinstance(name, tuple) or PORT in name:
                self.log.append(("endpoint", name))
            made[0].abort()
        making.close()
        run_turns(self.loop, 2)

    def named(self, kind):
        """A socket of a peer that is bound to a drawn name, or to none where that cannot be."""
        sock = self.socket(kind)
        if self.family == socket.AF_UNIX:
            name = name_of(self.draw)
            if b"/" not in name:
                with contextlib.suppress(OSError):
                    sock.bind(name)
        return sock

    def receive(self):
        """A datagram from a peer of any name."""
        near = self.socket(socket.SOCK_DGRAM)
        near.bind("" if self.family == socket.AF_UNIX else (OWN[self.family][0], 0))
        log = []
        transport = self.loop._make_datagram_transport(near, Log(log))
        far = self.named(socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            far.sendto(b"to you", near.getsockname())
        run_turns(self.loop, 2)
        got = [entry for entry in log if entry[0] == "got"]
        expect(all(entry[2] == repr(far.getsockname()) or entry[2] == "None" for entry in got) or
               self.family != socket.AF_UNIX, "{} from {!r}", got, far.getsockname())  # fmt: skip
        if self.family == socket.AF_UNIX:
            self.log += got
        with contextlib.suppress(OSError):
            self.call(transport.sendto, b"back", far.getsockname())
            run_turns(self.loop, 2)
            self.log.append(far.recv(100))
        transport.abort()

    def accept(self):
        """A connection from a peer of any name."""
        listener = self.socket(socket.SOCK_STREAM)
        if self.family == socket.AF_UNIX:
            listener.bind("")
        listener.listen()
        far = self.named(socket.SOCK_STREAM)
        with contextlib.suppress(OSError):
            far.connect(listener.getsockname())
        try:
            near, name = listener.accept()
        except OSError:
            return
        self.open.enter_context(near)
        transport = self.loop._make_socket_transport(near, asyncio.Protocol())
        run_turns(self.loop)
        shown_name = transport.get_extra_info("peername")
        expect(shown_name == name, "{!r} for {!r}", shown_name, name)
        transport.abort()

    STEPS = (send, send, send, send, send_by_socket, connect, endpoint, receive, receive, accept)

    def play(self):
        for _ in range(MOST_STEPS):
            if not self.draw:
                break
            self.draw.choice(self.STEPS)(self)
        for transport in self.transports:
            transport.abort()
        run_turns(self.loop, 3)

    def close(self):
        self.open.close()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        for name in os.listdir(b"."):
            os.unlink(name)


def course(data, factory):
    scene = Scene(data, factory)
    try:
        scene.play()
    finally:
        scene.close()
    return scene.log


def addresses(data, factory):
    with Descriptors():
        log = course(data, factory)
    if factory is not asyncio.SelectorEventLoop:
        stock = course(data, asyncio.SelectorEventLoop)
        expect(log == stock, "log differs\n    {}\nasyncio:\n    {}", log, stock)
    return log
