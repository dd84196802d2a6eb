"""The samples of all rounds, and what follows from them: least values, paired ratios, the best peer.

A ratio is taken between two samples of the same round, and the median of the rounds' ratios is what is
reported: what else the machine does meets both alike. Relies on runner.py and gains.py.
"""

import statistics
from collections.abc import Callable

from gains import Spread, spread
from loops import OURS, PEERS
from runner import NotApplicable, Row, Sample, SampleFailed, take


class Comparison:
    def __init__(self, rows: list[Row], loops: list[str]) -> None:
        self.rows = rows
        self.loops = loops
        self.samples: list[Sample] = []
        self.failures: dict[tuple[str, str], str] = {}
        self._absent: set[tuple[str, str]] = set()

    def run(self, rounds: int, seconds: float, on_step: Callable[[str], None]) -> None:
        """Loops take their turns within a case, and the order moves on from round to round."""
        for round_ in range(rounds):
            start = round_ % len(self.loops)
            order = self.loops[start:] + self.loops[:start]
            for row in self.rows:
                for loop in order:
                    on_step(f"round {round_ + 1}/{rounds}  {row.name}")
                    self._take(row, loop, round_, seconds)

    def _take(self, row: Row, loop: str, round_: int, seconds: float) -> None:
        key = row.name, loop
        if key in self.failures or key in self._absent:
            return  # it would fail, or hang, once more
        try:
            self.samples.append(take(row, loop, round_, seconds))
        except NotApplicable:
            self._absent.add(key)
        except SampleFailed as failure:
            self.failures[key] = str(failure)

    def of(self, row: str, loop: str) -> list[Sample]:
        """Nothing where the loop failed in any round."""
        if (row, loop) in self.failures:
            return []
        return [s for s in self.samples if s.row == row and s.loop == loop]

    def least(self, row: str, loop: str) -> float | None:
        return min((s.value for s in self.of(row, loop)), default=None)

    def middle(self, row: str, loop: str, name: str) -> float | None:
        """The median over the rounds of a further figure, say p99."""
        values = [value for s in self.of(row, loop) if (value := getattr(s, name)) is not None]
        return statistics.median(values) if values else None

    def ratios(self, row: str, loop: str, base: str) -> list[float]:
        """How many times better than `base` the loop is, one figure a round."""
        ours = {s.round: s.value for s in self.of(row, loop)}
        theirs = {s.round: s.value for s in self.of(row, base)}
        return [theirs[r] / ours[r] for r in sorted(ours.keys() & theirs.keys()) if ours[r] > 0]

    def ratio(self, row: str, loop: str, base: str) -> float | None:
        ratios = self.ratios(row, loop, base)
        return statistics.median(ratios) if ratios else None

    def spread(self, row: str, loop: str, base: str) -> Spread | None:
        return spread(self.ratios(row, loop, base))

    def best_peer(self, row: str) -> str | None:
        """The peer that does best beside ours: the one with the least ratio of ours to it."""
        met = {peer: ratio for peer in PEERS if (ratio := self.ratio(row, OURS, peer)) is not None}
        return min(met, key=lambda peer: met[peer]) if met else None

    def mean_of_core(self, loop: str) -> float | None:
        """The geometric mean of the ratios to asyncio over the core cases, the import aside."""
        ratios = [
            ratio
            for row in self.rows
            if row.case.kind in ("core", "process") and row.case.name != "import_time"
            if (ratio := self.ratio(row.name, loop, "asyncio")) is not None
        ]
        return statistics.geometric_mean(ratios) if ratios else None
