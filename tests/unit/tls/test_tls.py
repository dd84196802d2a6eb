"""TLS connections between two ends on the loop: bytes, flow control, closing, start_tls, TLS in TLS.

Covers tls/incoming.c, tls/outgoing.c, tls/shutdown.c and tls/app_transport.c.
"""

import asyncio
import gc
import socket
import ssl
import weakref

import pytest
from tcp_support import BufferedRecorder, KeepOpen, Recorder, pattern, tcp_pair, turns
from tls_support import (
    HOST,
    client_context,
    quiet_drop,
    server_context,
    serving,
    tls_linked,
    with_raw_peer,
)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("size", [1, 1024, 16383, 16384, 16385, 100_000, 3_000_000])
def test_bytes_arrive_as_they_were_written(run, version, size):
    async def main():
        async with tls_linked(version=version) as (near, far):
            near.transport.write(pattern(size))
            assert await far.until_received(size) == pattern(size)
            far.transport.write(bytearray(pattern(size, 2)))
            assert await near.until_received(size) == pattern(size, 2)
            assert near.events == far.events == ["made", "data"] or size > 500_000

    run(main())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("buffer", [1, 100, 4096, 16384, 70_000])
def test_buffered_protocols_get_every_byte(run, version, buffer):
    class Buffered(BufferedRecorder):
        size = buffer

        def get_buffer(self, sizehint):
            # asyncio fills slices of what it is given: with a bytearray those would be copies.
            return memoryview(super().get_buffer(sizehint))

    count = 30 if buffer == 1 else 200_000

    async def main():
        async with tls_linked(far_factory=Buffered, version=version) as (near, far):
            near.transport.write(pattern(count))
            assert await far.until_received(count) == pattern(count)

    run(main())


def test_pieces_of_writelines_come_in_order(run):
    pieces = [b"a" * 10, bytearray(b"b" * 20_000), memoryview(b"c" * 3), b"", b"d" * 40_000, b"e"] * 20

    async def main():
        async with tls_linked() as (near, far):
            near.transport.writelines(pieces)
            whole = b"".join(pieces)
            assert await far.until_received(len(whole)) == whole

    run(main())


def test_many_writes_before_the_handshake_is_over(run):
    async def main():
        async with tls_linked() as (near, far):
            loop = asyncio.get_running_loop()

            class Early(Recorder):
                def connection_made(self, transport):
                    super().connection_made(transport)
                    for number in range(100):
                        transport.write(pattern(100, number + 1))

            a, b = tcp_pair()
            (early, _), (_, late) = await asyncio.gather(
                loop.create_connection(Early, sock=a, ssl=client_context(), server_hostname=HOST),
                loop.connect_accepted_socket(Recorder, sock=b, ssl=server_context()),
            )
            assert await late.until_received(10_000) == b"".join(pattern(100, n + 1) for n in range(100))
            early.abort()
            late.transport.abort()

    run(main())


def test_a_buffer_may_be_changed_behind_write(run):
    async def main():
        async with with_raw_peer() as (transport, _, peer):
            data = bytearray(pattern(8_000_000))
            transport.write(data)
            data[:] = bytes(len(data))
            assert await peer.read_exactly(len(data)) == pattern(8_000_000)

    run(main())


def test_what_the_transport_shows(run):
    async def main():
        async with tls_linked() as (near, far):
            for end in (near, far):
                transport = end.transport
                assert isinstance(transport, asyncio.Transport)
                assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
                assert transport.get_extra_info("sslcontext") is transport.get_extra_info("ssl_object").context
                assert transport.get_extra_info("cipher") == transport.get_extra_info("ssl_object").cipher()
                assert transport.get_extra_info("compression") is None
                assert transport.get_extra_info("peername")[0] == "127.0.0.1"
                assert transport.get_extra_info("socket").fileno() > 0
                assert transport.get_extra_info("no such", default=7) == 7
                assert transport.get_protocol() is end
                assert not transport.is_closing() and transport.is_reading()
                assert transport.get_write_buffer_limits() == (128 * 1024, 512 * 1024)
                assert transport.get_read_buffer_limits() == (64 * 1024, 256 * 1024)
                assert transport.get_write_buffer_size() == transport.get_read_buffer_size() == 0
                assert not transport.can_write_eof()
                assert transport._ssl_protocol._app_transport is transport
                assert transport._ssl_protocol._sslcontext is transport.get_extra_info("sslcontext")
                assert transport._start_tls_compatible is True
                with pytest.raises(NotImplementedError):
                    transport.write_eof()
                with pytest.raises(TypeError, match="expecting a bytes-like instance, got str"):
                    transport.write("text")
                transport.note = "kept"
                assert transport.note == "kept" and weakref.ref(transport)() is transport
            assert near.transport.get_extra_info("peercert")["subjectAltName"][0] == ("DNS", HOST)
            assert far.transport.get_extra_info("peercert") is None

    run(main())


def test_limits(run):
    async def main():
        async with tls_linked() as (near, _):
            transport = near.transport
            transport.set_write_buffer_limits(high=1000)
            assert transport.get_write_buffer_limits() == (250, 1000)
            transport.set_write_buffer_limits(low=10)
            assert transport.get_write_buffer_limits() == (10, 40)
            transport.set_read_buffer_limits(high=4000, low=7)
            assert transport.get_read_buffer_limits() == (7, 4000)
            with pytest.raises(ValueError, match=r"high \(1\) must be >= low \(2\) must be >= 0"):
                transport.set_write_buffer_limits(high=1, low=2)
            with pytest.raises(ValueError, match="must be >= 0"):
                transport.set_read_buffer_limits(low=-1)

    run(main())


def test_reading_pauses_and_goes_on(run):
    size = 5_000_000

    async def main():
        async with tls_linked() as (near, far):
            far.transport.pause_reading()
            assert not far.transport.is_reading()
            near.transport.write(pattern(size))
            await turns(50)
            assert far.events == ["made"] and not far.received
            far.transport.resume_reading()
            assert await far.until_received(size) == pattern(size)

    run(main())


def test_a_protocol_that_pauses_in_each_call(run):
    class Sipping(Recorder):
        def data_received(self, data):
            super().data_received(data)
            self.transport.pause_reading()
            self.loop.call_soon(self.transport.resume_reading)

    async def main():
        async with tls_linked(far_factory=Sipping) as (near, far):
            near.transport.write(pattern(1_000_000))
            assert await far.until_received(1_000_000) == pattern(1_000_000)

    run(main())


def test_the_writer_is_told_to_pause_and_to_resume(run):
    async def main():
        async with tls_linked() as (near, far):
            far.transport.pause_reading()
            chunks = 0
            while "pause" not in near.events:
                near.transport.write(pattern(1 << 18))
                chunks += 1
                await asyncio.sleep(0)
                assert chunks < 400
            assert near.transport.get_write_buffer_size() >= 512 * 1024
            far.transport.resume_reading()
            assert await far.until_received(chunks << 18) == pattern(1 << 18) * chunks
            await near.until(lambda: "resume" in near.events)
            assert near.transport.get_write_buffer_size() == 0

    run(main())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_what_is_queued_leaves_after_the_peers_end(run, version):
    """The peer ends its half while reading is paused: what was written goes on being sent."""
    size = 2_000_000

    async def main():
        async with with_raw_peer(version=version) as (transport, _, peer):
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            transport.pause_reading()
            transport.write(pattern(size))
            peer.sock.shutdown(socket.SHUT_WR)
            await turns(20)
            assert await asyncio.wait_for(peer.read_exactly(size), 20) == pattern(size)

    run(main())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_close_sends_what_is_queued(run, version):
    size = 6_000_000

    async def main():
        async with tls_linked(version=version) as (near, far):
            near.transport.write(pattern(size))
            near.transport.close()
            assert near.transport.is_closing()
            near.transport.write(b"dropped")
            assert await near.lost is None
            assert await far.lost is None
            assert bytes(far.received) == pattern(size)
            assert far.events[-2:] == ["eof", "lost"] and far.events.count("lost") == 1
            assert near.events[-1] == "lost" and near.events.count("lost") == 1

    run(main())


def test_close_in_mid_download_ends_at_once(run):
    async def main():
        loop = asyncio.get_running_loop()
        async with tls_linked() as (near, far):

            def pour():
                if not far.transport.is_closing():
                    far.transport.write(pattern(100_000))
                    loop.call_soon(pour)

            pour()
            await near.until_received(300_000)
            near.transport.close()
            async with asyncio.timeout(10):
                await near.lost
                await far.lost

    run(main())


def test_abort_drops_everything(run):
    async def main():
        async with tls_linked() as (near, far):
            near.transport.write(pattern(50_000_000))
            near.transport.abort()
            assert near.transport.is_closing()
            assert await near.lost is None
            await far.lost
            assert len(far.received) < 50_000_000
            assert near.events == ["made", "lost"] or near.events == ["made", "pause", "lost"]

    run(main())


@pytest.mark.parametrize("action", ["close", "abort"])
def test_ending_within_data_received(run, action):
    class Ending(Recorder):
        def data_received(self, data):
            super().data_received(data)
            getattr(self.transport, action)()

    async def main():
        async with tls_linked(far_factory=Ending) as (near, far):
            near.transport.write(b"x")
            await far.lost
            await near.lost
            assert far.events.count("lost") == near.events.count("lost") == 1

    run(main())


def test_operations_behind_the_end_are_harmless(run):
    async def main():
        async with tls_linked() as (near, far):
            transport = near.transport
            transport.close()
            await near.lost
            await far.lost
            for _ in range(8):
                transport.write(b"nobody")
            transport.writelines([b"a", b"b"])
            transport.abort()
            transport.pause_reading()
            transport.resume_reading()
            assert transport.is_closing()
            assert transport.get_write_buffer_size() == 0
            await turns()
            assert near.events.count("lost") == 1

    run(main())


@pytest.mark.parametrize("factory", [Recorder, KeepOpen], ids=["plain", "keep open"])
def test_an_end_without_close_notify_is_an_end(run, factory):
    async def main():
        async with with_raw_peer(factory) as (_, protocol, peer):
            await peer.send(b"last words")
            peer.close()
            assert await protocol.lost is None
            assert protocol.events == ["made", "data", "eof", "lost"]
            assert bytes(protocol.received) == b"last words"

    run(main())


def test_a_peer_that_never_answers_the_close(run):
    async def main():
        async with with_raw_peer(timeout=0.05) as (transport, protocol, _):
            transport.close()
            exc = await protocol.lost
            assert isinstance(exc, TimeoutError) and str(exc) == "SSL shutdown timed out"

    run(main())


def test_an_exception_in_data_received_is_fatal(run, errors):
    class Failing(Recorder):
        def data_received(self, data):
            raise ZeroDivisionError("on purpose")

    async def main():
        async with tls_linked(far_factory=Failing) as (near, far):
            near.transport.write(b"x")
            exc = await far.lost
            assert isinstance(exc, ZeroDivisionError)
            await near.lost

    run(main())
    assert [context["message"] for context in errors] == ["Fatal error on SSL protocol"]
    assert isinstance(errors[0]["exception"], ZeroDivisionError)


def test_exceptions_of_flow_control_are_reported_only(run, errors):
    class Failing(Recorder):
        def pause_writing(self):
            raise ZeroDivisionError("pause")

        def resume_writing(self):
            raise ZeroDivisionError("resume")

    async def main():
        async with tls_linked(near_factory=Failing) as (near, far):
            near.transport.set_write_buffer_limits(high=0)
            far.transport.pause_reading()
            near.transport.write(pattern(20_000_000))
            near.transport.write(pattern(20_000_000))
            far.transport.resume_reading()
            await far.until_received(40_000_000)

    run(main())
    assert {context["message"] for context in errors} == {
        "protocol.pause_writing() failed",
        "protocol.resume_writing() failed",
    }


def test_a_mark_of_0_pauses_and_resumes_in_turn(run):
    async def main():
        async with tls_linked() as (near, _):
            near.transport.set_write_buffer_limits(high=0)
            near.transport.write(b"x")
            near.transport.set_write_buffer_limits(high=0)
            near.transport.write(b"y")
            assert near.events == ["made", "pause", "resume", "pause", "resume"]

    run(main())


def test_the_protocol_is_switched(run):
    class Narrow(BufferedRecorder):
        size = 10

    async def main():
        async with tls_linked(far_factory=Narrow) as (near, far):
            near.transport.write(pattern(20))
            await far.until_received(10)
            # The rest of the record is still to come, from OpenSSL's own memory.
            second = Recorder()
            second.note("made")
            far.transport.set_protocol(second)
            near.transport.write(pattern(100, 2))
            rest = 20 - len(far.received)
            assert await second.until_received(100 + rest) == pattern(20)[20 - rest :] + pattern(100, 2)
            assert far.transport.get_protocol() is second

    run(main())


def test_streams_echo(run):
    async def main():
        async def echo(reader, writer):
            while data := await reader.read(100_000):
                writer.write(data)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context())
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context(), server_hostname=HOST
        )
        for size in (1, 1000, 65_536, 300_000):
            writer.write(pattern(size))
            await writer.drain()
            assert await reader.readexactly(size) == pattern(size)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_start_tls_on_both_ends_of_streams(run):
    async def main():
        done = asyncio.get_running_loop().create_future()

        async def serve(reader, writer):
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go\n")
            await writer.start_tls(server_context())
            writer.write(await reader.readexactly(100_000))
            await writer.drain()
            assert writer.get_extra_info("ssl_object").server_side
            done.set_result(None)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go\n"
        await writer.start_tls(client_context(), server_hostname=HOST)
        writer.write(pattern(100_000))
        assert await reader.readexactly(100_000) == pattern(100_000)
        assert await reader.read() == b""
        await done
        writer.close()
        server.close()

    run(main())


@pytest.mark.timeout(20)
def test_start_tls_keeps_what_the_reader_holds(run, kind, loop):
    import inspect

    if kind == "asyncio" and "_incoming" not in inspect.getsource(asyncio.BaseEventLoop.start_tls):
        pytest.skip("this version of asyncio loses it")

    async def main():
        got = loop.create_future()

        async def serve(reader, writer):
            assert await reader.readline() == b"STARTTLS\n"
            # The client does not wait for an answer: its hello is in the reader already.
            while not reader._buffer:
                await asyncio.sleep(0)
            await writer.start_tls(server_context())
            got.set_result(await reader.readexactly(5))
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        await writer.start_tls(client_context(), server_hostname=HOST)
        writer.write(b"hello")
        assert await got == b"hello"
        writer.close()
        server.close()

    run(main())


def test_start_tls_refuses_what_it_cannot_do(run):
    async def main():
        loop = asyncio.get_running_loop()
        async with serving() as address:
            transport, protocol = await loop.create_connection(Recorder, *address)
            with pytest.raises(TypeError, match="sslcontext is expected to be an instance"):
                await loop.start_tls(transport, protocol, True)
            with pytest.raises(TypeError, match="is not supported by start_tls"):
                await loop.start_tls(object(), protocol, client_context())
            with pytest.raises(ValueError, match="ssl_handshake_timeout should be a positive number, got 0"):
                await loop.start_tls(transport, protocol, client_context(), ssl_handshake_timeout=0)
            with pytest.raises(ValueError, match="ssl_shutdown_timeout should be a positive number, got -1"):
                await loop.start_tls(transport, protocol, client_context(), ssl_shutdown_timeout=-1)
            transport.abort()

    run(main())


@pytest.mark.parametrize("size", [10, 500_000])
def test_tls_in_tls(run, size):
    async def main():
        loop = asyncio.get_running_loop()
        async with tls_linked() as (near, far):
            inner_near, inner_far = Recorder(), Recorder()
            upper_near, upper_far = await asyncio.gather(
                loop.start_tls(near.transport, inner_near, client_context(), server_hostname=HOST),
                loop.start_tls(far.transport, inner_far, server_context(), server_side=True),
            )
            inner_near.note("made")
            inner_far.note("made")
            upper_near.write(pattern(size))
            assert await inner_far.until_received(size) == pattern(size)
            upper_far.write(pattern(size, 2))
            assert await inner_near.until_received(size) == pattern(size, 2)
            upper_near.close()
            await inner_near.lost
            await inner_far.lost
            quiet_drop(upper_far)

    run(main())


def test_a_dropped_transport_says_so(run):
    async def main():
        near, far = tcp_pair()
        far.close()
        protocol = Recorder()
        protocol.transport = None
        loop = asyncio.get_running_loop()
        with pytest.raises(OSError):
            await loop.create_connection(lambda: protocol, sock=near, ssl=client_context(), server_hostname=HOST)

    run(main())
    gc.collect()


def test_nothing_is_left_of_a_connection(run):
    async def main():
        async with tls_linked() as (near, far):
            seen = [weakref.ref(end.transport) for end in (near, far)]
            seen += [weakref.ref(end.transport._ssl_protocol) for end in (near, far)]
            near.transport.close()
            await near.lost
            await far.lost
            near.transport = far.transport = None
        return seen

    seen = run(main())
    gc.collect()
    assert [found() for found in seen] == [None] * 4
