"""create_datagram_endpoint: each of its arguments, IPv6, families without addresses of their own, bad input.

Covers net/datagram.c and net/addr.c. Relies on udp_support.py.
"""

import asyncio
import errno
import socket
import struct

import pytest
from tcp_support import needs_ipv6
from udp_support import Datagrams, close, endpoint, turns, udp_socket

NETLINK_ROUTE = 0
RTM_GETLINK, NLM_F_REQUEST, NLM_F_DUMP = 18, 1, 0x300


def link_local():
    """(address, interface index) of an interface with a link-local address, or None."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as file:
            for line in file:
                digits, index, *_ = line.split()
                if digits.startswith("fe80"):
                    return socket.inet_ntop(socket.AF_INET6, bytes.fromhex(digits)), int(index, 16)
    except OSError:
        pass
    return None


def test_local_and_remote_address(run):
    async def main():
        loop = asyncio.get_running_loop()
        peer = udp_socket()
        transport, protocol = await endpoint(local_addr=("127.0.0.1", 0), remote_addr=peer.getsockname())
        assert transport.get_extra_info("peername") == peer.getsockname()
        transport.sendto(b"x")
        data, addr = await loop.sock_recvfrom(peer, 100)
        assert (data, addr) == (b"x", transport.get_extra_info("sockname"))
        # A connected socket hears its peer alone.
        stranger = udp_socket()
        stranger.sendto(b"no", addr)
        peer.sendto(b"yes", addr)
        assert await protocol.until_received(1) == [b"yes"]
        await close(transport, peer, stranger)

    run(main())


@pytest.mark.parametrize("family", [socket.AF_INET, pytest.param(socket.AF_INET6, marks=needs_ipv6)])
def test_family_alone(run, family):
    async def main():
        loop = asyncio.get_running_loop()
        peer = udp_socket(family)
        transport, protocol = await endpoint(family=family)
        name = transport.get_extra_info("sockname")
        assert name[1] == 0
        transport.sendto(b"x", peer.getsockname())
        _, addr = await loop.sock_recvfrom(peer, 100)
        assert addr[1] != 0
        assert transport.get_extra_info("sockname") == name  # as it was when it was made
        await close(transport, peer)

    run(main())


def test_proto_and_flags(run):
    async def main():
        transport, _ = await endpoint(
            local_addr=("127.0.0.1", 0), proto=socket.IPPROTO_UDP, flags=socket.AI_NUMERICHOST
        )
        assert transport.get_extra_info("socket").proto == socket.IPPROTO_UDP
        await close(transport)
        with pytest.raises(socket.gaierror):
            await endpoint(local_addr=("localhost", 0), flags=socket.AI_NUMERICHOST, family=socket.AF_INET)

    run(main())


def test_a_name(run):
    async def main():
        peer = udp_socket()
        transport, _ = await endpoint(remote_addr=("localhost", peer.getsockname()[1]), family=socket.AF_INET)
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport._address == peer.getsockname()
        await close(transport, peer)

    run(main())


def test_reuse_port(run):
    async def main():
        first, one = await endpoint(local_addr=("127.0.0.1", 0), reuse_port=True)
        name = first.get_extra_info("sockname")
        second, other = await endpoint(local_addr=name, reuse_port=True)
        peers = [udp_socket() for _ in range(32)]
        for peer in peers:
            peer.sendto(b"x", name)
        while len(one.received) + len(other.received) < len(peers):
            await asyncio.sleep(0)
        await close(first, second, *peers)
        with pytest.raises(OSError) as caught:
            taken = udp_socket()
            try:
                await endpoint(local_addr=taken.getsockname())
            finally:
                taken.close()
        assert caught.value.errno == errno.EADDRINUSE

    run(main())


def test_allow_broadcast(run):
    async def main():
        transport, protocol = await endpoint(local_addr=("127.0.0.1", 0), allow_broadcast=True)
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == 1
        transport.sendto(b"x", ("127.255.255.255", 9))
        assert protocol.exceptions == []
        plain, protocol = await endpoint()
        plain.sendto(b"x", ("127.255.255.255", 9))
        assert isinstance(protocol.exceptions[0], PermissionError)
        await close(transport, plain)

    run(main())


def test_own_socket(run):
    async def main():
        loop = asyncio.get_running_loop()
        sock = udp_socket()
        sock.setblocking(True)
        transport, protocol = await endpoint(sock=sock)
        assert sock.gettimeout() == 0
        assert transport._sock is sock
        assert transport.get_extra_info("sockname") == sock.getsockname()
        peer = udp_socket()
        transport.sendto(b"x", peer.getsockname())
        assert await loop.sock_recv(peer, 100) == b"x"
        await close(transport, peer)
        assert sock.fileno() == -1

    run(main())


def test_own_connected_socket(run):
    async def main():
        loop = asyncio.get_running_loop()
        peer, stranger = udp_socket(), udp_socket()
        sock = udp_socket()
        sock.connect(peer.getsockname())
        transport, protocol = await endpoint(sock=sock)
        assert transport.get_extra_info("peername") == peer.getsockname()
        assert transport._address is None
        # The kernel knows the peer and no other address is looked at.
        for addr in (None, peer.getsockname(), stranger.getsockname(), "nonsense"):
            transport.sendto(b"x", addr)
            assert await loop.sock_recv(peer, 100) == b"x"
        await close(transport, peer, stranger)

    run(main())


@needs_ipv6
def test_ipv6(run):
    async def main():
        loop = asyncio.get_running_loop()
        transport, protocol = await endpoint(local_addr=("::1", 0))
        name = transport.get_extra_info("sockname")
        assert name == ("::1", name[1], 0, 0)
        peer = udp_socket(socket.AF_INET6)
        port = peer.getsockname()[1]
        forms = [("::1", port), ("::1", port, 0), ("::1", port, 0, 0), ("0:0::0:1", port), ("ip6-localhost", port)]
        try:
            socket.getaddrinfo("ip6-localhost", port, socket.AF_INET6)
        except OSError:
            forms.pop()
        for addr in forms:
            transport.sendto(b"x", addr)
            data, sender = await loop.sock_recvfrom(peer, 100)
            assert (data, sender) == (b"x", name)
        for _ in range(2):
            peer.sendto(b"y", name)
        await protocol.until_received(2)
        assert protocol.received == [(b"y", peer.getsockname())] * 2
        transport.sendto(b"back", protocol.received[0][1])
        assert await loop.sock_recv(peer, 100) == b"back"
        await close(transport, peer)

    run(main())


@needs_ipv6
@pytest.mark.parametrize("flow", [-1, 0x100000], ids=hex)
def test_bad_flow_labels(run, errors, flow):
    async def main():
        transport, protocol = await endpoint(local_addr=("::1", 0))
        transport.sendto(b"x", ("::1", 9, flow))
        assert isinstance(await protocol.lost, OverflowError)

    run(main())


@pytest.mark.skipif(link_local() is None, reason="no link-local address")
def test_scopes(run):
    host, index = link_local()

    async def main():
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind((host, 0, 0, index))
        transport, protocol = await endpoint(sock=sock)
        peer = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        peer.bind((host, 0, 0, index))
        peer.setblocking(False)
        port = peer.getsockname()[1]
        for addr in [peer.getsockname(), (host, port, 0, index), (f"{host}%{socket.if_indextoname(index)}", port)]:
            transport.sendto(b"x", addr)
            data, sender = await loop.sock_recvfrom(peer, 100)
            assert data == b"x" and sender == sock.getsockname()
            peer.sendto(b"y", sender)
        await protocol.until_received(3)
        assert {addr for _, addr in protocol.received} == {peer.getsockname()}
        await close(transport, peer)

    run(main())


def test_a_family_with_addresses_of_another_kind(run):
    # What addr.h does not know is left to the socket module.
    async def main():
        sock = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_ROUTE)
        transport, protocol = await endpoint(sock=sock)
        body = struct.pack("=BBHiII", 0, 0, 0, 0, 0, 0)
        head = struct.pack("=IHHII", 16 + len(body), RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        transport.sendto(head + body, (0, 0))
        (data, *_) = await protocol.until_received(1)
        assert protocol.received[0][1] == (0, 0)
        assert len(data) >= 16
        await close(transport)

    run(main())


def test_bad_arguments(run):
    async def main():
        loop = asyncio.get_running_loop()
        create = loop.create_datagram_endpoint
        with pytest.raises(ValueError, match="unexpected address family"):
            await create(Datagrams)
        for addr in [("127.0.0.1",), ["127.0.0.1", 0], "127.0.0.1:0", ("127.0.0.1", 0, 0)]:
            for name in ("local_addr", "remote_addr"):
                with pytest.raises(TypeError, match="2-tuple is expected"):
                    await create(Datagrams, **{name: addr})
        with pytest.raises(ValueError, match="can not get address information"):
            await create(Datagrams, ("127.0.0.1", 0), ("::1", 9))
        with pytest.raises(OSError):
            await create(Datagrams, ("192.0.2.1", 0))
        with pytest.raises(TypeError):
            await create(Datagrams, ("127.0.0.1", 0), no_such_argument=1)
        with pytest.raises(TypeError):
            await create(5, ("127.0.0.1", 0))

    run(main())


def test_bad_sockets(run):
    async def main():
        loop = asyncio.get_running_loop()
        create = loop.create_datagram_endpoint
        stream = socket.socket()
        with pytest.raises(ValueError, match="was expected, got <socket"):
            await create(Datagrams, sock=stream)
        sock = udp_socket()
        for name, value in [
            ("local_addr", ("127.0.0.1", 0)),
            ("remote_addr", ("127.0.0.1", 9)),
            ("family", socket.AF_INET),
            ("proto", 17),
            ("flags", 1),
            ("reuse_port", True),
            ("allow_broadcast", True),
        ]:
            with pytest.raises(ValueError, match=f"socket modifier keyword arguments.*{name}"):
                await create(Datagrams, sock=sock, **{name: value})
        assert sock.getsockname()  # still open
        sock.close()
        with pytest.raises((OSError, ValueError)):
            await create(Datagrams, sock=sock)
        await close(stream)

    run(main())


def test_a_protocol_without_methods(run, errors):
    async def main():
        transport, _ = await endpoint(asyncio.BaseProtocol)
        peer = udp_socket()
        peer.sendto(b"x", transport.get_extra_info("sockname"))
        while not errors:
            await asyncio.sleep(0)
        assert isinstance(errors[0]["exception"], AttributeError)
        assert not transport.is_closing()
        # Last: asyncio's transport that failed is found under the number of its descriptor until it is collected.
        sock = udp_socket()
        with pytest.raises(AttributeError):
            await asyncio.get_running_loop().create_datagram_endpoint(object, sock=sock)
        sock.close()
        await close(transport, peer)

    run(main())


def test_made_by_hand(run):
    # The method that other code calls with its own addresses and waiters.
    async def main():
        loop = asyncio.get_running_loop()
        sock, peer = udp_socket(), udp_socket()
        waiter = loop.create_future()
        protocol = Datagrams()
        transport = loop._make_datagram_transport(
            sock, protocol, peer.getsockname(), waiter, {"peername": None, "mine": 5}
        )
        assert protocol.events == []
        await waiter
        assert protocol.events == ["made"] and protocol.transport is transport
        assert transport.get_extra_info("mine") == 5 and transport.get_extra_info("peername") is None
        transport.sendto(b"x")
        assert await loop.sock_recv(peer, 100) == b"x"
        cancelled = loop.create_future()
        cancelled.cancel()
        other = loop._make_datagram_transport(udp_socket(), Datagrams(), waiter=cancelled)
        await turns()
        await close(transport, other, peer)
        for arguments in [(), (sock,), (5, protocol), (object(), protocol)]:
            with pytest.raises((TypeError, OSError, ValueError, AttributeError)):
                loop._make_datagram_transport(*arguments)

    run(main())


def test_a_waiter_cancelled_in_the_making(run):
    async def main():
        loop = asyncio.get_running_loop()
        made = []

        def factory():
            made.append(Datagrams())
            task.cancel()
            return made[0]

        task = loop.create_task(loop.create_datagram_endpoint(factory, ("127.0.0.1", 0)))
        with pytest.raises(asyncio.CancelledError):
            await task
        await made[0].until(lambda: "lost" in made[0].events)
        assert made[0].events == ["made", "lost"]

    run(main())


def test_closed_loop(new_loop):
    loop = new_loop()
    sock = udp_socket()
    loop.close()
    with pytest.raises(RuntimeError):
        loop._make_datagram_transport(sock, asyncio.DatagramProtocol())
    sock.close()
