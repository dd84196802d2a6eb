"""A suite on both loops: what passes on asyncio and not on loopmod, again alone, and the table of counts."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from outcomes import LOOPS, Run, run_tests

# More of them than this is one fault, which no repetition sorts out.
MOST_AGAIN = 40


@dataclass
class Comparison:
    """One project's two runs, and the tests that are ours to mend."""

    name: str
    runs: dict[str, Run]
    ours: list[str]
    # Those that differed in the first run and not in the second.
    unsteady: list[str]

    @property
    def failed(self) -> bool:
        return bool(self.ours or any(run.broken for run in self.runs.values()))


def differing(runs: Mapping[str, Run]) -> list[str]:
    """Tests that pass on asyncio and are anything else on loopmod: failed, skipped or not there."""
    stock, ours = (runs[loop].outcomes for loop in LOOPS)
    return [node for node, outcome in stock.items() if outcome == "passed" and ours.get(node) != "passed"]


def compare(
    name: str, python: Path, directory: Path, arguments: Sequence[str], reports: Path, environment: Mapping[str, str]
) -> Comparison:
    """Run the suite on both loops, and what differs once more on both, one test at a time."""
    runs = {
        loop: run_tests(python, directory, arguments, loop, reports / f"{name}-{loop}.xml", environment)
        for loop in LOOPS
    }
    suspects = differing(runs)
    ours: list[str] = []
    options = settings(arguments)
    for number, node in enumerate(suspects):
        if number >= MOST_AGAIN or differs_alone(python, directory, [*options, node], reports, environment):
            ours.append(node)
    return Comparison(name, runs, ours, [node for node in suspects if node not in ours])


def settings(arguments: Sequence[str]) -> list[str]:
    """The arguments that a test asked for alone needs, too, and not those that select tests or spread a run out."""
    pairs = itertools.pairwise(arguments)
    kept = [word for name, value in pairs if name in ("-o", "-p") for word in (name, value)]
    return kept + [word for word in arguments if word.startswith("--")]


def differs_alone(
    python: Path, directory: Path, arguments: Sequence[str], reports: Path, environment: Mapping[str, str]
) -> bool:
    runs = {
        loop: run_tests(python, directory, arguments, loop, reports / f"again-{loop}.xml", environment)
        for loop in LOOPS
    }
    # A test that cannot be asked for alone is not sorted out by this.
    return not runs["asyncio"].outcomes or bool(differing(runs))


def table(comparisons: Sequence[Comparison]) -> str:
    """Counts of each project and loop."""
    lines = [f"{'project':16}{'loop':10}{'passed':>8}{'failed':>8}{'skipped':>9}{'differ':>8}{'unsteady':>10}"]
    for comparison in comparisons:
        for loop, run in comparison.runs.items():
            counts = "".join(
                f"{run.count(outcome):>{width}}" for outcome, width in (("passed", 8), ("failed", 8), ("skipped", 9))
            )
            differ = f"{len(comparison.ours):>8}{len(comparison.unsteady):>10}" if loop == "loopmod" else ""
            lines.append(f"{comparison.name:16}{loop:10}{counts}{differ}")
    return "\n".join(lines)
