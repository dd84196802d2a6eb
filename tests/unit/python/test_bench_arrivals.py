"""The arithmetic of make bench-latency (benchmarks/arrivals.py): the schedule, percentiles, which rounds count."""

import dataclasses
import itertools

import bench_support
import pytest

arrivals = bench_support.load("arrivals")


@pytest.mark.parametrize("pattern", arrivals.PATTERNS)
def test_schedule_has_the_rate_and_is_in_order(pattern):
    due = list(arrivals.schedule(10_000, 2.0, pattern, seed=1))
    assert len(due) == 20_000
    assert due == sorted(due)
    assert due[-1] == pytest.approx(2e9, rel=0.03)


def test_even_schedule_has_equal_gaps():
    assert list(arrivals.schedule(4, 1.0, "even", seed=1)) == [0, 250_000_000, 500_000_000, 750_000_000]


def test_poisson_gaps_are_as_varied_as_they_are_long():
    due = arrivals.schedule(1_000, 20.0, "poisson", seed=1)
    gaps = [after - before for before, after in itertools.pairwise(due)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1e6, rel=0.03)
    assert deviation == pytest.approx(mean, rel=0.05)


def test_one_seed_gives_every_rate_the_same_pattern():
    slow, fast = (arrivals.schedule(rate, 1.0, "poisson", seed=7) for rate in (100, 200))
    assert list(fast[: len(slow)]) == pytest.approx([at / 2 for at in slow], abs=1)
    assert list(slow) != list(arrivals.schedule(100, 1.0, "poisson", seed=8))


@pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.501, 51), (0.99, 99), (0.999, 100), (1.0, 100), (0.0, 1)])
def test_percentile_is_by_nearest_rank(share, value):
    assert arrivals.percentile(range(1, 101), share) == value


def test_latency_counts_from_when_a_message_was_due():
    # The server stalls: the second and third wait for a connection, and that is a part of their latency.
    due = [0, 1_000_000, 2_000_000, 3_000_000]
    times = [0, 0, 5_000_000, 1_000_000, 5_000_000, 5_100_000, 2_010_000, 5_100_000, 5_200_000]
    times += [3_000_000, 5_200_000, 5_300_000]
    found = arrivals.latencies(due, times, warm_up=0.001)
    assert found.count == 3  # the first was due in the warm-up
    assert (found.p50, found.most) == (3_200.0, 4_100.0)
    assert found.late == 10.0


def test_nothing_after_the_warm_up_is_an_error():
    with pytest.raises(ValueError):
        arrivals.latencies([0], [0, 0, 1], warm_up=1.0)


LATENCIES = arrivals.Latencies(1000, 100.0, 150.0, 200.0, 300.0, 400.0, 5.0)


def taken(round_=0, loop="ours", p99=200.0, late=5.0, **fields):
    latency = dataclasses.replace(LATENCIES, p99=p99, late=late)
    values = {"maximum": 1e4, "rate": 5e3, "busy": 1.0, "cpu": 100.0, "waiting": 0.0, "stolen": 0.0} | fields
    return arrivals.Taken(round_, "echo", loop, 0.5, latency=latency, **values)


@pytest.mark.parametrize("fault", [{"waiting": 0.02}, {"stolen": 0.02}, {"late": 60.0}])
def test_round_that_was_disturbed_is_dropped_and_counted(fault):
    found = arrivals.Tails([taken(0), taken(1, **fault)])
    assert [each.round for each in found.of("ours", "echo", 0.5)] == [0]
    assert found.dropped_of("ours", "echo", 0.5) == 1
    lenient = arrivals.Tails([taken(0), taken(1, **fault)], is_lenient=True)
    assert [each.round for each in lenient.of("ours", "echo", 0.5)] == [0, 1]


def test_ratio_is_of_rounds_that_both_have():
    theirs = [taken(0, "base", p99=400.0), taken(1, "base", p99=100.0, waiting=1.0), taken(2, "base", p99=600.0)]
    found = arrivals.Tails([taken(0), taken(1), taken(2), *theirs])
    ratio = found.ratio("ours", "base", "echo", 0.5, "p99")
    assert (ratio.low, ratio.median, ratio.high, ratio.count) == (2.0, 2.5, 3.0, 2)
    assert found.ratio("ours", "other", "echo", 0.5, "p99") is None


def test_maximum_is_one_a_round():
    found = arrivals.Tails([taken(0), dataclasses.replace(taken(0), share=0.8), taken(1, maximum=2e4)])
    assert found.maximum("ours", "echo").median == 1.5e4
    assert found.maximum("ours", "echo").count == 2
