"""Random programs for the `sock_*` coroutines: two sockets that are connected, or a listener and who connects to it.

One operation at a time reads from a socket and one writes to it: what a second does to the first is asyncio's
accident.
"""

import socket

from transport_links import limit, stream_pair
from transport_stage import BIG, TEXT, Stage, pick, unread, unsent

NAME = "socks"
KINDS = ["socks_unix", "socks_tcp", "socks_udp", "socks_unix_datagram", "socks_listen"]
STREAMS = ("socks_unix", "socks_tcp")
READS = ("recv", "recv_into", "recvfrom", "recvfrom_into", "accept")
WRITES = ("sendall", "sendto", "sendfile", "connect")


def draw_options(chance, kind):
    return {}


def draw(chance, kind, options, progress):
    ending = 0.1 + progress
    size = chance.choice([0, 1, 7, 100, 1500, 4000, BIG if kind in STREAMS else 8000])
    room = chance.choice([0, 1, 7, 100, 1500, 5000])
    weights = {"cancel": 5, "blocking": 0.4, "close": ending / 2, "bad": 0.3, "repeat": 1}
    if kind == "socks_listen":
        weights |= {"accept": 8, "connect": 8, "recv": 3, "sendall": 2, "plain_connect": 3, "plain_close": 2}
    elif kind in STREAMS:
        weights |= {"recv": 10, "recv_into": 6, "sendall": 10, "sendfile": 3, "shutdown": ending, "recvfrom": 1}
        weights |= {"plain_send": 3, "plain_recv": 3}
    else:
        weights |= {"recvfrom": 8, "recvfrom_into": 5, "sendto": 14, "recv": 2, "plain_send": 3, "plain_recv": 3}
    name = pick(chance, weights)
    arguments = []
    if name in READS and name != "accept":
        arguments = [room]
    elif name in ("sendall", "sendto"):
        arguments = [size, chance.choice(["bytes", "bytearray", "memoryview"])]
    elif name == "sendfile":
        arguments = [min(size, 5000), chance.choice([0, 10]), chance.choice([None, 1, 100])]
    elif name in ("plain_send", "plain_recv"):
        arguments = [min(size, 4000)]
    elif name == "bad":
        arguments = [chance.choice(["recv", "sendall", "into", "connect"])]
    elif name == "connect":
        arguments = [chance.choice(["listener", "listener", "listener", "nobody"])]
    return chance.randrange(2), [name, *arguments]


class Socks(Stage):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.is_stream = self.kind in STREAMS
        self.is_datagram = self.kind in ("socks_udp", "socks_unix_datagram")
        self.socks = []
        self.addresses = [None, None]
        self.written = [0, 0]
        self.waiting = [0, 0]
        self.gone = [False, False]
        self.ended = [False, False]
        # Connected in plain, in the order of their making.
        self.others = []
        self.touched = set()

    async def begin(self):
        if self.is_stream:
            self.socks = list(stream_pair(socket.AF_UNIX if self.kind == "socks_unix" else socket.AF_INET))
        elif self.is_datagram:
            family = socket.AF_INET if self.kind == "socks_udp" else socket.AF_UNIX
            self.socks = [socket.socket(family, socket.SOCK_DGRAM) for _ in range(2)]
            for number, sock in enumerate(self.socks):
                sock.bind(("127.0.0.1", 0) if family == socket.AF_INET else f"{self.directory}/{number}")
                self.addresses[number] = sock.getsockname()
        else:
            listener = limit(socket.socket(socket.AF_UNIX))
            listener.bind(f"{self.directory}/listener")
            listener.listen(100)
            self.socks = [listener, limit(socket.socket(socket.AF_UNIX))]
        for sock in self.socks:
            sock.setblocking(False)

    async def finish(self):
        for sock in self.socks + self.others:
            sock.close()

    def new_step(self, number):
        super().new_step(number)
        self.touched = set()

    def show(self, value):
        if value in self.addresses and value is not None:
            return f"address of {self.addresses.index(value)}"
        if isinstance(value, socket.socket):
            return "socket"
        return super().show(value)

    # Rest

    def state(self):
        numbers = [sock.fileno() for sock in self.socks]
        return super().state(), [(unsent(number), unread(number)) for number in numbers if number >= 0]

    def waits_for(self):
        if self.is_busy("sendfile"):
            return "runs"
        if self.is_datagram:
            reads = [actor for actor in range(2) if not self.gone[actor] and self.running(actor, *READS)]
            return "messages" if any(unread(self.socks[actor].fileno()) for actor in reads) else None
        if self.kind != "socks_tcp":
            return None
        for actor in range(2):
            reads = self.running(1 - actor, *READS)
            if self.gone[actor] or self.gone[1 - actor]:
                if self.gone[actor] and reads:
                    return "an end"
            elif reads and (unsent(self.socks[actor].fileno()) or unread(self.socks[1 - actor].fileno())):
                return "bytes"
            elif self.ended[actor] and reads and not self.running(actor, *WRITES):
                return "an end"
        return None

    # Operations

    def may(self, actor, *arguments):
        return not self.gone[actor]

    def may_begin_read(self, actor, *arguments):
        return not self.gone[actor] and not self.running(actor, *READS)

    may_recv = may_recv_into = may_recvfrom = may_recvfrom_into = may_accept = may_begin_read

    def may_begin_write(self, actor, *arguments):
        return not self.gone[actor] and not self.running(actor, *WRITES)

    may_sendall = may_sendto = may_sendfile = may_connect = may_begin_write

    def take(self, actor, count):
        start = self.written[actor] % 65537
        self.written[actor] += count
        return TEXT[start : start + count]

    def form(self, data, form):
        return {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview}[form](data)

    async def op_recv(self, actor, room):
        return await self.loop.sock_recv(self.socks[actor], room)

    async def op_recv_into(self, actor, room):
        buffer = bytearray(room)
        count = await self.loop.sock_recv_into(self.socks[actor], buffer)
        return [count, buffer]

    async def op_recvfrom(self, actor, room):
        return await self.loop.sock_recvfrom(self.socks[actor], room)

    async def op_recvfrom_into(self, actor, room):
        buffer = bytearray(room)
        answer = await self.loop.sock_recvfrom_into(self.socks[actor], buffer)
        return [answer, buffer]

    async def op_sendall(self, actor, size, form):
        return await self.loop.sock_sendall(self.socks[actor], self.form(self.take(actor, size), form))

    async def op_sendto(self, actor, size, form):
        data = self.form(self.take(actor, size), form)
        return await self.loop.sock_sendto(self.socks[actor], data, self.addresses[1 - actor])

    async def op_sendfile(self, actor, size, offset, count):
        with open(f"{self.directory}/sent{actor}", "w+b") as file:
            file.write(self.take(actor, size))
            file.seek(0)
            sent = await self.loop.sock_sendfile(self.socks[actor], file, offset, count)
            return [sent, file.tell()]

    async def op_accept(self, actor):
        conn, address = await self.loop.sock_accept(self.socks[actor])
        self.others.append(conn)
        return [conn, address, conn.gettimeout()]

    async def op_connect(self, actor, where):
        return await self.loop.sock_connect(self.socks[actor], f"{self.directory}/{where}")

    async def op_repeat(self, actor):
        """Many reads one after the other, each of which waits or does not."""
        if self.running(actor, *READS) or self.kind == "socks_listen":
            return None
        seen = []
        for _ in range(3):
            seen.append(await self.loop.sock_recv(self.socks[actor], 50))
        return seen

    def may_repeat(self, actor):
        return self.may_begin_read(actor) and not self.running(actor, "repeat")

    def may_plain(self, actor, *arguments):
        return not self.gone[actor] and not self.running(actor, "repeat", *READS, *WRITES)

    may_plain_send = may_plain_recv = may_plain

    def op_plain_send(self, actor, size):
        data = self.take(actor, size)
        if self.is_datagram:
            return self.socks[actor].sendto(data, self.addresses[1 - actor])
        return self.socks[actor].send(data)

    def op_plain_recv(self, actor, size):
        return self.socks[actor].recv(size)

    def op_plain_connect(self, actor):
        other = socket.socket(socket.AF_UNIX)
        other.connect(f"{self.directory}/listener")
        self.others.append(other)

    def may_plain_connect(self, actor):
        return not self.gone[0]

    def op_plain_close(self, actor):
        if self.others:
            self.others.pop().close()

    def op_shutdown(self, actor):
        self.ended[actor] = True
        return self.socks[actor].shutdown(socket.SHUT_WR)

    def may_close(self, actor):
        return not self.gone[actor] and not self.running(actor, "repeat", *READS, *WRITES)

    def op_close(self, actor):
        self.gone[actor] = True
        return self.socks[actor].close()

    def may_blocking(self, actor):
        return not self.gone[actor] and not self.running(actor, "repeat", *READS, *WRITES)

    async def op_blocking(self, actor):
        """Debug mode refuses a socket that blocks; without, nothing is tried that would."""
        if not self.scenario.debug:
            return None
        self.socks[actor].setblocking(True)
        try:
            return await self.loop.sock_recv(self.socks[actor], 1)
        finally:
            self.socks[actor].setblocking(False)

    async def op_bad(self, actor, what):
        sock = self.socks[actor]
        match what:
            case "recv":
                return await self.loop.sock_recv(sock, "many")
            case "sendall":
                return await self.loop.sock_sendall(sock, "text")
            case "into":
                return await self.loop.sock_recv_into(sock, b"constant")
            case _:
                return await self.loop.sock_connect(sock, 5)

    def may_bad(self, actor, what):
        return self.may_blocking(actor)


STAGE = Socks
