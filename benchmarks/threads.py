"""What a second thread gains without the GIL, each with a loop of its own: python benchmarks/threads.py

For each loop and case the throughput on one thread, the gain on several, and that gain over the control's in the same
cycle: Python code that shares nothing. Loops take their turns, each in a fresh process, round by round; a process
goes through its phases several times, since a machine that others use changes its speed within a second. A cycle
counts only where every thread had a processor: where none was ready to run for long while another ran (the
scheduler's own figure), and no time was stolen from below. Medians, with the quartiles behind them. Relies on
gains.py and thread_sample.py.
"""

import argparse
import dataclasses
import fnmatch
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from gains import Gains, Phase, Round, Spread
from loops import OURS
from rich.console import Console
from rich.table import Table
from runner import last_line
from thread_cases import WORKLOADS

SAMPLE = Path(__file__).with_name("thread_sample.py")
LOOPS = ("asyncio", "uvloop", "rloop", "zuvloop", OURS)
PATIENCE = 60.0  # seconds beyond what the phases take


class Broken(Exception):
    """A loop that cannot be measured, and why."""


def phase_of(said: dict[str, Any]) -> Phase:
    return Phase(**{name: tuple(value) if isinstance(value, list) else value for name, value in said.items()})


def take(number: int, loop: str, case: str, args: argparse.Namespace) -> list[Round]:
    command = [sys.executable, str(SAMPLE), case, loop, str(args.threads), str(args.seconds), str(args.cycles)]
    env = {name: value for name, value in os.environ.items() if name != "PYTHON_GIL"}
    env["PYTHONPATH"] = str(SAMPLE.parents[1])
    patience = PATIENCE + 4 * args.seconds * args.cycles
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        raise Broken("hangs") from None
    if done.returncode < 0:
        raise Broken(f"dies by signal {-done.returncode}")
    if done.returncode > 0:
        raise Broken(last_line(done.stderr))
    said = json.loads(done.stdout)
    if said["gil"] and not args.gil:
        raise Broken("runs with the GIL")
    return [
        Round(number * args.cycles + i, loop, case, **{name: phase_of(value) for name, value in phases.items()})
        for i, phases in enumerate(said["cycles"])
    ]


def run(
    loops: list[str], cases: list[str], args: argparse.Namespace
) -> tuple[list[Round], dict[tuple[str, str], str]]:
    """All rounds, and why a loop did a case no more."""
    rounds: list[Round] = []
    broken: dict[tuple[str, str], str] = {}
    for number in range(args.rounds):
        start = number % len(loops)
        for case in cases:
            print(f"round {number + 1}/{args.rounds} {case}", file=sys.stderr, flush=True)
            for loop in loops[start:] + loops[:start]:
                if (loop, case) in broken:
                    continue
                try:
                    rounds += take(number, loop, case, args)
                except Broken as why:
                    broken[loop, case] = str(why)
    return rounds, broken


def shown(found: Spread | None, form: str) -> str:
    if found is None:
        return "-"
    return f"{found.median:{form}} ({found.low:{form}}-{found.high:{form}})"


def table_of(gains: Gains, loops: list[str], cases: list[str], threads: int) -> Table:
    rates = ["1 thread, k/s", f"{threads}, k/s"]
    heads = ["gain", "control", "relative", "x1", f"x{threads}", "fair", "dropped"]
    table = Table("case", "loop", *rates, *heads, box=None, pad_edge=False)
    for case in cases:
        for loop in loops:
            alone, together = gains.alone(loop, case), gains.together(loop, case)
            thousands = [f"{found.median / 1e3:,.1f}" if found else "-" for found in (alone, together)]
            spreads = [gains.gain(loop, case), gains.control(loop, case), gains.relative(loop, case)]
            ratios = [gains.ratio(case, OURS, loop, is_together=several) for several in (False, True)]
            table.add_row(
                case,
                loop,
                *thousands,
                *(shown(each, ".2f") for each in spreads),
                *(f"{each.median:.2f}" if each and loop != OURS else "" for each in ratios),
                str(len(gains.of(loop, case))),
                str(gains.dropped_of(loop, case)),
            )
    return table


def chosen(pattern: str, of: list[str]) -> list[str]:
    wanted = pattern.split(",") if pattern else ["*"]
    return [name for name in of if any(fnmatch.fnmatch(name, each) for each in wanted)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure loops in threads without the GIL.")
    parser.add_argument("--case", metavar="A,B", default="", help="only these cases; patterns are allowed")
    parser.add_argument("--loops", metavar="A,B", default="", help="only these loops")
    parser.add_argument("--threads", metavar="N", type=int, default=2)
    parser.add_argument("--rounds", metavar="N", type=int, default=9)
    parser.add_argument("--cycles", metavar="N", type=int, default=8, help="of the four phases, in one process")
    parser.add_argument("--seconds", metavar="S", type=float, default=0.06, help="of each phase")
    parser.add_argument("--json", metavar="FILE", help="keep every phase")
    parser.add_argument("--gil", action="store_true", help="measure what runs with the GIL too")
    args = parser.parse_args()
    cases, loops = chosen(args.case, list(WORKLOADS)), chosen(args.loops, list(LOOPS))
    rounds, broken = run(loops, cases, args)
    if args.json:
        Path(args.json).write_text(json.dumps([dataclasses.asdict(each) for each in rounds]), encoding="utf-8")
    gains = Gains(rounds)
    console = Console(width=None if sys.stdout.isatty() else 170, highlight=False)
    console.print(table_of(gains, loops, cases, args.threads))
    for (loop, case), why in broken.items():
        console.print(f"{case} on {loop}: {why}", markup=False)
    if any(loop == OURS for loop, _ in broken):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
