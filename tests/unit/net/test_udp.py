"""Datagram transports over UDP: what is sent and received, with which addresses, and what fails how.

Covers net/datagram.c and net/addr.c. Relies on udp_support.py. The same holds on asyncio's own transports.
"""

import asyncio
import contextvars
import errno
import socket
import ssl
import sys

import pytest
from udp_support import SENDS_EMPTY, Datagrams, close, endpoint, turns, udp_socket


def test_echo_between_two_endpoints(run):
    class Echo(Datagrams):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            self.transport.sendto(data[::-1], addr)

    async def main():
        server, echo = await endpoint(Echo)
        client, protocol = await endpoint(remote_addr=server.get_extra_info("sockname"))
        for number in range(5):
            client.sendto(b"number %d" % number)
            assert (await protocol.until_received(number + 1))[-1] == (b"number %d" % number)[::-1]
        assert {addr for _, addr in echo.received} == {client.get_extra_info("sockname")}
        assert {addr for _, addr in protocol.received} == {server.get_extra_info("sockname")}
        await close(client, server)
        assert protocol.events == ["made", *["data"] * 5, "lost"]
        assert protocol.lost.result() is None

    run(main())


def test_answers_go_to_the_sender_of_each_datagram(run):
    class Echo(Datagrams):
        def datagram_received(self, data, addr):
            self.transport.sendto(data, addr)

    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await endpoint(Echo)
        peers = [udp_socket() for _ in range(8)]
        for number in range(24):
            await loop.sock_sendto(peers[number % 8], b"%d" % number, transport.get_extra_info("sockname"))
        for number in range(24):
            data, addr = await loop.sock_recvfrom(peers[number % 8], 100)
            assert data == b"%d" % number
            assert addr == transport.get_extra_info("sockname")
        await close(transport, *peers)

    run(main())


def test_an_address_of_before_still_works(run):
    # The sender of the last datagram is known to the transport; others are not mistaken for it.
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await endpoint()
        first, second = udp_socket(), udp_socket()
        for peer in (first, second, first, second):
            await loop.sock_sendto(peer, b"x", transport.get_extra_info("sockname"))
        await protocol.until_received(4)
        names = [addr for _, addr in protocol.received]
        assert names == [first.getsockname(), second.getsockname()] * 2
        for index, addr in enumerate(names):
            transport.sendto(b"to %d" % index, addr)
        transport.sendto(b"copy", (*names[0],))
        assert [await loop.sock_recv(first, 100) for _ in range(3)] == [b"to 0", b"to 2", b"copy"]
        assert [await loop.sock_recv(second, 100) for _ in range(2)] == [b"to 1", b"to 3"]
        await close(transport, first, second)

    run(main())


def test_what_is_known_of_an_endpoint(run):
    async def main():
        transport, protocol = await endpoint()
        sock = transport.get_extra_info("socket")
        assert sock.type == socket.SOCK_DGRAM and sock.fileno() == transport._sock_fd
        assert transport.get_extra_info("sockname") == sock.getsockname()
        assert transport.get_extra_info("peername", "default") is None
        assert transport.get_extra_info("nonsense", 5) == 5
        assert isinstance(transport, asyncio.Transport)
        if sys.version_info >= (3, 12):
            assert isinstance(transport, asyncio.DatagramTransport)
        assert transport.get_protocol() is protocol
        assert transport.is_reading() and not transport.is_closing()
        assert transport.get_write_buffer_size() == 0
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        text = repr(transport)
        assert f"fd={sock.fileno()} read=polling write=<idle, bufsize=0>" in text
        transport.pause_reading()
        assert "read=idle" in repr(transport)
        with pytest.raises(NotImplementedError):
            transport.write(b"x")
        await close(transport)
        assert repr(transport).endswith(f"closed fd={transport._sock_fd}>")
        assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
        assert transport.get_extra_info("socket").fileno() == -1

    run(main())


@pytest.mark.parametrize(
    "data", [b"bytes", bytearray(b"bytearray"), memoryview(b"memoryview"), memoryview(b"a slice")[2:], b"x" * 9000]
)
@pytest.mark.parametrize("is_connected", [False, True])
def test_kinds_of_data(run, data, is_connected):
    async def main():
        loop = asyncio.get_running_loop()
        peer = udp_socket()
        address = {"remote_addr": peer.getsockname()} if is_connected else {}
        transport, _ = await endpoint(**address)
        transport.sendto(data, None if is_connected else peer.getsockname())
        assert await loop.sock_recv(peer, 10_000) == bytes(data)
        transport.sendto(addr=peer.getsockname(), data=data)
        assert await loop.sock_recv(peer, 10_000) == bytes(data)
        await close(transport, peer)

    run(main())


@pytest.mark.parametrize("data", ["text", 5, None, [b"x"], object()], ids=lambda data: type(data).__name__)
def test_no_data(run, data):
    async def main():
        transport, protocol = await endpoint()
        name = type(data).__name__
        with pytest.raises(TypeError, match=f"data argument must be a bytes-like object, not '{name}'"):
            transport.sendto(data, ("127.0.0.1", 9))
        with pytest.raises(TypeError):
            transport.sendto()
        with pytest.raises(TypeError):
            transport.sendto(b"x", ("127.0.0.1", 9), 3)
        assert not transport.is_closing()
        await close(transport)

    run(main())


def test_strided_memory_closes_the_transport(run, errors):
    async def main():
        transport, protocol = await endpoint()
        transport.sendto(memoryview(b"strided")[::2], ("127.0.0.1", 9))
        assert isinstance(await protocol.lost, BufferError)
        assert [context["message"] for context in errors] == ["Fatal write error on datagram transport"]

    run(main())


@pytest.mark.parametrize("empty", [b"", bytearray(), memoryview(b"")], ids=lambda empty: type(empty).__name__)
@pytest.mark.parametrize("is_connected", [False, True])
def test_empty_datagrams(run, empty, is_connected):
    async def main():
        loop = asyncio.get_running_loop()
        peer = udp_socket()
        address = {"remote_addr": peer.getsockname()} if is_connected else {}
        transport, _ = await endpoint(**address)
        to = None if is_connected else peer.getsockname()
        transport.sendto(empty, to)
        transport.sendto(b"after", to)
        assert await loop.sock_recv(peer, 100) == (b"" if SENDS_EMPTY else b"after")
        await close(transport, peer)

    run(main())


def test_empty_datagrams_are_received(run):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await endpoint()
        peer = udp_socket()
        for data in (b"", b"x", b""):
            await loop.sock_sendto(peer, data, transport.get_extra_info("sockname"))
        assert await protocol.until_received(3) == [b"", b"x", b""]
        assert protocol.received[0][1] == peer.getsockname()
        await close(transport, peer)

    run(main())


@pytest.mark.parametrize("is_broadcast", [False, True])
def test_the_address_of_an_endpoint_with_a_peer(run, is_broadcast):
    # With allow_broadcast the socket is not connected, but it has a remote address all the same.
    async def main():
        loop = asyncio.get_running_loop()
        peer = udp_socket()
        name = peer.getsockname()
        transport, _ = await endpoint(remote_addr=name, allow_broadcast=is_broadcast)
        assert transport.get_extra_info("peername") == (None if is_broadcast else name)
        assert transport._address == name
        equal = (*name,)
        for number, addr in enumerate([None, name, equal, EqualsAll()]):
            transport.sendto(b"%d" % number, addr)
            assert await loop.sock_recv(peer, 100) == b"%d" % number
        for wrong in [("127.0.0.1", 9), ("127.0.0.1",), "text", 5, (), [*name]]:
            with pytest.raises(ValueError, match=r"Invalid address: must be None or \('127.0.0.1', \d+\)"):
                transport.sendto(b"x", wrong)
        with pytest.raises(ZeroDivisionError):
            transport.sendto(b"x", RefusesComparison())
        assert not transport.is_closing()
        await close(transport, peer)

    run(main())


class EqualsAll:
    def __eq__(self, other):
        return True

    __hash__ = None


class RefusesComparison:
    def __eq__(self, other):
        return 1 / 0

    __hash__ = None


class Index:
    """A port by its number only."""

    def __init__(self, number):
        self.number = number

    def __index__(self):
        return self.number


class Text(str):
    """Some other kind of string."""


ADDRESSES = {
    "as the socket shows it": lambda port: ("127.0.0.1", port),
    "a name": lambda port: ("localhost", port),
    "a subclass": lambda port: (Text("127.0.0.1"), port),
    "bytes": lambda port: (b"127.0.0.1", port),
    "a short form": lambda port: ("127.1", port),
    "any": lambda port: ("", port),
    "an index": lambda port: ("127.0.0.1", Index(port)),
}


@pytest.mark.parametrize("form", ADDRESSES)
def test_addresses_that_sockets_take(run, form):
    async def main():
        loop = asyncio.get_running_loop()
        peer = udp_socket()
        transport, _ = await endpoint()
        transport.sendto(b"hello", ADDRESSES[form](peer.getsockname()[1]))
        assert await loop.sock_recv(peer, 100) == b"hello"
        await close(transport, peer)

    run(main())


BAD_ADDRESSES = {
    "none": (None, TypeError),
    "a string": ("127.0.0.1", TypeError),
    "a list": (["127.0.0.1", 9], TypeError),
    "too short": (("127.0.0.1",), TypeError),
    "too long": (("127.0.0.1", 9, 0, 0), TypeError),
    "empty": ((), TypeError),
    "no port": (("127.0.0.1", None), TypeError),
    "a float port": (("127.0.0.1", 9.0), TypeError),
    "a large port": (("127.0.0.1", 65536), OverflowError),
    "a huge port": (("127.0.0.1", 2**80), OverflowError),
    "a negative port": (("127.0.0.1", -1), OverflowError),
    "no host": ((None, 9), TypeError),
    "no text": (("\ud800", 9), TypeError),
    "a null in the host": (("127.0.0.1\0", 9), TypeError),
}


@pytest.mark.parametrize("form", BAD_ADDRESSES)
def test_addresses_that_close_the_transport(run, errors, form):
    addr, kind = BAD_ADDRESSES[form]

    async def main():
        transport, protocol = await endpoint()
        transport.sendto(b"x", addr)
        assert transport.is_closing()
        assert isinstance(await protocol.lost, kind)
        (context,) = errors
        assert context["message"] == "Fatal write error on datagram transport"
        assert context["transport"] is transport and context["protocol"] is protocol
        assert context["exception"] is protocol.lost.result()
        assert protocol.exceptions == []

    run(main())


REFUSED = {
    "port 0": (b"x", ("127.0.0.1", 0), errno.EINVAL),
    "too large": (b"x" * 70_000, ("127.0.0.1", 9), errno.EMSGSIZE),
    "broadcast": (b"x", ("<broadcast>", 9), errno.EACCES),
    "a v6 host": (b"x", ("::1", 9), None),
    "no such host": (b"x", ("1" * 1000, 9), None),
}


@pytest.mark.parametrize("form", REFUSED)
def test_what_the_system_refuses_goes_to_error_received(run, errors, form):
    data, addr, number = REFUSED[form]

    async def main():
        loop = asyncio.get_running_loop()
        peer = udp_socket()
        transport, protocol = await endpoint()
        transport.sendto(data, addr)
        assert protocol.events == ["made", "error"]  # at once
        assert isinstance(protocol.exceptions[0], OSError)
        assert number is None or protocol.exceptions[0].errno == number
        assert not transport.is_closing()
        transport.sendto(b"alive", peer.getsockname())
        assert await loop.sock_recv(peer, 100) == b"alive"
        await close(transport, peer)
        assert errors == []

    run(main())


def test_nobody_at_the_port(run, errors):
    async def main():
        loop = asyncio.get_running_loop()
        gone = udp_socket()
        name = gone.getsockname()
        gone.close()
        transport, protocol = await endpoint(remote_addr=name)
        for count in (1, 2, 3):
            transport.sendto(b"x")
            assert isinstance(await protocol.until_failed(count), ConnectionRefusedError)
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.setblocking(False)
        peer.bind(name)
        transport.sendto(b"now")
        assert await loop.sock_recv(peer, 100) == b"now"
        assert not transport.is_closing() and errors == []
        await close(transport, peer)

    run(main())


def test_what_error_received_raises(run, errors):
    class Raises(Datagrams):
        def error_received(self, exc):
            super().error_received(exc)
            raise ZeroDivisionError

    async def main():
        transport, protocol = await endpoint(Raises)
        # Of a send: it is the sender's.
        with pytest.raises(ZeroDivisionError):
            transport.sendto(b"x", ("127.0.0.1", 0))
        assert not transport.is_closing() and errors == []
        gone = udp_socket()
        connected, protocol = await endpoint(Raises, remote_addr=gone.getsockname())
        gone.close()
        # Of a read: nobody's.
        connected.sendto(b"x")
        await protocol.until_failed()
        await turns()
        assert [type(context["exception"]) for context in errors] == [ZeroDivisionError]
        assert errors[0]["message"].startswith("Exception in callback")
        assert not connected.is_closing()
        await close(transport, connected)

    run(main())


def test_a_look_at_sends_by_audit_hooks(run):
    seen = []
    on = True

    def hook(event, args):
        if on and event == "socket.sendto":
            seen.append(args[1])

    sys.addaudithook(hook)

    async def main():
        loop = asyncio.get_running_loop()
        peer = udp_socket()
        transport, protocol = await endpoint()
        name = peer.getsockname()
        transport.sendto(b"x", name)
        transport.sendto(b"x", ("localhost", name[1]))
        peer.sendto(b"y", transport.get_extra_info("sockname"))
        await protocol.until_received(1)
        transport.sendto(b"x", protocol.received[0][1])
        assert [await loop.sock_recv(peer, 10) for _ in range(3)] == [b"x"] * 3
        assert name in seen and ("localhost", name[1]) in seen and len(seen) == 4
        await close(transport, peer)

    try:
        run(main())
    finally:
        on = False


def test_not_for_streams(run, tmp_path):
    async def main():
        loop = asyncio.get_running_loop()
        transport, _ = await endpoint()
        path = tmp_path / "file"
        path.write_bytes(b"x")
        with path.open("rb") as file, pytest.raises(RuntimeError, match="sendfile is not supported"):
            await loop.sendfile(transport, file)
        with pytest.raises(TypeError, match="is not supported by start_tls"):
            await loop.start_tls(transport, asyncio.Protocol(), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        await close(transport)

    run(main())


def test_calls_run_in_the_context_of_the_making(run):
    variable = contextvars.ContextVar("variable", default="none")

    class Looks(Datagrams):
        def connection_made(self, transport):
            super().connection_made(transport)
            self.seen = [variable.get()]

        def datagram_received(self, data, addr):
            self.seen.append(variable.get())
            super().datagram_received(data, addr)

    async def main():
        variable.set("making")
        transport, protocol = await endpoint(Looks)
        variable.set("later")
        peer = udp_socket()
        peer.sendto(b"x", transport.get_extra_info("sockname"))
        await protocol.until_received(1)
        assert protocol.seen == ["making", "making"]
        transport.pause_reading()
        transport.resume_reading()
        peer.sendto(b"x", transport.get_extra_info("sockname"))
        await protocol.until_received(2)
        assert protocol.seen == ["making", "making", "later"]
        await close(transport, peer)

    run(main())
