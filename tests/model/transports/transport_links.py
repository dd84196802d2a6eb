"""How the two ends of each kind of link come to be: `connect` gives both of them something to live on.

The kernel's buffers are set to fixed sizes, so that a big write is known not to fit. A raw end is a plain socket or
descriptor, which the player uses itself.
"""

import asyncio
import functools
import os
import socket
import ssl

import trustme

BUFFER = 65536


def limit(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    return sock


def tcp_listener():
    listener = limit(socket.socket())
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


def dial(listener):
    sock = limit(socket.socket(listener.family))
    sock.connect(listener.getsockname())
    if listener.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def accept(listener):
    sock, _ = listener.accept()
    if listener.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.close()
    return sock


def stream_pair(family):
    if family == socket.AF_UNIX:
        return [limit(sock) for sock in socket.socketpair()]
    listener = tcp_listener()
    near = dial(listener)
    return near, accept(listener)


async def at_home(end, coroutine):
    """Await a coroutine on the end's loop, which may be another than the player's."""
    loop = asyncio.get_running_loop()
    if end.loop is loop:
        return await coroutine
    done = loop.create_future()
    task = end.loop.create_task(coroutine)
    task.add_done_callback(lambda task: done.set_result(None))
    await done
    return task.result()


async def connect_socks(ends, family):
    """Both ends from sockets that are connected already."""
    socks = stream_pair(family)
    for end, sock in zip(ends, socks, strict=True):
        if end.is_raw:
            end.live_on(sock)
    making = []
    if not ends[0].is_raw:
        near = ends[0].loop.create_connection(ends[0].make_protocol, sock=socks[0])
        making.append(at_home(ends[0], near))
    if not ends[1].is_raw:
        far = ends[1].loop.connect_accepted_socket(ends[1].make_protocol, sock=socks[1])
        making.append(at_home(ends[1], far))
    await asyncio.gather(*making)


async def connect_served(ends, family, directory):
    """End 1 is accepted by a server, end 0 connects."""
    if family == socket.AF_UNIX:
        listener = limit(socket.socket(socket.AF_UNIX))
        listener.bind(f"{directory}/served")
        listener.listen()
    else:
        listener = tcp_listener()
    server = None
    if not ends[1].is_raw:
        if family == socket.AF_UNIX:
            making = ends[1].loop.create_unix_server(ends[1].make_protocol, sock=listener)
        else:
            making = ends[1].loop.create_server(ends[1].make_protocol, sock=listener)
        server = await at_home(ends[1], making)
    if ends[0].is_raw:
        ends[0].live_on(dial(listener))
    elif family == socket.AF_UNIX:
        await at_home(ends[0], ends[0].loop.create_unix_connection(ends[0].make_protocol, f"{directory}/served"))
    else:
        await at_home(ends[0], ends[0].loop.create_connection(ends[0].make_protocol, *listener.getsockname()))
    if not ends[0].is_raw:
        limit(ends[0].transport.get_extra_info("socket"))
    if ends[1].is_raw:
        ends[1].live_on(accept(listener))
    while not ends[1].is_made:
        await asyncio.sleep(0)
    if server is not None:
        server.close()


async def connect_pipes(ends, kind, directory):
    """End 0 writes, end 1 reads."""
    if kind == "pipe":
        reading, writing = os.pipe()
        files = open(writing, "wb", 0), open(reading, "rb", 0)
    elif kind == "fifo":
        os.mkfifo(f"{directory}/fifo")
        reading = os.open(f"{directory}/fifo", os.O_RDONLY | os.O_NONBLOCK)
        files = open(f"{directory}/fifo", "wb", 0), open(reading, "rb", 0)
    else:
        files = [limit(sock) for sock in socket.socketpair()]
    for end, file in zip(ends, files, strict=True):
        if end.is_raw:
            end.live_on(file)
    if not ends[0].is_raw:
        await at_home(ends[0], ends[0].loop.connect_write_pipe(ends[0].make_protocol, files[0]))
    if not ends[1].is_raw:
        await at_home(ends[1], ends[1].loop.connect_read_pipe(ends[1].make_protocol, files[1]))


async def connect_datagrams(ends, kind, directory):
    family = socket.AF_UNIX if kind == "unix_datagram" else socket.AF_INET
    socks = []
    for number in range(2):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind(f"{directory}/datagram{number}" if family == socket.AF_UNIX else ("127.0.0.1", 0))
        sock.setblocking(False)
        socks.append(sock)
    for end, sock, other in zip(ends, socks, reversed(socks), strict=True):
        end.address = sock.getsockname()
        end.peer_address = other.getsockname()
        if kind == "udp_connected":
            sock.connect(end.peer_address)
    for end, sock in zip(ends, socks, strict=True):
        if end.is_raw:
            end.live_on(sock)
        else:
            await at_home(end, end.loop.create_datagram_endpoint(end.make_protocol, sock=sock))


@functools.cache
def certificates():
    authority = trustme.CA()
    return authority, authority.issue_cert("localhost")


def tls_contexts(version):
    """Contexts of the client and the server."""
    authority, certificate = certificates()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.configure_trust(client)
    certificate.configure_cert(server)
    for context in (client, server):
        context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    return client, server


async def connect_tls(ends, version):
    """Both ends over a TCP connection, end 0 being the client."""
    client, server = tls_contexts(version)
    near, far = stream_pair(socket.AF_INET)
    one, other = ends
    await asyncio.gather(
        at_home(
            one, one.loop.create_connection(one.make_protocol, sock=near, ssl=client, server_hostname="localhost")
        ),
        at_home(other, other.loop.connect_accepted_socket(other.make_protocol, sock=far, ssl=server)),
    )


async def upgrade(ends, version):
    """Begin TLS on ends that are connected in the clear."""
    contexts = tls_contexts(version)
    names = [{"server_hostname": "localhost"}, {"server_side": True}]
    starting = [
        at_home(end, end.loop.start_tls(end.transport, end.protocols[-1], context, **name))
        for end, context, name in zip(ends, contexts, names, strict=True)
    ]
    for end, transport in zip(ends, await asyncio.gather(*starting), strict=True):
        end.transport = transport


async def connect(ends, kind, directory, tls_version):
    """Connect the ends by a link of this kind; each that is not raw has been given its protocol's transport."""
    match kind:
        case "tcp" | "unix":
            await connect_served(ends, socket.AF_INET if kind == "tcp" else socket.AF_UNIX, directory)
        case "tcp_sock" | "unix_sock":
            await connect_socks(ends, socket.AF_INET if kind == "tcp_sock" else socket.AF_UNIX)
        case "start_tls":
            await connect_socks(ends, socket.AF_INET)
        case "tls":
            await connect_tls(ends, tls_version)
        case "pipe" | "fifo" | "socket_pipe":
            await connect_pipes(ends, kind, directory)
        case _:
            await connect_datagrams(ends, kind, directory)
