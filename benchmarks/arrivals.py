"""Latency under load: when messages are due, what became of them, percentiles, ratios within a round.

The times at which messages are due are fixed before the first is sent, and latency counts from then: a server that
stalls is not spared what would have come meanwhile. Relies on gains.py.
"""

import math
import random
import statistics
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gains import Spread, spread

MOST_LATE = 50.0  # µs: the 99th percentile of how late the load itself was
MOST_WAITING = 0.01  # of the time: the server ready to run, and another on its processor
MOST_STOLEN = 0.01  # of a processor's time: taken by what lies below the system
PATTERNS = ("poisson", "even")


def schedule(rate: float, seconds: float, pattern: str, seed: int) -> "array[int]":
    """When each message is due, in nanoseconds from the start. One seed gives every rate the same arrivals, only
    closer together, so that no loop of a round meets a worse crowd than another."""
    count = int(rate * seconds)
    if pattern == "even":
        return array("Q", (int(i * 1e9 / rate) for i in range(count)))
    gap = random.Random(seed).expovariate
    at, due = 0.0, array("Q")
    for _ in range(count):
        at += gap(1.0)
        due.append(int(at * 1e9 / rate))
    return due


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least value that is not below `share` of them."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(frozen=True)
class Latencies:
    """Of the messages after the warm-up; microseconds."""

    count: int
    p50: float
    p90: float
    p99: float
    p999: float
    most: float
    late: float  # 99th percentile of how late the load saw that one was due


def latencies(due: Sequence[int], times: Sequence[int], warm_up: float) -> Latencies:
    """`times` holds three for each message: seen to be due, sent, answered."""
    first = sum(at < warm_up * 1e9 for at in due)
    counted = due[first:]
    if not counted:
        raise ValueError("no message after the warm-up")
    took = sorted((at - of) / 1e3 for at, of in zip(times[first * 3 + 2 :: 3], counted, strict=True))
    late = sorted((at - of) / 1e3 for at, of in zip(times[first * 3 :: 3], counted, strict=True))
    p50, p90, p99, p999 = (percentile(took, share) for share in (0.5, 0.9, 0.99, 0.999))
    return Latencies(len(counted), p50, p90, p99, p999, took[-1], percentile(late, 0.99))


@dataclass(frozen=True)
class Taken:
    """One loop's server at one share of its maximum, in one round."""

    round: int
    case: str
    loop: str
    share: float
    maximum: float  # answers for a second of its CPU time, with every connection asking again at once
    rate: float  # messages a second that were due
    busy: float  # of the time at its maximum, what the server computed in
    cpu: float  # its CPU time for a message at this rate, µs
    waiting: float
    stolen: float
    latency: Latencies

    @property
    def was_fair(self) -> bool:
        return self.waiting <= MOST_WAITING and self.stolen <= MOST_STOLEN and self.latency.late <= MOST_LATE


class Tails:
    """The rounds that count, and what follows from them."""

    def __init__(self, taken: Iterable[Taken], is_lenient: bool = False) -> None:
        self.taken: list[Taken] = []
        self.dropped: list[Taken] = []
        for each in taken:
            (self.taken if is_lenient or each.was_fair else self.dropped).append(each)

    def of(self, loop: str, case: str, share: float) -> list[Taken]:
        return [t for t in self.taken if (t.loop, t.case, t.share) == (loop, case, share)]

    def dropped_of(self, loop: str, case: str, share: float) -> int:
        return sum((t.loop, t.case, t.share) == (loop, case, share) for t in self.dropped)

    def maximum(self, loop: str, case: str) -> Spread | None:
        return spread({t.round: t.maximum for t in self.taken if (t.loop, t.case) == (loop, case)}.values())

    def percentile(self, loop: str, case: str, share: float, name: str) -> Spread | None:
        """Of the rounds' figures, say of `p99`."""
        return spread(getattr(t.latency, name) for t in self.of(loop, case, share))

    def middle(self, loop: str, case: str, share: float, name: str) -> float | None:
        values = [getattr(t, name) for t in self.of(loop, case, share)]
        return statistics.median(values) if values else None

    def ratio(self, loop: str, base: str, case: str, share: float, name: str) -> Spread | None:
        """How many times shorter the loop's is than that of `base`, in rounds with both."""
        theirs = {t.round: t for t in self.of(base, case, share)}
        return spread(
            getattr(theirs[t.round].latency, name) / getattr(t.latency, name)
            for t in self.of(loop, case, share)
            if t.round in theirs
        )
