"""A TCP transport as an object: extra info, types, attributes, repr in each state, dropping.

Covers net/transport_type.c, net/transport_extra.c and net/stream.c. Relies on tcp_support for connected pairs.
"""

import asyncio
import gc
import os
import socket
import struct
import warnings
import weakref

import pytest
from tcp_support import BIG, Recorder, connected, linked, pattern, recv_exactly, shape, tcp_pair, turns

pytestmark = pytest.mark.timeout(60)


def test_extra_info(run):
    async def main():
        async with connected() as (transport, protocol, far):
            sock = transport.get_extra_info("socket")
            assert type(sock) is asyncio.trsock.TransportSocket
            assert sock.family == socket.AF_INET and sock.type == socket.SOCK_STREAM
            assert transport.get_extra_info("sockname") == far.getpeername() == sock.getsockname()
            assert transport.get_extra_info("peername") == far.getsockname()
            assert transport.get_extra_info("nothing") is None
            assert transport.get_extra_info("nothing", 5) == 5
            assert transport.get_extra_info("sslcontext", default="none") == "none"
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            assert sock.fileno() >= 0
            transport.close()
            await protocol.lost
            assert sock.fileno() == -1
            assert transport.get_extra_info("peername") == far.getsockname()
            assert transport.get_extra_info("socket") is sock

    run(main())


def test_extra_info_first_asked_for_after_a_reset(run):
    async def main():
        async with connected() as (transport, protocol, far):
            names = far.getpeername(), far.getsockname()
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            far.close()
            await protocol.lost
            assert (transport.get_extra_info("sockname"), transport.get_extra_info("peername")) == names
            assert transport.get_extra_info("socket").fileno() == -1

    run(main())


def test_extra_info_asked_for_one_by_one(run):
    async def main():
        async with connected() as (transport, _, far):
            assert transport.get_extra_info("sslcontext") is None
            peername = transport.get_extra_info(name="".join(("peer", "name")))
            assert peername == far.getsockname()
            with pytest.raises(TypeError, match="unhashable"):
                transport.get_extra_info([])
            with pytest.raises(TypeError):
                transport.get_extra_info()
            assert transport.get_extra_info(None, default=7) == 7
            assert transport.get_extra_info("peername") is peername
            assert set(transport._extra) == {"socket", "sockname", "peername"}
            transport._extra["peername"] = "changed"
            assert transport.get_extra_info("peername") == "changed"

    run(main())


@pytest.mark.parametrize("name", ["s", "s" * 107, "\0abstract"], ids=["short", "longest", "abstract"])
def test_extra_info_of_unix_sockets(run, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    name = f"{name}{os.getpid()}" if name[0] == "\0" else name
    accepted = []

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport):
            accepted.append(transport)

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_unix_server(Accepted, name)
        transport, _ = await loop.create_unix_connection(asyncio.Protocol, name)
        await turns(5)
        shown = os.fsencode(name) if name[0] == "\0" else name
        names = [(t.get_extra_info("sockname"), t.get_extra_info("peername")) for t in (transport, *accepted)]
        assert names == [("", shown), (shown, "")]
        for each in (transport, *accepted):
            each.abort()
        server.close()
        await turns(5)

    run(main())


def test_types_and_attributes(run, errors):
    async def main():
        async with linked() as (near, far):
            transport = near.transport
            assert isinstance(transport, asyncio.Transport)
            assert isinstance(transport, asyncio.ReadTransport)
            assert isinstance(transport, asyncio.WriteTransport)
            assert not isinstance(transport, asyncio.DatagramTransport)
            assert weakref.ref(transport)() is transport
            assert transport in {transport} and transport != far.transport
            calls = []
            transport.write = calls.append
            transport.mark = 1
            transport.write(b"seen by the replacement")
            assert calls == [b"seen by the replacement"]
            del transport.write
            transport.write(b"ok")
            assert await far.until_received(2) == b"ok"

    run(main())
    assert errors == []


def test_repr_in_each_state(run):
    class Shapes(Recorder):
        def connection_made(self, transport):
            super().connection_made(transport)
            self.first = shape(transport)

    async def main():
        async with connected(Shapes) as (transport, protocol, far):
            assert protocol.first == "<T fd=N read=idle write=<idle, bufsize=0>>"
            await turns()
            fd = transport.get_extra_info("socket").fileno()
            assert f"fd={fd} " in repr(transport)
            assert shape(transport) == "<T fd=N read=polling write=<idle, bufsize=0>>"
            transport.pause_reading()
            assert shape(transport) == "<T fd=N read=idle write=<idle, bufsize=0>>"
            transport.resume_reading()
            transport.write(pattern(BIG))
            size = transport.get_write_buffer_size()
            assert shape(transport) == f"<T fd=N read=polling write=<polling, bufsize={size}>>"
            transport.close()
            assert shape(transport) == f"<T closing fd=N read=idle write=<polling, bufsize={size}>>"
            await recv_exactly(far, BIG)
            await protocol.lost
            assert shape(transport) == "<T closed fd=N>"
            assert f"fd={fd}>" in repr(transport)
        async with connected() as (transport, protocol, far):
            transport.close()
            assert shape(transport) == "<T closing fd=N read=idle write=<idle, bufsize=0>>"

    run(main())


def test_dropped_unclosed(run):
    async def main():
        loop = asyncio.get_running_loop()
        near, far = tcp_pair()
        transport, protocol = await loop.create_connection(Recorder, sock=near)
        # a reading transport is held by the loop, a paused one by its users alone
        transport.pause_reading()
        text = repr(transport)
        ref = weakref.ref(transport)
        gc.collect()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del near, transport, protocol
            gc.collect()
            found = [str(w.message) for w in caught if w.category is ResourceWarning]
            # A recorded warning holds its source, and since 3.15 weak references are cleared after finalizers.
            caught.clear()
            gc.collect()
        assert ref() is None
        assert f"unclosed transport {text.replace('<SocketTransport', '<_SelectorSocketTransport')}" in found
        assert await loop.sock_recv(far, 1) == b""
        far.close()

    run(main())


def test_loop_closed_under_an_open_transport(new_loop):
    loop = new_loop()

    async def main():
        near, far = socket.socketpair()
        near.setblocking(False)
        transport, protocol = await loop.create_connection(Recorder, sock=near)
        await turns()
        return transport, protocol, far

    transport, protocol, far = loop.run_until_complete(main())
    loop.close()
    assert shape(transport) == "<T fd=N>"
    assert protocol.events == ["made"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport, protocol
        gc.collect()
    assert "unclosed transport" in " ".join(str(w.message) for w in caught)
    far.settimeout(30)
    assert far.recv(1) == b""
    far.close()
