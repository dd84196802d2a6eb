"""What an attacker, a callback or an unusual SSLObject may do to a TLS connection, and to the others of its loop.

Covers tls/incoming.c, tls/view.c and tls/protocol.c.
"""

import _ssl
import asyncio
import contextlib
import gc
import socket
import ssl
import sys

import pytest
from tcp_support import BufferedRecorder, Recorder, pattern, tcp_pair, turns
from tls_support import (
    HOST,
    ask_for_new_keys,
    client_context,
    quiet_drop,
    replace_method,
    server_context,
    tls_linked,
    with_raw_peer,
)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_an_empty_record_does_not_end_the_stream(run, version):
    """Nothing in it is authenticated: anybody on the way can send one."""

    async def main():
        async with with_raw_peer(version=version) as (_, protocol, peer):
            await peer.send(b"hello")
            await protocol.until_received(5)
            await peer.loop.sock_sendall(peer.sock, b"\x17\x03\x03\x00\x00")
            assert isinstance(await protocol.lost, ssl.SSLError)
            assert protocol.events == ["made", "data", "lost"]

    run(main())


@pytest.mark.parametrize("begin", [b"\x17\x03", b"\x17\x03\x03"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_header_that_is_none_is_refused_at_once(run, version, begin):
    """Its version or its length is; the rest, which never comes, is not waited for."""

    async def main():
        async with with_raw_peer(version=version) as (_, protocol, peer):
            await peer.loop.sock_sendall(peer.sock, begin)
            await turns(5)
            await peer.loop.sock_sendall(peer.sock, b"GET / HTTP/1.1\r\n\r\n")
            assert isinstance(await protocol.lost, ssl.SSLError)

    run(main())


@pytest.mark.parametrize("method", ["read", "write"])
def test_bytes_of_one_connection_never_reach_another(run, method, monkeypatch):
    """What a finalizer, a signal handler or a profiler writes while an SSLObject's method begins."""
    code = replace_method(monkeypatch, method).__code__  # unreplaced, no Python code would run there

    async def main():
        async with tls_linked() as (near, far), tls_linked() as (other, other_far):
            objects = [end.transport.get_extra_info("ssl_object") for end in (near, far)]

            def intrude(frame, event, arg):
                if event == "call" and frame.f_code is code and frame.f_locals["self"] in objects:
                    sys.setprofile(None)
                    other.transport.write(b"secret" * 10_000)

            near.transport.write(b"before")
            await far.until_received(6)
            sys.setprofile(intrude)
            try:
                near.transport.write(b"public" * 10_000)
                received = await far.until_received(60_006)
            finally:
                sys.setprofile(None)
            assert received == b"before" + b"public" * 10_000
            assert await other_far.until_received(60_000) == b"secret" * 10_000

    run(main())


class Slices(BufferedRecorder):
    def get_buffer(self, sizehint):
        return memoryview(super().get_buffer(sizehint))


def test_read_marks_below_the_size_of_a_record(run):
    async def main():
        async with with_raw_peer() as (transport, protocol, peer):
            transport.set_read_buffer_limits(high=1000)
            record = peer.seal(pattern(16_000))
            await peer.loop.sock_sendall(peer.sock, record[:8000])
            await turns(20)
            await peer.loop.sock_sendall(peer.sock, record[8000:])
            assert await protocol.until_received(16_000) == pattern(16_000)

    run(main())


def test_a_switch_to_a_buffered_protocol_with_much_waiting(run):
    class First(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.rest = Slices()
            self.rest.events.append("made")
            self.transport.set_protocol(self.rest)

    size = 1_000_000

    async def main():
        async with with_raw_peer(First) as (transport, first, peer):
            transport.set_read_buffer_limits(high=2 * size)
            transport.pause_reading()
            await peer.send(pattern(size))
            while transport.get_read_buffer_size() < size:
                await asyncio.sleep(0)
            transport.resume_reading()
            await first.until_received(1)
            # Stock asyncio reads all of it in one piece.
            await first.rest.until_received(size - len(first.received))
            assert first.received + first.rest.received == pattern(size)

    run(main())


@pytest.mark.parametrize("factory", [Recorder, Slices])
def test_an_ssl_object_that_reads_little_at_a_time(run, factory):
    class Slow(ssl.SSLObject):
        def read(self, len=1024, buffer=None):
            return super().read(min(len, 100)) if buffer is None else super().read(min(len, 100), buffer[:100])

    async def main():
        loop = asyncio.get_running_loop()
        context = client_context()
        context.sslobject_class = Slow
        a, b = tcp_pair()
        (_, slow), (_, peer) = await asyncio.gather(
            loop.create_connection(factory, sock=a, ssl=context, server_hostname=HOST),
            loop.connect_accepted_socket(Recorder, sock=b, ssl=server_context()),
        )
        async with tls_linked() as (near, far):
            peer.transport.write(pattern(50_000))
            assert await slow.until_received(50_000) == pattern(50_000)
            near.transport.write(b"on the same loop")
            assert await far.until_received(16) == b"on the same loop"
        quiet_drop(slow.transport)
        quiet_drop(peer.transport)
        await turns(8)

    run(main())


@pytest.mark.parametrize("method", ["set_write_buffer_limits", "set_read_buffer_limits", "write"])
def test_an_argument_that_closes_the_transport(run, method):
    """The second close() lets go of the connection: the call under way may hold the last of it."""

    async def main():
        async with tls_linked() as (near, far):
            transport = near.transport
            quiet_drop(transport)
            await near.lost
            quiet_drop(far.transport)
            await turns(20)

            class Closes(bytearray):
                def __float__(self):
                    transport.close()
                    gc.collect()
                    return 5.0

                def __buffer__(self, flags):
                    transport.close()
                    gc.collect()
                    return memoryview(b"data")

            with contextlib.suppress(TypeError, AttributeError):
                getattr(transport, method)(Closes(b"1"))
            assert transport.is_closing()

    run(main())


class Below(asyncio.Transport):
    """A transport under TLS that is full when the test says so."""

    is_reading_paused = False

    def __init__(self, protocol):
        self.protocol = protocol
        self.written = b""

    def write(self, data):
        self.written += data

    def pause_reading(self):
        self.is_reading_paused = True

    def resume_reading(self):
        self.is_reading_paused = False

    def is_closing(self):
        return False

    def close(self):
        pass

    def receive(self, data):
        while data:
            room = self.protocol.get_buffer(-1)
            count = min(len(room), len(data))
            room[:count], data = data[:count], data[count:]
            self.protocol.buffer_updated(count)


@pytest.mark.skipif(not hasattr(_ssl, "__file__"), reason="this Python's OpenSSL cannot be reached")
def test_a_peer_that_wants_answers_and_reads_none(run, kind):
    """Each wish for new keys is answered by OpenSSL itself: what a peer does not read of that is bounded."""
    if kind == "asyncio":
        pytest.skip("asyncio keeps it all")
    from loopmod import _loopmod

    async def main():
        loop = asyncio.get_running_loop()
        protocol, incoming, outgoing = Recorder(), ssl.MemoryBIO(), ssl.MemoryBIO()
        peer = client_context("1.3").wrap_bio(incoming, outgoing, server_hostname=HOST)
        tls = _loopmod.SSLProtocol(loop, protocol, server_context("1.3"), None, True)
        below = Below(tls)
        tls.connection_made(below)
        for _ in range(2):
            with contextlib.suppress(ssl.SSLWantReadError):
                peer.do_handshake()
            below.receive(outgoing.read())
            incoming.write(below.written)
            below.written = b""
        tls.pause_writing()
        wishes = 0
        while not below.is_reading_paused:
            wishes += 1
            assert wishes < 10_000
            ask_for_new_keys(peer)
            peer.write(b"x")
            below.receive(outgoing.read())
        assert protocol.transport.get_write_buffer_size() < 70_000
        tls.resume_writing()
        assert not below.is_reading_paused
        protocol.transport.write(b"answer")
        incoming.write(below.written)
        assert peer.read() == b"answer"
        assert await protocol.until_received(wishes) == b"x" * wishes
        tls.connection_lost(None)

    run(main())


def test_a_peer_that_ends_and_reads_nothing_is_waited_for_so_long(run, kind):
    """What is to be sent to it would never be, and nothing else would end the connection."""
    if kind == "asyncio":
        pytest.skip("on some versions asyncio waits for ever")

    async def main():
        async with with_raw_peer(timeout=0.05) as (transport, protocol, peer):
            transport.write(bytes(8 << 20))
            await turns(5)
            peer.sock.shutdown(socket.SHUT_WR)
            assert isinstance(await protocol.lost, TimeoutError)

    run(main())
