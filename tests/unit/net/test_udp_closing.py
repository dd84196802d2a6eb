"""The end of a datagram transport: close, abort, what is sent afterwards, and transports that nobody closed.

Covers net/datagram.c. Relies on udp_support.py.
"""

import asyncio
import gc
import logging
import socket
import sys
import threading
import warnings
import weakref

import pytest
from gil_support import needs_gil
from udp_support import Datagrams, close, endpoint, turns, udp_socket


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closing(run, way):
    async def main():
        transport, protocol = await endpoint()
        sock = transport.get_extra_info("socket")
        getattr(transport, way)()
        assert transport.is_closing() and not transport.is_reading()
        assert "closing" in repr(transport) and "read=idle" in repr(transport)
        assert protocol.events == ["made"]  # not at once
        assert sock.fileno() >= 0
        assert await protocol.lost is None
        await turns()
        assert sock.fileno() == -1
        assert protocol.events == ["made", "lost"]
        for again in ("close", "abort", "pause_reading", "resume_reading", "get_write_buffer_size"):
            if again != "abort" or transport.is_closing():
                getattr(transport, again)()
        assert transport.get_protocol() is None
        await turns()
        assert protocol.events == ["made", "lost"]

    run(main())


def test_nothing_is_delivered_after_close(run):
    async def main():
        transport, protocol = await endpoint()
        peer = udp_socket()
        peer.sendto(b"x", transport.get_extra_info("sockname"))
        transport.close()
        await protocol.lost
        assert protocol.received == []
        await close(peer)

    run(main())


def test_sending_after_close_is_dropped(run, caplog):
    async def main():
        loop = asyncio.get_running_loop()
        peer = udp_socket()
        transport, protocol = await endpoint(remote_addr=peer.getsockname())
        with caplog.at_level(logging.WARNING, "asyncio"):
            transport.close()
            for _ in range(4):
                transport.sendto(b"x")
            await protocol.lost
            await turns()
            assert caplog.messages == []
            for _ in range(3):
                transport.sendto(b"x")
            assert caplog.messages == ["socket.send() raised exception."] * 3
        with pytest.raises(BlockingIOError):
            peer.recv(100)
        with pytest.raises(TypeError):
            transport.sendto("text")
        with pytest.raises(ValueError):
            transport.sendto(b"x", ("127.0.0.1", 9))
        loop.call_soon(peer.close)
        await turns()

    run(main())


def test_an_endpoint_without_peer_sends_until_its_socket_is_closed(run):
    async def main():
        loop = asyncio.get_running_loop()
        peer = udp_socket()
        transport, protocol = await endpoint()
        transport.close()
        transport.sendto(b"last words", peer.getsockname())
        assert await loop.sock_recv(peer, 100) == b"last words"
        await protocol.lost
        await close(peer)

    run(main())


def test_sending_without_peer_once_closed_is_dropped(run, kind, caplog):
    if kind == "asyncio":
        pytest.skip("asyncio raises AttributeError")

    async def main():
        transport, protocol = await endpoint()
        await close(transport)
        with caplog.at_level(logging.WARNING, "asyncio"):
            for _ in range(6):
                transport.sendto(b"x", ("127.0.0.1", 9))
        assert caplog.messages == ["socket.send() raised exception."] * 2
        assert protocol.events == ["made", "lost"]

    run(main())


def test_closing_in_connection_made(run):
    class Closes(Datagrams):
        def connection_made(self, transport):
            super().connection_made(transport)
            transport.close()

    async def main():
        transport, protocol = await endpoint(Closes)
        await protocol.lost
        assert protocol.events == ["made", "lost"]

    run(main())


def test_what_connection_made_and_connection_lost_raise(run, errors):
    class Raises(Datagrams):
        def connection_made(self, transport):
            super().connection_made(transport)
            raise ZeroDivisionError

        def connection_lost(self, exc):
            super().connection_lost(exc)
            raise ZeroDivisionError

    async def main():
        transport, protocol = await endpoint(Raises)
        peer = udp_socket()
        peer.sendto(b"x", transport.get_extra_info("sockname"))
        await protocol.until_received(1)
        sock = transport.get_extra_info("socket")
        await close(transport, peer)
        assert sock.fileno() == -1
        assert [type(context["exception"]) for context in errors] == [ZeroDivisionError] * 2

    run(main())


def test_fatal_errors(run, errors):
    async def main():
        transport, protocol = await endpoint()
        exc = ValueError("enough")
        transport._fatal_error(exc, "A message")
        transport._fatal_error(exc)
        assert await protocol.lost is exc
        assert errors[0]["message"] == "A message" and errors[0]["transport"] is transport
        other, protocol = await endpoint()
        other._force_close(exc)
        assert await protocol.lost is exc

    run(main())


def test_dropped_without_being_closed(run):
    async def main():
        transport, protocol = await endpoint()
        # A reading transport is held by the loop, a paused one by its users alone.
        transport.pause_reading()
        text = repr(transport)
        sock = transport._sock
        ref = weakref.ref(transport)
        gc.collect()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del transport, protocol
            gc.collect()
            found = [str(w.message) for w in caught if w.category is ResourceWarning]
            caught.clear()
            gc.collect()
        assert ref() is None
        assert f"unclosed transport {text.replace('<DatagramTransport', '<_SelectorDatagramTransport')}" in found
        assert sock.fileno() == -1

    run(main())


def test_a_transport_nobody_names_goes_on(run):
    class Echo(Datagrams):
        def datagram_received(self, data, addr):
            self.transport.sendto(data, addr)

    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await endpoint(Echo)
        name = transport.get_extra_info("sockname")
        ref = weakref.ref(transport)
        del transport, protocol
        gc.collect()
        peer = udp_socket()
        peer.sendto(b"x", name)
        assert await loop.sock_recv(peer, 100) == b"x"
        await close(ref(), peer)
        gc.collect()
        assert ref() is None

    run(main())


def test_loop_closed_under_an_open_transport(new_loop):
    loop = new_loop()
    transport, protocol = loop.run_until_complete(loop.create_task(make_endpoint(loop)))
    loop.close()
    assert "fd=" in repr(transport)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport, protocol
        gc.collect()
        assert any("unclosed transport" in str(w.message) for w in caught)


async def make_endpoint(loop):
    return await loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0))


def test_descriptor_is_guarded(run, kind):
    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await endpoint()
        fd = transport.get_extra_info("socket").fileno()
        for method in (loop.add_reader, loop.add_writer):
            with pytest.raises(RuntimeError, match="is used by transport"):
                method(fd, print)
        other = socket.socket(fileno=socket.dup(fd))
        second, _ = await endpoint(sock=other)  # a copy is another descriptor
        if sys.version_info >= (3, 12) or kind == "loopmod":
            with pytest.raises(RuntimeError, match="is used by transport"):
                await loop.create_datagram_endpoint(Datagrams, sock=transport._sock)
        await close(second, transport)

    run(main())


@needs_gil
def test_from_another_thread(run, debug):
    # Not allowed, and no crash.
    async def main():
        transport, protocol = await endpoint()

        def use():
            for _ in range(100):
                transport.sendto(b"x", transport.get_extra_info("sockname"))
                repr(transport)

        thread = threading.Thread(target=use)
        thread.start()
        while thread.is_alive():
            await asyncio.sleep(0)
        thread.join()
        await protocol.until_received(100)
        await close(transport)

    run(main())
