"""Bursts of datagrams: each is delivered once and in order, whatever the protocol does in the middle.

loopmod reads several in one wake-up and asyncio one, which one test alone may be able to tell. Covers
net/datagram.c. Relies on udp_support.py.
"""

import asyncio
import random

import pytest
from udp_support import Acts, Datagrams, close, endpoint, turns, udp_socket

COUNT = 50


async def burst(transport, count=COUNT):
    """A peer that has sent the numbers below count, all of them there before the loop looks."""
    peer = udp_socket()
    for number in range(count):
        peer.sendto(b"%d" % number, transport.get_extra_info("sockname"))
    return peer


def numbers(start, stop=COUNT):
    return [b"%d" % number for number in range(start, stop)]


def test_in_order(run):
    async def main():
        transport, protocol = await endpoint()
        peer = await burst(transport)
        assert await protocol.until_received(COUNT) == numbers(0)
        await turns()
        assert len(protocol.received) == COUNT
        await close(transport, peer)

    run(main())


def test_bursts_of_all_sizes(run):
    async def main():
        transport, protocol = await endpoint()
        rng = random.Random(7)
        peer = udp_socket()
        sent = []
        for _ in range(200):
            for _ in range(rng.choice([1, 1, 1, 2, 3, 20])):
                data = b"%d" % len(sent) * rng.randint(1, 3)
                peer.sendto(data, transport.get_extra_info("sockname"))
                sent.append(data)
            if rng.random() < 0.7:
                assert await protocol.until_received(len(sent)) == sent
        assert await protocol.until_received(len(sent)) == sent
        await close(transport, peer)

    run(main())


def test_one_wake_up_for_several(run, kind):
    if kind == "asyncio":
        pytest.skip("asyncio reads one in each turn")

    async def main():
        loop = asyncio.get_running_loop()
        count = 0
        seen = []

        class Counts(Datagrams):
            def datagram_received(self, data, addr):
                seen.append(count)
                super().datagram_received(data, addr)

        transport, protocol = await endpoint(Counts)

        def each_turn():
            nonlocal count
            count += 1
            if len(protocol.received) < 16:
                loop.call_soon(each_turn)

        peer = await burst(transport, 16)
        each_turn()
        await protocol.until_received(16)
        # How many turns pass before that is the loop's to choose: it may leave polls out for 0.1 ms.
        assert seen == [seen[0]] * 16
        await close(transport, peer)

    run(main())


@pytest.mark.parametrize("way", ["close", "abort"])
def test_closed_in_the_middle(run, way):
    async def main():
        transport, protocol = await endpoint(Acts)
        protocol.act = getattr(transport, way)
        peer = await burst(transport)
        assert await protocol.lost is None
        await turns()
        assert [data for data, _ in protocol.received] == numbers(0, 3)
        assert protocol.events == ["made", "data", "data", "data", "lost"]
        await close(peer)

    run(main())


def test_paused_in_the_middle(run):
    async def main():
        transport, protocol = await endpoint(Acts)
        protocol.act = transport.pause_reading
        peer = await burst(transport)
        await protocol.until_received(3)
        await turns(5)
        assert len(protocol.received) == 3 and not transport.is_reading()
        # What was not delivered is still in the kernel.
        assert transport.get_extra_info("socket").type and transport._sock.recv(100) == b"3"
        transport.resume_reading()
        assert await protocol.until_received(COUNT - 1) == numbers(0, 3) + numbers(4)
        await close(transport, peer)

    run(main())


def test_paused_and_resumed_in_the_middle(run):
    async def main():
        transport, protocol = await endpoint(Acts)

        def act():
            transport.pause_reading()
            transport.resume_reading()

        protocol.act = act
        peer = await burst(transport)
        assert await protocol.until_received(COUNT) == numbers(0)
        await close(transport, peer)

    run(main())


def test_protocol_switched_in_the_middle(run):
    async def main():
        transport, protocol = await endpoint(Acts)
        other = Datagrams()
        protocol.act = lambda: transport.set_protocol(other)
        peer = await burst(transport)
        assert await other.until_received(COUNT - 3) == numbers(3)
        assert [data for data, _ in protocol.received] == numbers(0, 3)
        assert transport.get_protocol() is other
        await close(transport, peer)
        assert other.events[-1] == "lost" and not protocol.lost.done()

    run(main())


def test_loop_stopped_in_the_middle(loop):
    async def prepare():
        transport, protocol = await endpoint(Acts)
        protocol.act = loop.stop
        return transport, protocol, await burst(transport)

    transport, protocol, peer = loop.run_until_complete(prepare())
    loop.run_forever()
    assert [data for data, _ in protocol.received] == numbers(0, 3)
    assert loop.run_until_complete(protocol.until_received(COUNT)) is not None
    assert [data for data, _ in protocol.received] == numbers(0)
    loop.run_until_complete(close(transport, peer))


@pytest.mark.parametrize("at", [1, 3, 16, 17])
def test_an_exception_in_the_middle(run, errors, at):
    async def main():
        transport, protocol = await endpoint(Acts)
        protocol.at = at
        protocol.act = lambda: 1 / 0
        peer = await burst(transport)
        assert await protocol.until_received(COUNT) == numbers(0)
        (context,) = errors
        assert isinstance(context["exception"], ZeroDivisionError)
        assert "_read_ready" in context["message"]
        assert not transport.is_closing()
        await close(transport, peer)

    run(main())


@pytest.mark.parametrize("kind_of_exit", [SystemExit, KeyboardInterrupt])
def test_an_exit_in_the_middle(loop, kind_of_exit):
    def leave():
        raise kind_of_exit

    async def prepare():
        transport, protocol = await endpoint(Acts)
        protocol.act = leave
        return transport, protocol, await burst(transport)

    transport, protocol, peer = loop.run_until_complete(prepare())
    with pytest.raises(kind_of_exit):
        loop.run_forever()
    assert [data for data, _ in protocol.received] == numbers(0, 3)
    loop.run_until_complete(protocol.until_received(COUNT))
    assert [data for data, _ in protocol.received] == numbers(0)
    loop.run_until_complete(close(transport, peer))


def test_sending_in_the_middle(run):
    # Each datagram but the last is answered to the same endpoint by another one.
    class PingPong(Datagrams):
        def datagram_received(self, data, addr):
            super().datagram_received(data, addr)
            if int(data) < 200:
                self.transport.sendto(b"%d" % (int(data) + 1), addr)

    async def main():
        left, one = await endpoint(PingPong)
        right, other = await endpoint(PingPong)
        left.sendto(b"1", right.get_extra_info("sockname"))
        await one.until_received(100)
        assert [data for data, _ in other.received] == [b"%d" % n for n in range(1, 201, 2)]
        assert [data for data, _ in one.received] == [b"%d" % n for n in range(2, 201, 2)]
        await close(left, right)

    run(main())


def test_other_descriptors_have_their_turn(run):
    # An endpoint that feeds itself without end does not starve another.
    class Forever(Datagrams):
        def datagram_received(self, data, addr):
            for _ in range(2):
                self.transport.sendto(data, addr)

    async def main():
        busy, _ = await endpoint(Forever)
        name = busy.get_extra_info("sockname")
        calm, protocol = await endpoint()
        peer = udp_socket()
        busy.sendto(b"x", name)
        for number in range(20):
            peer.sendto(b"%d" % number, calm.get_extra_info("sockname"))
            assert len(await protocol.until_received(number + 1)) == number + 1
            await asyncio.sleep(0)
        await close(busy, calm, peer)

    run(main())
