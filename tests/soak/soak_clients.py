"""The lives of a soak's connections: made in each way, talked through, ended in each way, made again.

What is said is said back, and compared byte by byte as it comes.
"""

import asyncio
import contextlib
import socket
import ssl

from soak_counts import say

ENDS = ["close", "close", "eof", "abort", "unread", "cancelled read"]
EXPECTED = (ConnectionError, ssl.SSLError)


def some_size(rng):
    """Mostly small."""
    return rng.randint(1, rng.choice([100, 2000, 4000, 4000, 40_000] if rng.random() < 0.95 else [150_000]))


class Client(asyncio.Protocol):
    """Compares what comes with what it said."""

    def __init__(self, loop, books):
        self.loop, self.books = loop, books
        self.lost = loop.create_future()
        self.expected = b""

    def connection_made(self, transport):
        self.transport = transport
        self.books.add("clients made")

    def say(self, piece):
        self.expected = piece
        self.heard = self.loop.create_future()
        self.transport.write(piece)

    async def hear(self, size):
        await self.heard

    def data_received(self, data):
        if self.expected[: len(data)] != data:
            self.books.complain(f"{len(data)} bytes are not those that were said")
        self.expected = self.expected[len(data) :]
        if not self.expected and not self.heard.done():
            self.heard.set_result(None)

    def connection_lost(self, exc):
        self.books.add("clients lost")
        if self.expected and not self.heard.done():
            self.heard.set_exception(exc or ConnectionError("lost"))
            self.heard.exception()
        self.lost.set_result(None)

    async def wait_closed(self):
        await self.lost


class BufferedClient(Client, asyncio.BufferedProtocol):
    data_received = None

    def __init__(self, loop, books):
        super().__init__(loop, books)
        self.buffer = bytearray(1024)

    def get_buffer(self, size):
        return self.buffer

    def buffer_updated(self, count):
        Client.data_received(self, memoryview(self.buffer)[:count])


class StreamClient:
    """The same by streams."""

    def __init__(self, books, reader, writer):
        self.books, self.reader, self.writer = books, reader, writer
        self.transport = writer.transport
        self.expected = b""
        books.add("clients made")

    def say(self, piece):
        self.expected = piece
        self.writer.write(piece)

    async def hear(self, size):
        await self.writer.drain()
        if await self.reader.readexactly(size) != self.expected:
            self.books.complain(f"{size} bytes are not those that were said")

    async def wait_closed(self):
        with contextlib.suppress(*EXPECTED):
            self.writer.close()
            await self.writer.wait_closed()
        self.books.add("clients lost")


class Lives:
    """What one slot does, one connection after the other, until the time is over."""

    def __init__(self, soak, kind, rng):
        self.soak, self.kind, self.rng = soak, kind, rng
        self.loop, self.books = soak.loop, soak.books
        self.lives = {"tcp": [self.talk] * 12 + [self.raw, self.refused, self.cancelled_connect]}
        self.lives["tls"] = [self.talk] * 12 + [self.distrusted, self.garbage, self.cancelled_connect]

    async def run(self):
        await self.soak.pause(self.rng)
        while not self.soak.is_over():
            self.books.add(f"lives {self.kind}")
            await self.rng.choice(self.lives.get(self.kind, [self.talk]))()

    def address(self):
        return self.rng.choice(self.soak.servers[self.kind])[1]

    def where(self, context=None):
        """Arguments of a connection to one of the servers."""
        address = self.address()
        if isinstance(address, str):
            return {"path": address}
        where = {"host": address[0], "port": address[1]}
        if self.kind == "tls":
            where |= {"ssl": context or self.soak.contexts.client, "server_hostname": "localhost"}
        return where

    async def connect(self):
        where = self.where()
        if self.kind == "start_tls" or self.rng.random() < 0.4:
            open_streams = asyncio.open_unix_connection if "path" in where else asyncio.open_connection
            reader, writer = await open_streams(**where)
            if self.kind == "start_tls":
                writer.write(b"please\n")
                await reader.readline()
                await writer.start_tls(self.soak.contexts.client, server_hostname="localhost")
            return StreamClient(self.books, reader, writer)
        protocol = self.rng.choice([Client, Client, BufferedClient])(self.loop, self.books)
        create = self.loop.create_unix_connection if "path" in where else self.loop.create_connection
        await create(lambda: protocol, **where)
        return protocol

    async def talk(self):
        client = await self.connect()
        for _ in range(self.rng.randint(1, 4)):
            await self.exchange(client)
            if self.soak.is_over():
                break
            await self.soak.pause(self.rng)
        end = self.rng.choice(ENDS)
        self.books.add(f"end by {end}")
        await self.end(client, end)
        await client.wait_closed()

    async def exchange(self, client):
        size = some_size(self.rng)
        self.books.add("bytes asked", size)
        client.say(say(self.rng, size))
        await client.hear(size)
        self.books.add("bytes echoed", size)

    async def end(self, client, end):
        transport = client.transport
        if end == "eof" and transport.can_write_eof():
            self.last_words(client)
            transport.write_eof()
            if isinstance(client, StreamClient):
                await client.reader.read()
        elif end == "abort":
            self.last_words(client)
            transport.abort()
        elif end == "unread":
            transport.pause_reading()
            self.last_words(client)
            await asyncio.sleep(0)
            transport.close()
        elif end == "cancelled read":
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.01):
                    await (client.reader.read(1) if isinstance(client, StreamClient) else asyncio.shield(client.lost))
            transport.close()
        else:
            transport.close()

    def last_words(self, client):
        """Said, and perhaps not answered any more."""
        size = some_size(self.rng)
        self.books.add("bytes of last words", size)
        client.say(say(self.rng, size))

    async def raw(self):
        """By the loop's sock_ methods."""
        with socket.socket() as sock:
            sock.setblocking(False)
            await self.loop.sock_connect(sock, self.address())
            for _ in range(2):
                size = some_size(self.rng)
                self.books.add("bytes asked", size)
                piece = say(self.rng, size)
                await self.loop.sock_sendall(sock, piece)
                while piece:
                    data = await self.loop.sock_recv(sock, 1 << 16)
                    if not data or piece[: len(data)] != data:
                        self.books.complain(f"{len(data)} bytes are not those that were said to a socket")
                    piece = piece[len(data) :]
                self.books.add("bytes echoed", size)
                await self.soak.pause(self.rng)

    async def refused(self):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            try:
                await self.loop.create_connection(asyncio.Protocol, *sock.getsockname())
            except ConnectionRefusedError:
                self.books.add("refused")
            else:
                self.books.complain("a connection nobody listens for")

    async def cancelled_connect(self):
        protocol = Client(self.loop, self.books)
        connecting = self.loop.create_task(self.loop.create_connection(lambda: protocol, **self.where()))
        for _ in range(self.rng.randint(0, 6)):
            await asyncio.sleep(0)
        connecting.cancel()
        try:
            transport, _ = await connecting
        except asyncio.CancelledError:
            self.books.add("connects cancelled")
        else:
            transport.close()
            await protocol.lost

    async def distrusted(self):
        """The client does not know who signed."""
        try:
            await asyncio.open_connection(**self.where(self.soak.contexts.distrustful))
        except ssl.SSLError:
            self.books.add("handshakes failed")
        else:
            self.books.complain("a certificate that nobody signed is trusted")

    async def garbage(self):
        """What is no TLS at all."""
        reader, writer = await asyncio.open_connection(*self.address())
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        self.books.add("handshakes failed")
