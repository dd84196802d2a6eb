"""Datagrams in bulk, in loops that join writes: sent by few calls, received by few, and told one by one as ever.

Covers net/datagram_many.c, net/mail.c, net/burst.c and the joining in net/datagram_send.c. What the protocols are
told is compared with stock asyncio, which runs the same tests.
"""

import asyncio
import contextlib
import errno
import random
import socket
import struct
import sys
import tempfile

import pytest
from loop_support import in_a_step, until
from udp_support import Acts, Datagrams, close, endpoint, turns, udp_socket

import loopmod

pytestmark = pytest.mark.timeout(20)

UDP_SEGMENT = 103
UDP_GRO = 104
KINDS = ["asyncio", "step", "turn"]


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param


@pytest.fixture
def joins(kind):
    return kind != "asyncio"


@pytest.fixture
def loop(kind, debug):
    """The loop that the fixture `run` of tests/conftest.py runs on here."""
    loop = asyncio.SelectorEventLoop() if kind == "asyncio" else loopmod.Loop(join_writes=kind)
    loop.set_debug(debug)
    loop.slow_callback_duration = 60.0
    yield loop
    loop.close()


def merges():
    """Whether this kernel merges and cuts datagrams."""
    with udp_socket() as sock:
        try:
            return all(sock.getsockopt(socket.IPPROTO_UDP, option) == 0 for option in (UDP_GRO, UDP_SEGMENT))
        except OSError:
            return False


needs_merging = pytest.mark.skipif(not merges(), reason="the kernel has no UDP_GRO")


def arrived(sock):
    """The datagrams that a raw socket has by now."""
    data = []
    with contextlib.suppress(BlockingIOError):
        while True:
            data.append(sock.recv(1 << 16))
    return data


async def settled(function):
    """The result of a step, after whatever it joined was sent."""
    result = await in_a_step(function)
    await turns()
    return result


# --- sending


def test_what_a_step_sends(run, joins):
    async def main():
        transport, _ = await endpoint()
        peer = udp_socket()

        def send():
            for data in (b"one", bytearray(b"two"), memoryview(b"three")):
                transport.sendto(data, peer.getsockname())
            return arrived(peer)

        before = await settled(send)
        everything = [b"one", b"two", b"three"]
        assert before + arrived(peer) == everything
        assert before == ([] if joins else everything)
        await close(transport, peer)

    run(main())


def test_what_was_given_may_change_at_once(run):
    async def main():
        transport, _ = await endpoint()
        peer = udp_socket()
        data = bytearray(b"as it was")

        def send():
            transport.sendto(data, peer.getsockname())
            data[:] = b"otherwise"

        await settled(send)
        assert arrived(peer) == [b"as it was"]
        await close(transport, peer)

    run(main())


SIZES = {
    "equal": [1200] * 40,
    "last one shorter": [1200] * 9 + [7],
    "shorter in the middle": [1200, 1200, 5, 1200, 1200],
    "growing": [1, 2, 3, 3, 4, 4, 4],
    "empty ones": [0, 0, 5, 5, 0, 5],
    "more than one message takes": [900] * 150,
    "many small ones": [10] * 500,
    "large": [30_000] * 3,
    "largest": [65_507, 65_507, 1],
}


@pytest.mark.parametrize("connected", [False, True])
@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_sizes(run, sizes, connected):
    async def main():
        peer = udp_socket()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        transport, protocol = await endpoint(**({"remote_addr": peer.getsockname()} if connected else {}))
        sent = [random.Random(i).randbytes(size) for i, size in enumerate(sizes)]
        if sys.version_info < (3, 13):
            sent = [data for data in sent if data]  # empty ones are not sent
        come = []
        for start in range(0, len(sent), 100):

            def send(start=start):
                for data in sent[start : start + 100]:
                    transport.sendto(data, None if connected else peer.getsockname())

            await settled(send)
            come += arrived(peer)
        assert come == sent
        assert transport.get_write_buffer_size() == 0
        assert protocol.exceptions == []
        await close(transport, peer)

    run(main())


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_to_many_in_any_order(run, family):
    async def main():
        host = "127.0.0.1" if family == socket.AF_INET else "::1"
        transport, _ = await endpoint(local_addr=(host, 0))
        peers = [udp_socket(family) for _ in range(5)]
        rng = random.Random(3)
        sent = {peer: [] for peer in peers}

        def send():
            for number in range(200):
                peer = rng.choice(peers)
                data = b"%d" % number * rng.choice([1, 1, 100])
                sent[peer].append(data)
                transport.sendto(data, peer.getsockname())

        await settled(send)
        assert {peer: arrived(peer) for peer in peers} == sent
        await close(transport, *peers)

    run(main())


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_names_that_need_a_look_up_keep_their_place(run, name):
    async def main():
        transport, _ = await endpoint()
        peer = udp_socket()
        port = peer.getsockname()[1]

        def send():
            transport.sendto(b"1", ("127.0.0.1", port))
            transport.sendto(b"2", (name, port))
            transport.sendto(b"3", ("127.0.0.1", port))

        await settled(send)
        assert arrived(peer) == [b"1", b"2", b"3"]
        await close(transport, peer)

    run(main())


@pytest.mark.parametrize("way", ["size", "close", "abort", "socket", "limits"])
def test_who_asks_finds_it_sent(run, way):
    async def main():
        transport, protocol = await endpoint()
        peer = udp_socket()

        def send():
            for _ in range(3):
                transport.sendto(b"x", peer.getsockname())
            if way == "size":
                assert transport.get_write_buffer_size() == 0
            elif way == "socket":
                transport.get_extra_info("socket")
            elif way == "limits":
                transport.set_write_buffer_limits(0)
            else:
                getattr(transport, way)()
            return arrived(peer)

        assert await in_a_step(send) == [b"x"] * 3
        if way in ("close", "abort"):
            assert await protocol.lost is None
        await close(transport, peer)

    run(main())


def test_who_has_the_number_or_the_socket_finds_it_sent(run):
    async def main():
        for way in ("fileno", "dup", "own"):
            sock = udp_socket()
            transport, _ = await endpoint(sock=sock)
            if way != "own":
                del sock
                copy = getattr(transport.get_extra_info("socket"), way)()
            peer = udp_socket()

            def send(transport=transport, peer=peer):
                transport.sendto(b"x", peer.getsockname())
                return arrived(peer)

            assert await in_a_step(send) == [b"x"]
            if way == "dup":
                copy.close()
            await close(transport, peer)

    run(main())


def test_never_more_than_the_high_water_mark(run, joins):
    async def main():
        transport, protocol = await endpoint()
        peer = udp_socket()
        transport.set_write_buffer_limits(high=3000)

        def send():
            for _ in range(4):
                transport.sendto(b"x" * 1000, peer.getsockname())
            return len(arrived(peer))

        at_once = await settled(send)
        assert at_once == (4 if not joins else 3 if sys.version_info >= (3, 13) else 4)
        assert at_once + len(arrived(peer)) == 4
        assert "pause" not in protocol.events
        await close(transport, peer)

    run(main())


def test_outside_a_step_it_is_sent_at_once(loop):
    transport, _ = loop.run_until_complete(loop.create_datagram_endpoint(Datagrams, ("127.0.0.1", 0)))
    peer = udp_socket()
    transport.sendto(b"x", peer.getsockname())
    assert arrived(peer) == [b"x"]
    transport.close()
    loop.run_until_complete(asyncio.sleep(0))
    peer.close()


# --- errors of sending


def codes(protocol):
    return [exc.errno for exc in protocol.exceptions]


def test_each_refused_datagram_is_told_once_in_its_place(run):
    """Too large, to a broadcast address without leave, to port 0: asyncio's errors, and the others go out."""

    async def main():
        transport, protocol = await endpoint()
        peer = udp_socket()
        there = peer.getsockname()

        def send():
            transport.sendto(b"1", there)
            transport.sendto(b"x" * 65_508, there)
            transport.sendto(b"2", there)
            transport.sendto(b"3", ("255.255.255.255", 9))
            transport.sendto(b"4", ("127.0.0.1", 0))
            transport.sendto(b"5", ("127.0.0.1", 0))
            transport.sendto(b"6", there)
            transport.sendto(b"7", there)

        await settled(send)
        assert codes(protocol) == [errno.EMSGSIZE, errno.EACCES, errno.EINVAL, errno.EINVAL]
        assert arrived(peer) == [b"1", b"2", b"6", b"7"]
        assert protocol.lost.done() is False
        await close(transport, peer)

    run(main())


def test_larger_than_the_way_takes_in_one_piece(run):
    """With IP_MTU_DISCOVER the kernel makes no fragments, and loopback takes 65,536 bytes with their headers."""

    async def main():
        sock = udp_socket()
        sock.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        transport, protocol = await endpoint(sock=sock)
        del sock
        peer = udp_socket()

        def send():
            for size in (65_508, 65_507, 65_508, 1, 1):
                transport.sendto(b"x" * size, peer.getsockname())

        await settled(send)
        assert codes(protocol) == [errno.EMSGSIZE] * 2
        assert [len(data) for data in arrived(peer)] == [65_507, 1, 1]
        await close(transport, peer)

    run(main())


def test_an_error_that_came_back_costs_one_datagram(run):
    """The kernel tells a connected socket of a closed port by whatever it does next."""

    async def main():
        peer = udp_socket()
        transport, protocol = await endpoint(remote_addr=peer.getsockname())
        there = peer.getsockname()
        peer.close()
        transport.get_extra_info("socket")
        transport.pause_reading()
        await settled(lambda: transport.sendto(b"x"))  # the answer waits in the socket
        peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        peer.setblocking(False)
        peer.bind(there)

        def send():
            for number in range(5):
                transport.sendto(b"%d" % number)

        await settled(send)
        assert codes(protocol) == [errno.ECONNREFUSED]
        assert arrived(peer) == [b"1", b"2", b"3", b"4"]
        await close(transport, peer)

    run(main())


@pytest.mark.parametrize("way", ["sendto", "close", "abort"])
def test_what_error_received_does(run, way):
    async def main():
        peer = udp_socket()

        class Acts(Datagrams):
            def error_received(self, exc):
                super().error_received(exc)
                if way == "sendto":
                    if len(self.exceptions) < 3:
                        self.transport.sendto(b"again", peer.getsockname())
                        self.transport.sendto(b"x", ("127.0.0.1", 0))
                else:
                    getattr(self.transport, way)()

        transport, protocol = await endpoint(Acts)

        def send():
            transport.sendto(b"1", peer.getsockname())
            transport.sendto(b"x", ("127.0.0.1", 0))

        await settled(send)
        if way == "sendto":
            await until(lambda: len(protocol.exceptions) == 3)
            assert arrived(peer) == [b"1", b"again", b"again"]
        else:
            assert await protocol.lost is None
            assert arrived(peer) == [b"1"]
            assert protocol.events == ["made", "error", "lost"]
        await close(transport, peer)

    run(main())


def test_what_error_received_raises(run, joins, errors):
    async def main():
        peer = udp_socket()

        class Raises(Datagrams):
            def error_received(self, exc):
                super().error_received(exc)
                raise ZeroDivisionError

        transport, protocol = await endpoint(Raises)

        def send():
            with contextlib.suppress(ZeroDivisionError):
                transport.sendto(b"x", ("127.0.0.1", 0))
            transport.sendto(b"1", peer.getsockname())

        await settled(send)
        assert codes(protocol) == [errno.EINVAL]
        assert arrived(peer) == [b"1"]
        assert [type(context["exception"]) for context in errors] == ([ZeroDivisionError] if joins else [])
        await close(transport, peer)

    run(main())


# --- receiving


def burst(transport, sizes, peer=None):
    """A peer that has sent numbered datagrams, which are there before the loop looks; what they are."""
    peer = peer or udp_socket()
    sent = [b"%06d" % number + b"." * size for number, size in enumerate(sizes)]
    for data in sent:
        peer.sendto(data, transport.get_extra_info("sockname"))
    return peer, sent


def merged(transport, pieces, size, peer=None):
    """The same by one call, which the kernel takes for so many datagrams of the size."""
    peer = peer or udp_socket()
    sent = [(b"%06d" % number).ljust(size, b".") for number in range(pieces)]
    peer.sendmsg(
        [b"".join(sent)],
        [(socket.IPPROTO_UDP, UDP_SEGMENT, struct.pack("H", size))],
        0,
        transport.get_extra_info("sockname"),
    )
    return peer, sent


async def warm(transport, protocol, peer):
    """Let the loop see bursts, from which on it has the kernel merge what comes."""
    for _ in range(2):
        _, sent = burst(transport, [1] * 20, peer)
        await protocol.until_received(20)
        assert [data for data, _ in protocol.received] == sent
        protocol.received.clear()
        protocol.events.clear()


def test_bursts_of_all_sizes(run):
    async def main():
        transport, protocol = await endpoint()
        peer = udp_socket()
        rng = random.Random(11)
        for _ in range(30):
            protocol.received.clear()
            _, sent = burst(transport, [rng.choice([0, 1, 1, 50, 1400]) for _ in range(rng.choice([1, 2, 40]))], peer)
            assert await protocol.until_received(len(sent)) == sent
        assert {addr for _, addr in protocol.received} == {peer.getsockname()}
        await close(transport, peer)

    run(main())


@needs_merging
@pytest.mark.parametrize(("pieces", "size"), [(2, 1200), (25, 1200), (64, 100), (20, 1300), (2, 30_000), (1, 6)])
def test_merged_datagrams_come_one_by_one(run, pieces, size, joins):
    async def main():
        transport, protocol = await endpoint()
        peer = udp_socket()
        await warm(transport, protocol, peer)
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        others = [udp_socket() for _ in range(1)]
        expected = []
        for sender in [peer, *others, peer]:
            expected += [(data, sender.getsockname()) for data in merged(transport, pieces, size, sender)[1]]
        await protocol.until_received(len(expected))
        assert protocol.received == expected
        option = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_UDP, UDP_GRO)
        assert option == joins
        await close(transport, peer, *others)

    run(main())


@needs_merging
def test_time_stamps_do_not_hide_the_size(run):
    async def main():
        transport, protocol = await endpoint()
        peer = udp_socket()
        await warm(transport, protocol, peer)
        shown = transport.get_extra_info("socket")
        shown.setsockopt(socket.SOL_SOCKET, 35, 1)  # SO_TIMESTAMPNS
        shown.setsockopt(socket.SOL_SOCKET, 40, 1)  # SO_RXQ_OVFL
        shown.setsockopt(socket.IPPROTO_IP, 8, 1)  # IP_PKTINFO
        shown.setsockopt(socket.IPPROTO_IP, 12, 1)  # IP_RECVTTL
        _, sent = merged(transport, 40, 1000, peer)
        assert await protocol.until_received(40) == sent
        await close(transport, peer)

    run(main())


@needs_merging
@pytest.mark.parametrize("way", ["plain", "merged"])
class TestInTheMiddle:
    """What a protocol does while more has been received than was delivered."""

    async def begin(self, way, act):
        transport, protocol = await endpoint(Acts)
        peer = udp_socket()
        await warm(transport, protocol, peer)
        protocol.act = lambda: act(transport, protocol)
        sent = merged(transport, 30, 500, peer)[1] if way == "merged" else burst(transport, [1] * 30, peer)[1]
        return transport, protocol, peer, sent

    @pytest.mark.parametrize("end", ["close", "abort"])
    def test_closed(self, run, way, end):
        async def main():
            transport, protocol, peer, sent = await self.begin(way, lambda t, p: getattr(t, end)())
            assert await protocol.lost is None
            await turns()
            assert [data for data, _ in protocol.received] == sent[:3]
            assert protocol.events == ["data", "data", "data", "lost"]
            await close(transport, peer)

        run(main())

    def test_paused(self, run, way):
        async def main():
            transport, protocol, peer, sent = await self.begin(way, lambda t, p: t.pause_reading())
            await until(lambda: not transport.is_reading())
            for _ in range(5):
                await turns()
            assert [data for data, _ in protocol.received] == sent[:3]
            transport.resume_reading()
            _, more = burst(transport, [2] * 3, peer)
            assert await protocol.until_received(33) == sent + more
            await close(transport, peer)

        run(main())

    def test_paused_and_resumed(self, run, way):
        async def main():
            def act(transport, protocol):
                transport.pause_reading()
                transport.resume_reading()

            transport, protocol, peer, sent = await self.begin(way, act)
            assert await protocol.until_received(30) == sent
            await close(transport, peer)

        run(main())

    def test_paused_for_good(self, run, way):
        async def main():
            transport, protocol, peer, sent = await self.begin(way, lambda t, p: t.pause_reading())
            await until(lambda: not transport.is_reading())
            transport.close()
            assert await protocol.lost is None
            assert [data for data, _ in protocol.received] == sent[:3]
            await close(peer)

        run(main())

    def test_another_protocol(self, run, way):
        async def main():
            other = Datagrams()
            transport, protocol, peer, sent = await self.begin(way, lambda t, p: t.set_protocol(other))
            await until(lambda: len(other.received) == 27)
            assert [data for data, _ in protocol.received + other.received] == sent
            await close(transport, peer)
            assert not protocol.lost.done()

        run(main())

    def test_an_exception(self, run, way, errors):
        async def main():
            def act(transport, protocol):
                raise ZeroDivisionError

            transport, protocol, peer, sent = await self.begin(way, act)
            assert await protocol.until_received(30) == sent
            assert [type(context["exception"]) for context in errors] == [ZeroDivisionError]
            await close(transport, peer)

        run(main())

    def test_the_loop_stops(self, loop, way):
        async def begin():
            return await self.begin(way, lambda t, p: loop.stop())

        transport, protocol, peer, sent = loop.run_until_complete(begin())
        loop.run_forever()
        assert [data for data, _ in protocol.received] == sent[:3]
        assert loop.run_until_complete(protocol.until_received(30)) == sent
        loop.run_until_complete(close(transport, peer))

    def test_the_loop_is_left_by_an_exception(self, loop, way):
        async def begin():
            def act(transport, protocol):
                raise SystemExit

            return await self.begin(way, act)

        transport, protocol, peer, sent = loop.run_until_complete(begin())
        with pytest.raises(SystemExit):
            loop.run_forever()
        assert loop.run_until_complete(protocol.until_received(30)) == sent
        loop.run_until_complete(close(transport, peer))

    def test_the_number_is_told(self, run, way, joins):
        """From then on the socket is as any other, and nothing that had come is lost."""

        async def main():
            numbers = []
            transport, protocol, peer, sent = await self.begin(
                way, lambda t, p: numbers.append(t.get_extra_info("socket").fileno())
            )
            assert await protocol.until_received(30) == sent
            assert transport.get_extra_info("socket").getsockopt(socket.IPPROTO_UDP, UDP_GRO) == 0
            _, more = merged(transport, 10, 700, peer)
            assert (await protocol.until_received(40))[30:] == more
            await close(transport, peer)

        run(main())


def test_a_given_socket_is_left_alone(run):
    """Who holds the socket may read from it: each read leaves the rest to him."""

    async def main():
        sock = udp_socket()
        transport, protocol = await endpoint(Acts, sock=sock)
        seen = []

        def act():
            with contextlib.suppress(BlockingIOError):
                while True:
                    seen.append(sock.recv(100))

        protocol.act = act
        peer, sent = burst(transport, [1] * 30)
        await until(lambda: len(seen) == 27)
        assert [data for data, _ in protocol.received] + seen == sent
        assert sock.getsockopt(socket.IPPROTO_UDP, UDP_GRO) == 0
        await close(transport, peer)

    run(main())


def test_errors_while_receiving(run):
    async def main():
        peer = udp_socket()
        transport, protocol = await endpoint(remote_addr=peer.getsockname())
        peer.close()
        transport.sendto(b"x")
        exc = await protocol.until_failed()
        assert exc.errno == errno.ECONNREFUSED
        await close(transport)

    run(main())


def test_unix_sockets(run):
    """Their datagrams may be larger than those of the internet, and bring descriptors, which nobody asked for."""

    async def main():
        with tempfile.TemporaryDirectory() as folder:
            transport, protocol = await endpoint(local_addr=f"{folder}/s", family=socket.AF_UNIX)
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            peer.setblocking(False)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            sent = [b"x" * 100_000, b"", b"y" * 70_000, b"z"]
            for data in sent:
                peer.sendto(data, f"{folder}/s")
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", peer.fileno()))]
            peer.sendmsg([b"with"], rights, 0, f"{folder}/s")
            assert await protocol.until_received(5) == [*sent, b"with"]
            assert {addr for _, addr in protocol.received} == {None}
            peer.bind(f"{folder}/p")

            def send():
                transport.sendto(b"1", f"{folder}/p")
                transport.sendto(b"2", f"{folder}/p")

            await settled(send)
            assert arrived(peer) == [b"1", b"2"]
            await close(transport, peer)

    run(main())


def test_echo_to_many(run):
    async def main():
        class Echo(Datagrams):
            def datagram_received(self, data, addr):
                super().datagram_received(data, addr)
                self.transport.sendto(data, addr)

        transport, protocol = await endpoint(Echo)
        peers = [udp_socket() for _ in range(6)]
        for round_ in range(5):
            for peer in peers:
                for number in range(3):
                    peer.sendto(b"%d %d" % (round_, number), transport.get_extra_info("sockname"))
            await protocol.until_received(18 * (round_ + 1))
            await turns()
            for peer in peers:
                assert arrived(peer) == [b"%d %d" % (round_, number) for number in range(3)]
        await close(transport, *peers)

    run(main())


def test_dropped_with_datagrams_left(run):
    """A transport that is paused in the middle and forgotten frees what it has."""

    async def main():
        transport, protocol = await endpoint(Acts)
        protocol.act = transport.pause_reading
        peer, _ = burst(transport, [1] * 30)
        await until(lambda: not transport.is_reading())
        transport.abort()
        await protocol.lost
        await close(peer)

    run(main())
