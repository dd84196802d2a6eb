"""Delays and deadlines of timers: the usual, the tiny, the huge and those that are no numbers.

Covers core/timers.c and base/heap.c. Relies on the fixtures of tests/conftest.py. The order of several timers is in
test_turn_order.py.
"""

import math
import random
import time
from fractions import Fraction

import pytest
from loop_support import spin

pytestmark = pytest.mark.timeout(30)


def test_when(loop):
    before = loop.time()
    handle = loop.call_later(50, print)
    assert before + 50 <= handle.when() <= loop.time() + 50
    assert loop.call_at(12345.5, print).when() == 12345.5
    assert loop.call_at(7, print).when() == 7
    assert loop.call_at(-7.5, print).when() == -7.5
    assert not hasattr(loop.call_soon(print), "when")
    handle.cancel()
    assert handle.when() > before
    loop.close()


@pytest.mark.parametrize("delay", [-(10**6), -1, -1.5, 0, 0.0, -0.0, 1e-12, 5e-324, False, Fraction(-1, 3)])
def test_small_delays_are_due_in_the_next_turn(loop, delay):
    seen = []
    loop.call_later(delay, seen.append, "due")
    spin(loop)
    assert seen == ["due"]


@pytest.mark.parametrize("delay", [0.01, Fraction(1, 100)])
def test_no_timer_is_early(loop, delay):
    start = time.monotonic()
    loop.call_later(delay, loop.stop)
    loop.run_forever()
    assert time.monotonic() - start >= delay - 1e-6


@pytest.mark.parametrize("delay", [math.inf, 1e300, 1e18, 10**15, 10**9])
def test_far_delays_wait_and_harm_nobody(loop, delay):
    seen = []
    far = loop.call_later(delay, seen.append, "far")
    loop.call_later(0.01, seen.append, "near")
    loop.call_later(0.02, loop.stop)
    loop.run_forever()
    assert seen == ["near"]
    assert far.when() > 10**8
    far.cancel()
    spin(loop)
    assert seen == ["near"]


def test_minus_infinity_is_due(loop):
    seen = []
    loop.call_later(1, seen.append, "later").cancel()
    loop.call_at(-math.inf, seen.append, "due")
    spin(loop)
    assert seen == ["due"]


@pytest.mark.parametrize("count", [3, 40, 3000])
def test_deadlines_of_all_sizes_in_their_order(loop, count):
    chance = random.Random(count)
    deadlines = {-math.inf, -1e300, -1.5, -5e-324, 0.0, 5e-324, 1e-9}
    deadlines |= {chance.uniform(-1e6, 1) * 10.0 ** chance.randrange(-9, 1) for _ in range(count)}
    order = sorted(deadlines)
    chance.shuffle(shuffled := list(order))
    seen = []
    handles = {due: loop.call_at(due, seen.append, due) for due in shuffled}
    dropped = set(chance.sample(order, len(order) // 3))
    for due in dropped:
        handles[due].cancel()
    spin(loop)
    assert seen == [due for due in order if due not in dropped]


def test_not_a_number_does_not_spoil_the_loop(loop):
    # asyncio takes NaN and leaves open when it is due; refusing it is as good.
    try:
        loop.call_later(math.nan, int)
        loop.call_at(math.nan, int)
    except ValueError:
        pass
    spin(loop, 2)
    seen = []
    for number in (3, 1, 2):
        loop.call_at(number, seen.append, number)
    spin(loop)
    assert sorted(seen) == [1, 2, 3]


@pytest.mark.parametrize("delay", [None, "1", b"1", [], object(), 1j, print])
def test_delays_that_are_no_numbers(loop, delay):
    if delay != 1j:
        with pytest.raises(TypeError):
            loop.call_later(delay, print)
    if delay is None:
        with pytest.raises(TypeError):
            loop.call_at(delay, print)
    spin(loop)


def test_delay_beyond_all_floats(loop):
    with pytest.raises(OverflowError):
        loop.call_later(10**400, print)
    spin(loop)


def test_many_cancelled_timers(loop):
    seen = []
    handles = [loop.call_later(1000 + number, seen.append, number) for number in range(2000)]
    for handle in handles:
        handle.cancel()
    loop.call_later(-1, seen.append, "due")
    spin(loop)
    assert seen == ["due"]
    assert not any(handle._scheduled for handle in handles)
