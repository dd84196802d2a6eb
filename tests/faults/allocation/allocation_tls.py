"""The scenarios over TLS: handshakes of both versions, data both ways, close, eof, start_tls; and where they fail.

Relies on trustme for the certificates, which are made once, before allocations are counted.
"""

import asyncio
import functools
import ssl

from allocation_scenarios import BIG, Echo, Notes, check, closing, pair, received, scenario


@functools.cache
def contexts(version):
    import trustme

    authority = trustme.CA()
    serving, asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(serving)
    authority.configure_trust(asking)
    for context in (serving, asking):
        context.minimum_version = context.maximum_version = version
    return serving, asking


async def accept_tls(loop, sock, serving):
    """The server's end over a socket, which create_connection does not do."""
    return await loop.connect_accepted_socket(Echo, sock, ssl=serving)


async def tls_exchange(version):
    loop = asyncio.get_running_loop()
    serving, asking = contexts(version)
    near, far = pair()
    accepting = asyncio.create_task(accept_tls(loop, far, serving))
    transport, protocol = await loop.create_connection(Notes, sock=near, ssl=asking, server_hostname="localhost")
    with closing(transport):
        other, echo = await accepting
        with closing(other):
            transport.get_extra_info("peercert")
            transport.write(BIG[:1000])
            transport.writelines([BIG[1000:100000], bytearray(BIG[100000:])])
            await received(protocol, BIG)
    for each in (protocol, echo):
        if exc := await each.lost:
            raise exc


@scenario
async def tls():
    await tls_exchange(ssl.TLSVersion.TLSv1_3)


@scenario
async def tls_1_2():
    await tls_exchange(ssl.TLSVersion.TLSv1_2)


@scenario
async def tls_streams():
    serving, asking = contexts(ssl.TLSVersion.TLSv1_3)
    server = await asyncio.start_server(serve_echo_tls, "127.0.0.1", 0, ssl=serving)
    try:
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address, ssl=asking, server_hostname="localhost")
        with closing(writer):
            writer.write(BIG[:100000])
            check(await reader.readexactly(100000) == BIG[:100000])
        await writer.wait_closed()
    finally:
        server.close()
    await server.wait_closed()


async def serve_echo_tls(reader, writer):
    with closing(writer):
        while data := await reader.read(1 << 16):
            writer.write(data)


@scenario
async def start_tls():
    """On a connection that was plain before, at both ends."""
    serving, asking = contexts(ssl.TLSVersion.TLSv1_3)

    async def upgrade(reader, writer):
        with closing(writer):
            await reader.readexactly(1)
            writer.write(b"+")
            await writer.start_tls(serving)
            await serve_echo_tls(reader, writer)

    server = await asyncio.start_server(upgrade, "127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with closing(writer):
            writer.write(b"?")
            check(await reader.readexactly(1) == b"+")
            await writer.start_tls(asking, server_hostname="localhost")
            writer.write(b"x" * 20000)
            check(await reader.readexactly(20000) == b"x" * 20000)
        await writer.wait_closed()
    finally:
        server.close()
    await server.wait_closed()


@scenario
async def tls_refused():
    """A name that the certificate does not have: both ends are told."""
    loop = asyncio.get_running_loop()
    serving, asking = contexts(ssl.TLSVersion.TLSv1_3)
    near, far = pair()
    accepting = asyncio.create_task(accept_tls(loop, far, serving))
    try:
        await loop.create_connection(Notes, sock=near, ssl=asking, server_hostname="elsewhere")
    except ssl.SSLCertVerificationError:
        pass
    else:
        check(False)
    await asyncio.wait([accepting])


@scenario
async def tls_abort():
    """The other end goes away without a word, in the middle of what is written."""
    loop = asyncio.get_running_loop()
    serving, asking = contexts(ssl.TLSVersion.TLSv1_3)
    near, far = pair()
    accepting = asyncio.create_task(accept_tls(loop, far, serving))
    transport, protocol = await loop.create_connection(Notes, sock=near, ssl=asking, server_hostname="localhost")
    with closing(transport):
        other, _ = await accepting
        transport.write(BIG * 4)
        other.abort()
        await protocol.lost
