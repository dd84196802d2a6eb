"""The arithmetic of make bench-threads (benchmarks/gains.py): which rounds count, and what follows from them."""

import bench_support
import pytest

gains = bench_support.load("gains")


def phase(*rates, waiting=0.0, stolen=0.0, cpu=1.0):
    each = (1.0,) * len(rates)
    return gains.Phase(rates, each, (cpu,) * len(rates), (0.0,) * (len(rates) - 1) + (waiting,), stolen)


def round_of(number=0, loop="ours", alone=100.0, together=(90.0, 90.0), control=(10.0, 10.0), **fault):
    return gains.Round(number, loop, "case", phase(alone), phase(*together, **fault), phase(10.0), phase(*control))


def test_gain_stands_beside_the_control_of_its_round():
    found = gains.Gains([round_of(0), round_of(1, together=(95.0, 95.0), control=(9.5, 9.5))])
    assert found.gain("ours", "case").median == pytest.approx(1.85)
    assert found.relative("ours", "case").low == pytest.approx(0.9)
    assert found.relative("ours", "case").high == pytest.approx(1.0)


@pytest.mark.parametrize("fault", [{"waiting": 0.03}, {"stolen": 0.03}])
def test_round_without_its_processors_is_dropped_and_counted(fault):
    found = gains.Gains([round_of(0), round_of(1, **fault)])
    assert [each.number for each in found.of("ours", "case")] == [0]
    assert found.dropped_of("ours", "case") == 1
    assert found.dropped_of("other", "case") == 0


def test_one_that_waits_for_a_lock_counts():
    assert round_of(cpu=0.5).was_fair
    assert round_of(cpu=0.5).together.busy == pytest.approx(0.5)


def test_ratio_is_of_rounds_that_both_have():
    theirs = [round_of(0, "base", alone=50.0), round_of(1, "base", alone=25.0, waiting=1.0)]
    found = gains.Gains([round_of(0), round_of(1), *theirs])
    assert found.ratio("case", "ours", "base", is_together=False) == gains.Spread(2.0, 2.0, 2.0, 1)
    assert found.ratio("case", "ours", "base", is_together=True) == gains.Spread(1.0, 1.0, 1.0, 1)


def test_nothing_has_no_spread():
    assert gains.Gains([]).gain("ours", "case") is None


def test_spread_of_many_is_quartiles():
    assert gains.spread([5.0, 1.0, 2.0, 4.0, 3.0]) == gains.Spread(2.0, 3.0, 4.0, 5)
    assert gains.spread([1.0, 9.0, 2.0]) == gains.Spread(1.0, 2.0, 9.0, 3)
