"""The servers of a soak, which send back what comes, each in the way of one of asyncio's interfaces."""

import asyncio
import ssl


class Echo(asyncio.Protocol):
    """Reads no more while it cannot write."""

    def __init__(self, books):
        self.books = books

    def connection_made(self, transport):
        self.transport = transport
        self.books.add("servers made")

    def data_received(self, data):
        self.transport.write(data)

    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()

    def connection_lost(self, exc):
        self.books.add("servers lost")


class BufferedEcho(Echo, asyncio.BufferedProtocol):
    """The same into a buffer of its own."""

    data_received = None

    def __init__(self, books):
        super().__init__(books)
        self.buffer = bytearray(4096)

    def get_buffer(self, size):
        return self.buffer

    def buffer_updated(self, count):
        self.transport.write(bytes(memoryview(self.buffer)[:count]))


def stream_handler(books, upgrade=None):
    """A handler for asyncio.start_server; with a context it begins TLS after the first line."""

    async def echo(reader, writer):
        books.add("servers made")
        try:
            if upgrade:
                await reader.readline()
                writer.write(b"go on\n")
                await writer.start_tls(upgrade)
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()
            try:
                await writer.wait_closed()
            except (ConnectionError, ssl.SSLError):
                pass
            books.add("servers lost")

    return echo


class Answer(asyncio.DatagramProtocol):
    """Sends each datagram back."""

    def __init__(self, books):
        self.books = books

    def connection_made(self, transport):
        self.transport = transport
        self.books.add("endpoints made")

    def datagram_received(self, data, address):
        self.transport.sendto(data, address)

    def connection_lost(self, exc):
        self.books.add("endpoints lost")


BACKLOG = 4096
# One port has 28,000 others to be connected from, which rest for a minute after each connection.
HOSTS = [f"127.0.0.{number}" for number in range(1, 9)]


async def start(loop, books, contexts, directory):
    """Servers by kind of connection: lists of (server, address)."""

    def echo():
        return Echo(books)

    def buffered():
        return BufferedEcho(books)

    servers = {"tcp": [], "tls": [], "unix": [], "start_tls": []}
    for number, host in enumerate(HOSTS):
        how = {"host": host, "port": 0, "backlog": BACKLOG}
        if number % 4 == 0:
            server = await loop.create_server(buffered, **how)
        elif number % 4 == 1:
            server = await loop.create_server(echo, **how)
        else:
            server = await asyncio.start_server(stream_handler(books), **how)
        servers["tcp"].append(server)
    how = {"port": 0, "backlog": BACKLOG, "ssl": contexts.server}
    servers["tls"] += [
        await loop.create_server(echo, HOSTS[0], **how),
        await loop.create_server(buffered, HOSTS[1], **how),
        await asyncio.start_server(stream_handler(books), HOSTS[2], **how),
    ]
    servers["start_tls"].append(
        await asyncio.start_server(stream_handler(books, contexts.server), HOSTS[3], 0, backlog=BACKLOG)
    )
    servers["unix"] += [
        await loop.create_unix_server(echo, f"{directory}/echo", backlog=BACKLOG),
        await asyncio.start_unix_server(stream_handler(books), f"{directory}/streams", backlog=BACKLOG),
    ]
    return {kind: [(server, server.sockets[0].getsockname()) for server in made] for kind, made in servers.items()}
