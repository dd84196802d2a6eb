"""What the TLS tests share: certificates made on the spot, contexts, connected pairs, a peer that is told each byte.

Relies on trustme for the certificates and on `loop.sock_*` for the raw peer.
"""

import _ssl
import asyncio
import contextlib
import ctypes
import datetime
import functools
import socket
import ssl

import trustme
from tcp_support import Recorder, tcp_pair, turns

HOST = "localhost"


class Certificates:
    """One authority that the clients trust, one that they do not, and certificates of both."""

    def __init__(self):
        self.authority = trustme.CA()
        self.stranger = trustme.CA()
        self.good = self.authority.issue_cert(HOST, "127.0.0.1")
        self.client = self.authority.issue_cert("client@example.org")

    def named(self, name):
        return self.authority.issue_cert(name)

    def expired(self):
        return self.authority.issue_cert(HOST, not_after=datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC))

    def unknown(self):
        return self.stranger.issue_cert(HOST)


@functools.cache
def certificates():
    return Certificates()


VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def limit(context, version):
    if version is not None:
        context.minimum_version = context.maximum_version = VERSIONS[version]
    return context


def server_context(version=None, cert=None):
    context = limit(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), version)
    (cert or certificates().good).configure_cert(context)
    return context


def client_context(version=None):
    context = limit(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), version)
    certificates().authority.configure_trust(context)
    return context


def quiet_drop(transport):
    """Abort a transport, whatever its state."""
    with contextlib.suppress(AttributeError, TypeError):
        transport.abort()


def replace_method(monkeypatch, name):
    """Put a function that is not ssl's in the place of SSLObject's method of that name; return the original."""
    original = getattr(ssl.SSLObject, name)
    monkeypatch.setattr(ssl.SSLObject, name, lambda *args: original(*args))
    return original


async def tls_pair(client, server, near_factory=Recorder, far_factory=Recorder, name=HOST):
    """(transport, protocol) of each end of one TLS connection between two contexts, both on the running loop."""
    loop = asyncio.get_running_loop()
    near, far = tcp_pair()
    return await asyncio.gather(
        loop.create_connection(near_factory, sock=near, ssl=client, server_hostname=name),
        loop.connect_accepted_socket(far_factory, sock=far, ssl=server),
    )


@contextlib.asynccontextmanager
async def tls_linked(near_factory=Recorder, far_factory=Recorder, version=None):
    """The protocols of the two ends, client and server, of one TLS connection, both on the running loop."""
    (near_transport, near_protocol), (far_transport, far_protocol) = await tls_pair(
        client_context(version), server_context(version), near_factory, far_factory
    )
    try:
        yield near_protocol, far_protocol
    finally:
        quiet_drop(near_transport)
        quiet_drop(far_transport)
        await turns(8)


def ask_for_new_keys(tls):
    """Have an SSLObject of TLS 1.3 tell the other end to change its keys, in front of what is written next."""
    library = ctypes.CDLL(_ssl.__file__)
    library.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    head = ctypes.c_void_p * 2  # of the object behind its header: a socket, and OpenSSL's part
    pointer = head.from_address(id(tls._sslobj) + object.__basicsize__)[1]
    assert library.SSL_key_update(pointer, 1) == 1


class RawPeer:
    """One end of a TCP connection with an SSLObject over it, under full control of the test."""

    def __init__(self, sock, context, *, server_side=False):
        self.sock = sock
        sock.setblocking(False)
        self.loop = asyncio.get_running_loop()
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=None if server_side else HOST
        )

    async def flush(self):
        if self.outgoing.pending:
            await self.loop.sock_sendall(self.sock, self.outgoing.read())

    async def step(self, function, *args):
        """Call a method of the SSLObject, with as many bytes from the socket as it wants."""
        while True:
            try:
                result = function(*args)
            except ssl.SSLWantReadError:
                await self.flush()
                data = await self.loop.sock_recv(self.sock, 65536)
                if not data:
                    raise ConnectionResetError("the other end closed") from None
                self.incoming.write(data)
            else:
                await self.flush()
                return result

    async def handshake(self):
        await self.step(self.tls.do_handshake)

    async def send(self, data):
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view[:16384]) :]
        await self.flush()

    def seal(self, data):
        """Return the records of `data` without sending them."""
        self.tls.write(data)
        return self.outgoing.read()

    async def read(self, count=65536):
        """Return some bytes; b"" where the other end has ended the stream, in order or not."""
        try:
            return await self.step(self.tls.read, count)
        except ConnectionResetError:
            return b""

    async def read_exactly(self, count):
        data = bytearray()
        while len(data) < count:
            part = await self.read(count - len(data))
            assert part, f"end of stream after {len(data)} of {count} bytes"
            data += part
        return bytes(data)

    def close(self):
        self.sock.close()


@contextlib.asynccontextmanager
async def with_raw_peer(factory=Recorder, *, version=None, server_side=True, timeout=None):
    """A (transport, protocol) of the loop and the RawPeer it is connected to, after the handshake."""
    loop = asyncio.get_running_loop()
    near, far = tcp_pair()
    timeouts = {"ssl_shutdown_timeout": timeout}
    if server_side:
        peer = RawPeer(far, server_context(version), server_side=True)
        make = loop.create_connection(
            factory, sock=near, ssl=client_context(version), server_hostname=HOST, **timeouts
        )
    else:
        peer = RawPeer(far, client_context(version))
        make = loop.connect_accepted_socket(factory, sock=near, ssl=server_context(version), **timeouts)
    (transport, protocol), _ = await asyncio.gather(make, peer.handshake())
    try:
        yield transport, protocol, peer
    finally:
        quiet_drop(transport)
        peer.close()
        await turns(8)


@contextlib.asynccontextmanager
async def serving(factory=Recorder, context=None, **options):
    """The address of a TLS server on loopback that makes protocols by the factory."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context or server_context(), **options)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()
        await turns()


def dial(address):
    """A non-blocking socket, connected."""
    sock = socket.create_connection(address)
    sock.setblocking(False)
    return sock
