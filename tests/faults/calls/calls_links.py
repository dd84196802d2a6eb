"""The work over connections: protocols and streams over TCP, Unix sockets and TLS, and pipes; see calls_work.py."""

import asyncio
import contextlib
import errno
import os
import ssl
import tempfile

import trustme
from calls_ways import BufferedEnd, End, Way


def small(work, most=200_000):
    """How many bytes a way is to carry."""
    return work.rng.choice((1, work.rng.randrange(1, 2000), work.rng.randrange(1, most)))


def port_of(server):
    if not server.sockets:  # before 3.12 that is how a server tells that it got none
        raise OSError(errno.EADDRNOTAVAIL, "no socket")
    return server.sockets[0].getsockname()[1]


class Place:
    """What is made once, before all runs: certificates, a directory, a file."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="calls")
        authority = trustme.CA()
        certificate = authority.issue_cert("localhost")
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self.server)
        self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        authority.configure_trust(self.client)
        self.file = os.path.join(self.directory, "file")


class Pairs:
    """Makes pairs of ends for a number of connections."""

    def __init__(self, work, *, may_half_close):
        self.work = work
        self.may_half_close = may_half_close

    def pair(self, name):
        work = self.work
        ways = [Way(work, f"{name}, way {i}", small(work)) for i in (0, 1)]
        ends = [work.rng.choice((End, BufferedEnd))(work, f"{name}, end {i}", ways[1 - i], ways[i]) for i in (0, 1)]
        if self.may_half_close and work.rng.randrange(3) == 0:
            for end in ends:
                end.sends_eof = True
        return ends

    async def finish(self, pairs):
        """Wait for those that began; the others never will."""
        for side in zip(*pairs, strict=True):
            if waiting := [end.done for end in side if end.made or self.work.is_soft]:
                await asyncio.wait(waiting)


async def transports(work, place, family, context=None, count=1):
    """Connections between protocols over a server; each server's end is that of whichever came."""
    loop, pairs = work.loop, Pairs(work, may_half_close=context is None and count == 1)
    name = f"{'tls' if context else family}"
    made = [pairs.pair(f"{name} {number}") for number in range(count)]
    # Who is accepted first need not have connected first: all server's ends are alike where there are more than one.
    if count > 1:
        for client, server in made:
            client.way_out.shift = server.way_out.shift = 0
            client.way_out.total = server.way_out.total = 1000
    free = [server for _, server in made]
    more = {}
    if context:
        more = {"ssl": place.client, "server_hostname": "localhost"}

    def take():
        return free.pop(0) if free else End(work, "stray", None, None)

    if family == "unix":
        path = os.path.join(place.directory, f"s{os.getpid()}-{id(made)}")
        server = await loop.create_unix_server(take, path, ssl=place.server if context else None)
    else:
        server = await loop.create_server(take, "127.0.0.1", 0, ssl=place.server if context else None)

    async def connect(client):
        if family == "unix":
            await loop.create_unix_connection(lambda: client, path, **more)
        else:
            port = port_of(server)
            await loop.create_connection(lambda: client, "127.0.0.1", port, **more)

    try:
        found = await asyncio.gather(*(connect(client) for client, _ in made), return_exceptions=True)
        for exc in found:
            if exc is not None:
                work.tell(exc, "raised")
        await pairs.finish(made)
    finally:
        server.close()
        if family == "unix":
            with contextlib.suppress(OSError):
                os.unlink(path)
    if work.is_soft:
        await server.wait_closed()


async def tcp(work, place):
    await transports(work, place, "tcp")


async def unix(work, place):
    await transports(work, place, "unix")


async def tls(work, place):
    await transports(work, place, work.rng.choice(("tcp", "unix")), context=True)


async def burst(work, place):
    await transports(work, place, "tcp", count=work.rng.randrange(2, 12))


async def serve_stream(work, server_way, client_way, reader, writer):
    try:
        while client_way.come < client_way.total:
            data = await reader.read(work.rng.choice((1, 100, 65536)))
            if not data:
                work.miss("stream: ended early")
                break
            client_way.check(data)
        while server_way.sent < server_way.total:
            writer.write(server_way.chunk())
            await writer.drain()
        writer.close()
        await writer.wait_closed()
    except (OSError, asyncio.IncompleteReadError) as exc:
        work.tell(exc, "raised")
    finally:
        writer.close()


async def streams(work, place, upgrade=False):
    """Streams, one side after the other; `upgrade`: over TLS that starts within the connection."""
    ways = [Way(work, f"streams, way {i}", small(work)) for i in (0, 1)]
    served = []

    async def serve(reader, writer):
        served.append(asyncio.current_task())
        try:
            if upgrade:
                await reader.readexactly(5)
                writer.write(b"ready")
                await writer.drain()
                await writer.start_tls(place.server)
        except (OSError, asyncio.IncompleteReadError) as exc:
            work.tell(exc, "raised")
            writer.close()
            return
        await serve_stream(work, ways[1], ways[0], reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
        if upgrade:
            writer.write(b"start")
            await reader.readexactly(5)
            await writer.start_tls(place.client, server_hostname="localhost")
        while ways[0].sent < ways[0].total:
            writer.write(ways[0].chunk())
            await writer.drain()
        while data := await reader.read(work.rng.choice((1, 1000, 65536))):
            ways[1].check(data)
        if not ways[1].is_whole:
            work.miss(f"streams: {ways[1].come} bytes of {ways[1].total}")
        writer.close()
        await writer.wait_closed()
    finally:
        server.close()
        if writer is not None:
            writer.close()
        if served:
            await asyncio.wait(served)


async def start_tls(work, place):
    await streams(work, place, upgrade=True)


async def pipes(work, place):
    """A pipe from one transport to the other."""
    way = Way(work, "pipe", small(work))
    reader, writer = (End(work, f"pipe, end {i}", *ways) for i, ways in enumerate(((way, None), (None, way))))
    reader.begins = writer.begins = False  # in debug mode the file's number is asked for after it is connected
    read_fd, write_fd = os.pipe()
    files = open(read_fd, "rb", 0), open(write_fd, "wb", 0)
    try:
        await work.loop.connect_read_pipe(lambda: reader, files[0])
        await work.loop.connect_write_pipe(lambda: writer, files[1])
        reader.begin()
        writer.begin()
        await asyncio.wait([reader.done, writer.done])
    finally:
        for end, file in zip((reader, writer), files, strict=True):
            if end.transport is None:
                file.close()
            else:
                end.transport.close()
