"""Flow control of a TCP transport: write buffer limits, pause_writing and resume_writing.

Covers net/flow.c. Relies on tcp_support for connected pairs and on BIG being more than the kernel takes.
"""

import asyncio
import socket
import sys

import pytest
from tcp_support import BIG, Recorder, connected, only_loopmod, pattern, recv_all, recv_exactly

pytestmark = pytest.mark.timeout(60)


def test_default_and_set_limits(run):
    async def main():
        async with connected() as (transport, protocol, far):
            assert transport.get_write_buffer_limits() == (16384, 65536)
            for arguments, limits in (
                ({"high": 1000}, (250, 1000)),
                ({"low": 10}, (10, 40)),
                ({"high": 100, "low": 100}, (100, 100)),
                ({"high": 0}, (0, 0)),
                ({"low": 0}, (0, 0)),
                ({}, (16384, 65536)),
            ):
                transport.set_write_buffer_limits(**arguments)
                assert transport.get_write_buffer_limits() == limits
            transport.set_write_buffer_limits(9, 3)
            assert transport.get_write_buffer_limits() == (3, 9)
            for high, low in ((1, 2), (5, -1), (-3, -3)):
                with pytest.raises(ValueError) as caught:
                    transport.set_write_buffer_limits(high=high, low=low)
                assert str(caught.value) == f"high ({high}) must be >= low ({low}) must be >= 0"
            assert transport.get_write_buffer_limits() == (3, 9)

    run(main())


def test_pause_writing_is_called_inside_write(run, errors):
    class Sizes(Recorder):
        def pause_writing(self):
            super().pause_writing()
            self.paused_at = self.transport.get_write_buffer_size()

        def resume_writing(self):
            super().resume_writing()
            self.resumed_at = self.transport.get_write_buffer_size()

    async def main():
        async with connected(Sizes) as (transport, protocol, far):
            transport.write(b"small")
            assert protocol.events == ["made"]
            transport.write(pattern(BIG))
            assert protocol.events == ["made", "pause"]
            assert protocol.paused_at == transport.get_write_buffer_size() > 65536
            transport.write(b"no second call")
            assert protocol.events == ["made", "pause"]
            reader = asyncio.ensure_future(recv_exactly(far, BIG))
            await protocol.until(lambda: "resume" in protocol.events)
            assert protocol.resumed_at <= 16384
            await reader
            assert protocol.events == ["made", "pause", "resume"]

    run(main())
    assert errors == []


def test_changed_limits_pause_at_once_and_resume_later(run):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.set_write_buffer_limits(high=2 * BIG)
            transport.write(pattern(BIG))
            size = transport.get_write_buffer_size()
            assert 0 < size < BIG and protocol.events == ["made"]
            transport.set_write_buffer_limits(high=size)
            assert protocol.events == ["made"]
            transport.set_write_buffer_limits(high=size - 1)
            assert protocol.events == ["made", "pause"]
            # raising the limit does not resume by itself: the next drain does
            transport.set_write_buffer_limits(high=2 * BIG, low=BIG)
            assert protocol.events == ["made", "pause"]
            await recv_exactly(far, BIG)
            assert protocol.events == ["made", "pause", "resume"]

    run(main())


def test_zero_limits(run):
    async def main():
        async with connected() as (transport, protocol, far):
            transport.set_write_buffer_limits(0)
            transport.write(pattern(BIG))
            assert protocol.events == ["made", "pause"]
            received = await recv_exactly(far, BIG)
            assert received == pattern(BIG)
            await protocol.until(lambda: "resume" in protocol.events)
            assert transport.get_write_buffer_size() == 0

    run(main())


def test_writing_from_resume_writing(run):
    class Again(Recorder):
        rounds = 4

        def resume_writing(self):
            super().resume_writing()
            # A peer that reads fast takes it all at once: then nobody would resume us.
            while self.events[-1] == "resume":
                self.rounds -= 1
                if not self.rounds:
                    return self.transport.close()
                self.transport.write(pattern(BIG))

    async def main():
        async with connected(Again) as (transport, protocol, far):
            transport.write(pattern(BIG))
            assert await recv_all(far) == pattern(BIG) * 4
            assert await protocol.lost is None
            pairs = protocol.events[1:-1]
            assert pairs and pairs == ["pause", "resume"] * (len(pairs) // 2)
            assert (protocol.events[0], protocol.events[-1]) == ("made", "lost")

    run(main())


def test_writelines_pauses_too(run, kind):
    if (3, 12) <= sys.version_info < (3, 13, 1):
        only_loopmod(kind, "asyncio 3.12.0-3.13.0 forgets flow control in writelines()")

    async def main():
        async with connected() as (transport, protocol, far):
            transport.writelines([pattern(BIG // 2), pattern(BIG // 2)])
            assert protocol.events == ["made", "pause"]
            await recv_exactly(far, BIG)
            await protocol.until(lambda: "resume" in protocol.events)

    run(main())


def test_a_protocol_that_is_replaced_while_it_is_told_to_pause(run):
    """Its function holds it not, and fails: nobody else does when that is reported."""
    seen = []

    class Replaced(asyncio.Protocol):
        def connection_made(self, transport):
            made.append(transport)

        @staticmethod
        def pause_writing():
            made[0].set_protocol(asyncio.Protocol())
            raise LookupError

        def __del__(self):
            seen.append("gone")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: seen.append(repr(context["exception"])))
        near, far = socket.socketpair()
        with far:
            await loop.create_connection(Replaced, sock=near)
            while not made[0].get_write_buffer_size():
                made[0].write(b"x" * 1_000_000)
            made.pop().abort()
            await asyncio.sleep(0)

    made = []
    run(main())
    assert sorted(seen) == ["LookupError()", "gone"]
