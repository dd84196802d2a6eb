"""What several threads gain over one, from the phases of all rounds: which were fair, medians, quartiles.

A cycle of one loop and case is four phases in one process: the case and a control, each on one thread and on
several. It counts only where every thread had a processor all the time. Relies on the standard library alone.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

MOST_WAITING = 0.02  # of a phase: ready to run, and another ran
MOST_STOLEN = 0.02  # of a processor's time: taken by what lies below the system


@dataclass(frozen=True)
class Phase:
    """One stretch in which some threads did the same; times in seconds."""

    rates: tuple[float, ...]  # operations a second, of each thread
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    waiting: tuple[float, ...]  # ready to run, but not on a processor
    stolen: float = 0.0  # from all processors together

    @property
    def rate(self) -> float:
        return sum(self.rates)

    @property
    def busy(self) -> float:
        """Of the time that the threads had, what they computed in."""
        return sum(self.cpu) / sum(self.wall)

    @property
    def was_fair(self) -> bool:
        """Whether each thread that wanted to run did. One that waits for a lock does not want to: that counts."""
        kept_waiting = max(wait / wall for wait, wall in zip(self.waiting, self.wall, strict=True))
        return kept_waiting <= MOST_WAITING and self.stolen / max(self.wall) <= MOST_STOLEN


@dataclass(frozen=True)
class Round:
    number: int
    loop: str
    case: str
    alone: Phase
    together: Phase
    control_alone: Phase
    control_together: Phase

    @property
    def was_fair(self) -> bool:
        return all(phase.was_fair for phase in (self.alone, self.together, self.control_alone, self.control_together))

    @property
    def gain(self) -> float:
        return self.together.rate / self.alone.rate

    @property
    def control(self) -> float:
        return self.control_together.rate / self.control_alone.rate


@dataclass(frozen=True)
class Spread:
    low: float
    median: float
    high: float
    count: int


def spread(values: Iterable[float]) -> Spread | None:
    """Median and quartiles, or None of nothing; of fewer than four the least and the most."""
    found = sorted(values)
    if not found:
        return None
    if len(found) < 4:
        return Spread(found[0], statistics.median(found), found[-1], len(found))
    low, median, high = statistics.quantiles(found, n=4, method="inclusive")
    return Spread(low, median, high, len(found))


class Gains:
    """The fair rounds, and what follows from them; the others are only counted."""

    def __init__(self, rounds: Iterable[Round]) -> None:
        self.rounds: list[Round] = []
        self.dropped: list[Round] = []
        for each in rounds:
            (self.rounds if each.was_fair else self.dropped).append(each)

    def of(self, loop: str, case: str) -> list[Round]:
        return [each for each in self.rounds if (each.loop, each.case) == (loop, case)]

    def dropped_of(self, loop: str, case: str) -> int:
        return sum((each.loop, each.case) == (loop, case) for each in self.dropped)

    def alone(self, loop: str, case: str) -> Spread | None:
        return spread(each.alone.rate for each in self.of(loop, case))

    def together(self, loop: str, case: str) -> Spread | None:
        return spread(each.together.rate for each in self.of(loop, case))

    def gain(self, loop: str, case: str) -> Spread | None:
        return spread(each.gain for each in self.of(loop, case))

    def control(self, loop: str, case: str) -> Spread | None:
        return spread(each.control for each in self.of(loop, case))

    def relative(self, loop: str, case: str) -> Spread | None:
        """The gain over that of the control in the same round."""
        return spread(each.gain / each.control for each in self.of(loop, case))

    def ratio(self, case: str, loop: str, base: str, *, is_together: bool) -> Spread | None:
        """How many times the throughput of `base`, in rounds with a fair one of both."""
        theirs = {each.number: each for each in self.of(base, case)}
        ratios = []
        for ours in self.of(loop, case):
            if (other := theirs.get(ours.number)) is not None:
                mine, its = (r.together if is_together else r.alone for r in (ours, other))
                ratios.append(mine.rate / its.rate)
        return spread(ratios)
