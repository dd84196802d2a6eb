"""TLS against bad peers: certificates that do not hold, peers that speak no TLS, handshakes cut at every point.

Covers tls/handshake.c and tls/shutdown.c. What is asserted is asyncio's: exception types, no call of the protocol
before the handshake is over, no byte that was not verified, connection_lost at most once, and an end in every case.
"""

import asyncio
import contextlib
import gc
import socket
import ssl
import struct
import weakref

import pytest
from tcp_support import BufferedRecorder, Recorder, pattern, reset, tcp_pair, turns
from tls_support import (
    HOST,
    RawPeer,
    certificates,
    client_context,
    dial,
    server_context,
    serving,
    tls_linked,
    with_raw_peer,
)


async def connect(address, context=None, factory=Recorder, name=HOST, **options):
    loop = asyncio.get_running_loop()
    return await loop.create_connection(
        factory, *address, ssl=context or client_context(), server_hostname=name, **options
    )


BAD_CERTIFICATES = {
    "expired": (lambda: certificates().expired(), HOST, "certificate has expired"),
    "wrong name": (lambda: certificates().named("other.example"), HOST, "Hostname mismatch|not match"),
    "wrong address": (lambda: certificates().named("other.example"), "127.0.0.1", "IP address mismatch|not match"),
    "unknown authority": (lambda: certificates().unknown(), HOST, "unable to get local issuer|self.signed"),
}


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("case", BAD_CERTIFICATES)
def test_a_client_refuses_bad_certificates(run, errors, debug, case, version):
    make, name, text = BAD_CERTIFICATES[case]
    made = []

    async def main():
        def factory():
            made.append(Recorder())
            return made[-1]

        async with serving(context=server_context(version, make())) as address:
            with pytest.raises(ssl.SSLCertVerificationError, match=text):
                await connect(address, factory=factory, name=name)
            await turns(20)

    run(main())
    assert made[0].events == []
    allowed = {"Error on transport creation for incoming connection"} if debug else set()
    assert {context["message"] for context in errors} <= allowed


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_server_refuses_a_client_without_certificate(run, errors, debug, version):
    seen = []

    async def main():
        context = server_context(version)
        context.verify_mode = ssl.CERT_REQUIRED
        certificates().authority.configure_trust(context)

        def factory():
            seen.append(Recorder())
            return seen[-1]

        async with serving(factory, context) as address:
            if version == "1.2":
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    await connect(address)
            else:
                # The client's part of the handshake is over before the server has looked.
                transport, protocol = await connect(address)
                transport.write(b"secret")
                await protocol.lost
            while not seen:
                await asyncio.sleep(0)
            await turns(20)
        assert seen[0].events == []

    run(main())
    if debug:
        assert isinstance(errors[0]["exception"], ssl.SSLError)
        assert errors[0]["protocol"] is seen[0]
        assert errors[0]["transport"].is_closing()
    else:
        assert errors == []


def test_a_client_certificate_is_shown(run):
    async def main():
        server = server_context()
        server.verify_mode = ssl.CERT_REQUIRED
        certificates().authority.configure_trust(server)
        client = client_context()
        certificates().client.configure_cert(client)
        loop = asyncio.get_running_loop()
        near, far = tcp_pair()
        (transport, _), (accepted, _) = await asyncio.gather(
            loop.create_connection(Recorder, sock=near, ssl=client, server_hostname=HOST),
            loop.connect_accepted_socket(Recorder, sock=far, ssl=server),
        )
        assert ("email", "client@example.org") in accepted.get_extra_info("peercert")["subjectAltName"]
        transport.abort()
        accepted.abort()

    run(main())


def test_plain_text_to_a_tls_port(run, errors, debug):
    seen = []

    async def main():
        loop = asyncio.get_running_loop()

        def factory():
            seen.append(Recorder())
            return seen[-1]

        async with serving(factory) as address:
            sock = dial(address)
            await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            with_end = b"x"
            while with_end:
                try:
                    with_end = await loop.sock_recv(sock, 1000)
                except ConnectionResetError:
                    break
            sock.close()
            # The pair that all connections share must be clean again.
            for _ in range(3):
                transport, protocol = await connect(address)
                transport.write(pattern(1000))
                await turns()
                transport.abort()
                await protocol.lost

    run(main())
    assert seen[0].events == []
    assert len(errors) == (1 if debug else 0)
    if debug:
        assert isinstance(errors[0]["exception"], ssl.SSLError)
        assert "HTTP_REQUEST" in str(errors[0]["exception"]) or "http request" in str(errors[0]["exception"])


def test_tls_to_a_plain_port(run):
    async def main():
        loop = asyncio.get_running_loop()

        class Greeting(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                transport.write(b"220 mail.example.org ESMTP ready when you are\r\n")

        server = await loop.create_server(Greeting, "127.0.0.1", 0)
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER|wrong version number|RECORD_LAYER"):
            await connect(server.sockets[0].getsockname())
        server.close()

    run(main())


@pytest.mark.parametrize("how", ["nothing", "half a hello", "one byte at a time"])
def test_a_client_too_slow_for_the_handshake(run, how, errors, debug):
    seen = []

    async def main():
        loop = asyncio.get_running_loop()

        def factory():
            seen.append(Recorder())
            return seen[-1]

        async with serving(factory, ssl_handshake_timeout=0.2) as address:
            sock = dial(address)
            peer = RawPeer(sock, client_context())
            with pytest.raises(ssl.SSLWantReadError):
                peer.tls.do_handshake()
            hello = peer.outgoing.read()
            try:
                if how == "half a hello":
                    await loop.sock_sendall(sock, hello[: len(hello) // 2])
                if how == "one byte at a time":
                    for number in range(len(hello) - 1):
                        await loop.sock_sendall(sock, hello[number : number + 1])
                        await asyncio.sleep(0)
                assert await loop.sock_recv(sock, 100) == b""
            except ConnectionError:
                pass
            await turns(20)
            sock.close()

    run(main())
    assert seen[0].events == []
    if debug:
        assert isinstance(errors[0]["exception"], ConnectionAbortedError)
        assert "SSL handshake is taking longer than 0.2 seconds" in str(errors[0]["exception"])
    else:
        assert errors == []


def test_a_server_too_slow_for_the_handshake(run):
    async def main():
        near, far = tcp_pair()
        loop = asyncio.get_running_loop()
        with pytest.raises(ConnectionAbortedError, match="taking longer than 0.05 seconds: aborting the connection"):
            await loop.create_connection(
                Recorder, sock=near, ssl=client_context(), server_hostname=HOST, ssl_handshake_timeout=0.05
            )
        far.close()

    run(main())


def handshake_flights(version):
    """How many bytes each side sends in a handshake, by doing one in memory."""
    buffers = [ssl.MemoryBIO() for _ in range(4)]
    client = client_context(version).wrap_bio(buffers[0], buffers[1], server_hostname=HOST)
    server = server_context(version).wrap_bio(buffers[2], buffers[3], server_side=True)
    sent = [0, 0]
    open_ends = {client, server}
    while open_ends:
        for side, (end, out, into) in enumerate(((client, buffers[1], buffers[2]), (server, buffers[3], buffers[0]))):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                open_ends.discard(end)
            data = out.read()
            sent[side] += len(data)
            into.write(data)
    return sent


POINTS = [0, 1, 4, 5, 6, 50, 120, 200, 500, 0.5, 0.9, -1]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_the_peer_ends_at_every_point_of_the_handshake(run, version, side, how):
    """The loop holds `side`; the other end sends so many bytes of its part and is gone."""
    total = handshake_flights(version)[1 if side == "client" else 0]
    points = sorted({int(point * total) if isinstance(point, float) else point % total for point in POINTS})

    async def cut(point):
        loop = asyncio.get_running_loop()
        near, far = tcp_pair()
        context = server_context(version) if side == "client" else client_context(version)
        peer = RawPeer(far, context, server_side=side == "client")
        protocol = Recorder()
        if side == "client":
            options = {"ssl": client_context(version), "server_hostname": HOST}
            ours = asyncio.ensure_future(loop.create_connection(lambda: protocol, sock=near, **options))
        else:
            options = {"ssl": server_context(version)}
            ours = asyncio.ensure_future(loop.connect_accepted_socket(lambda: protocol, sock=near, **options))
        left = point
        is_over = False
        while left > 0 and not is_over:
            # A signature may be some bytes shorter than the one that was measured.
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.tls.do_handshake()
                is_over = True
            data = peer.outgoing.read()[:left]
            left -= len(data)
            await loop.sock_sendall(far, data)
            if left > 0 and not data and not is_over:
                peer.incoming.write(await loop.sock_recv(far, 65536))
        if how == "reset":
            reset(far)
        else:
            far.close()
        try:
            transport, _ = await ours
        except OSError:
            assert protocol.events == []
        else:
            # All that this side needed was there.
            transport.abort()
            await protocol.lost
            assert protocol.events[0] == "made" and protocol.events.count("lost") == 1

    async def main():
        for point in points:
            async with asyncio.timeout(20):
                await cut(point)

    run(main())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("server_side", [True, False])
@pytest.mark.parametrize("where", ["header", "length", "body", "plain text"])
def test_garbage_among_the_records(run, version, server_side, where):
    async def main():
        async with with_raw_peer(version=version, server_side=server_side) as (_, protocol, peer):
            await peer.send(b"good")
            await protocol.until_received(4)
            record = bytearray(peer.seal(pattern(1000)))
            if where == "header":
                record[0] = 99
            elif where == "length":
                record[3:5] = struct.pack(">H", 60000)
            elif where == "body":
                record[500] ^= 1
            else:
                record = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" * 5
            await peer.loop.sock_sendall(peer.sock, bytes(record))
            exc = await protocol.lost
            assert isinstance(exc, ssl.SSLError)
            assert bytes(protocol.received) == b"good"
            assert protocol.events == ["made", "data", "lost"]
        # Others are not touched by it.
        async with tls_linked(version=version) as (near, far):
            near.transport.write(pattern(5000))
            assert await far.until_received(5000) == pattern(5000)

    run(main())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("step", [1, 3, 700, 16_000])
def test_records_come_in_pieces(run, version, step):
    size = 2_000 if step < 100 else 100_000

    async def main():
        async with with_raw_peer(version=version) as (_, protocol, peer):
            records = b"".join(peer.seal(pattern(size)[at : at + 9000]) for at in range(0, size, 9000))
            for at in range(0, len(records), step):
                await peer.loop.sock_sendall(peer.sock, records[at : at + step])
                await asyncio.sleep(0)
            # Whatever became of a piece, the connection ends.
            peer.sock.shutdown(socket.SHUT_WR)
            await protocol.lost
            assert bytes(protocol.received) == pattern(size)

    run(main())


def test_a_reset_after_the_handshake(run):
    async def main():
        async with with_raw_peer() as (_, protocol, peer):
            await peer.send(b"x")
            await protocol.until_received(1)
            reset(peer.sock)
            assert isinstance(await protocol.lost, ConnectionResetError)
            assert protocol.events == ["made", "data", "lost"]

    run(main())


def test_close_while_the_handshake_runs(run):
    async def main():
        loop = asyncio.get_running_loop()
        near, far = tcp_pair()
        task = loop.create_task(
            loop.create_connection(Recorder, sock=near, ssl=client_context(), server_hostname=HOST)
        )
        assert await loop.sock_recv(far, 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # The rest of the hello, then the end.
        while await loop.sock_recv(far, 65536):
            pass
        far.close()

    run(main())


def test_a_failed_certificate_leaves_no_cycle(run, kind):
    if kind == "asyncio":
        pytest.skip("so in newer versions only")

    async def main():
        async with serving(context=server_context(None, certificates().unknown())) as address:
            # No Recorder: that keeps the exception, whose traceback holds the transport.
            transport, protocol = await asyncio.get_running_loop().create_connection(asyncio.Protocol, *address)
            seen = weakref.ref(transport)
            gc.collect()
            gc.disable()
            try:
                with pytest.raises(ssl.SSLCertVerificationError):
                    await asyncio.get_running_loop().start_tls(
                        transport, protocol, client_context(), server_hostname=HOST
                    )
                transport = None
                await turns(10)
                assert seen() is None
            finally:
                gc.enable()

    run(main())


class SmallBuffer(BufferedRecorder):
    size = 100


class PausesOnce(Recorder):
    """Pauses with its first data, and lets the rest come a while later."""

    def data_received(self, data):
        super().data_received(data)
        if len(self.received) == len(data):
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.01, self.transport.resume_reading)


class BecomesBuffered(Recorder):
    """Puts a BufferedProtocol in its place while it has paused; what that gets is noted here."""

    def data_received(self, data):
        super().data_received(data)
        if len(self.received) == len(data):
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.01, self.exchange)

    def exchange(self):
        other = SmallBuffer()
        vars(other).update(vars(self))
        self.transport.set_protocol(other)
        self.transport.resume_reading()


@pytest.mark.parametrize("kind", ["loopmod"])
@pytest.mark.parametrize("factory", [SmallBuffer, PausesOnce, BecomesBuffered])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_what_came_before_the_end_of_the_stream_is_delivered(run, version, factory):
    """Without close_notify; asyncio gives a BufferedProtocol one buffer more and drops the rest."""

    async def main():
        async with with_raw_peer(factory, version=version) as (_, protocol, peer):
            data = pattern(200_000)
            await peer.send(data)
            peer.sock.shutdown(socket.SHUT_WR)
            assert await protocol.lost is None
            assert bytes(protocol.received) == data
            assert protocol.events[-2:] == ["eof", "lost"]

    run(main())
