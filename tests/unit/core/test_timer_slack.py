"""Timers that come thick are taken together: Loop(timer_slack=...)."""

import asyncio
import contextlib
import random
import resource
import signal
import socket
import threading
import time

import pytest

import loopmod


def sleeps():
    """How often this thread has gone to sleep."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


@pytest.fixture
def loop_of():
    with contextlib.ExitStack() as stack:
        yield lambda **arguments: stack.enter_context(contextlib.closing(loopmod.Loop(**arguments)))


def fire_many(loop, delays):
    """Set a timer for each delay; return (due, fired at) as they fired, and the number of sleeps meanwhile."""
    fired = []
    ended = loop.create_future()
    before = sleeps()
    start = loop.time() + 0.02
    for delay in delays:
        loop.call_at(start + delay, lambda due: fired.append((due, loop.time())), start + delay)
    loop.call_at(start + max(delays), ended.set_result, None)
    loop.run_until_complete(ended)
    return fired, sleeps() - before


def test_thick_timers_share_waits(loop_of):
    delays = [i * 0.00001 for i in range(20_000)]  # 0.2 s of them: without that up to 20,000 waits
    fired, count = fire_many(loop_of(), delays)
    assert len(fired) == len(delays)
    assert count < 3_000
    _, count = fire_many(loop_of(timer_slack=0.005), delays)
    assert count < 200


@pytest.mark.parametrize("slack", [None, 0, 0.001])
def test_order_and_never_early(loop_of, slack):
    chance = random.Random(4)
    delays = [chance.randrange(2_000) * 0.00001 for _ in range(4_000)]  # many are equal
    fired, _ = fire_many(loop_of(timer_slack=slack), delays)
    assert [due for due, _ in fired] == sorted(due for due, _ in fired)
    assert all(due <= at for due, at in fired)


def test_equal_deadlines_in_the_order_of_setting(loop_of):
    loop = loop_of()
    start = loop.time() + 0.01
    fired = []
    for i in range(3_000):
        loop.call_at(start + i // 10 * 0.00002, fired.append, i)
    loop.call_at(start + 0.1, loop.stop)
    loop.run_forever()
    assert fired == list(range(3_000))


def _tick(loop, period, count):
    """Set a train of timers; the returned event is set by the last."""
    ended = asyncio.Event()
    for i in range(count):
        loop.call_later(i * period, int)
    loop.call_later(count * period, ended.set)
    return ended


def test_what_else_ends_a_wait(loop_of):
    """Sockets and other threads are heard between thick timers."""
    loop = loop_of(timer_slack=0.005)

    async def main():
        ended = _tick(loop, 0.0001, 3_000)
        await asyncio.sleep(0.01)
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            echo = threading.Thread(target=lambda: [there.send(there.recv(1)) for _ in range(10)])
            echo.start()
            for _ in range(10):
                await loop.sock_sendall(here, b"x")
                assert await loop.sock_recv(here, 1) == b"x"
            echo.join()
        for _ in range(10):
            assert await asyncio.to_thread(lambda: "heard") == "heard"
        await ended.wait()

    loop.run_until_complete(main())


def test_watch_that_begins_between_them(loop_of):
    loop = loop_of(timer_slack=0.005)

    async def main():
        ended = _tick(loop, 0.0001, 1_000)
        here, there = socket.socketpair()
        with here, there:
            readable = asyncio.Event()
            there.send(b"x")
            await asyncio.sleep(0.02)
            loop.add_reader(here, readable.set)
            await readable.wait()
            loop.remove_reader(here)
        await ended.wait()

    loop.run_until_complete(main())


def test_signal_between_them(loop_of):
    loop = loop_of(timer_slack=0.005)

    async def main():
        got = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, got.set)
        ended = _tick(loop, 0.0001, 1_000)
        await asyncio.sleep(0.02)
        threading.Thread(target=signal.raise_signal, args=(signal.SIGUSR1,)).start()
        await got.wait()
        loop.remove_signal_handler(signal.SIGUSR1)
        await ended.wait()

    loop.run_until_complete(main())


def test_own_clock(loop_of):
    """A program's clock is asked as ever."""

    class Doubled(loopmod.Loop):
        def time(self):
            return time.monotonic() * 2

    with contextlib.closing(Doubled()) as loop:
        fired, _ = fire_many(loop, [i * 0.00002 for i in range(1_000)])
    assert [due for due, _ in fired] == sorted(due for due, _ in fired)
    assert all(due <= at for due, at in fired)


def test_argument(loop_of):
    assert loop_of()._timer_slack == loop_of(timer_slack=None)._timer_slack == 0.0002
    assert loop_of(timer_slack=0)._timer_slack == 0
    loop = loop_of(timer_slack=1)
    for wrong in (-0.1, 1.1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timer_slack"):
            loop_of(timer_slack=wrong)
        with pytest.raises(ValueError, match="timer_slack"):
            loop._timer_slack = wrong
    with pytest.raises(TypeError):
        loop_of(timer_slack="long")
    assert loop._timer_slack == 1
