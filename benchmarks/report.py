"""Showing a comparison: the table, and one for a page. Relies on figures.py, results.py and rich."""

import os
from pathlib import Path

from figures import Comparison
from loops import FLOOR, OURS
from results import number, times
from rich.console import Console
from rich.table import Table


def table(comparison: Comparison) -> Table:
    """A line per case: each loop's least value, then how many times better ours is than asyncio and the best."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("case", no_wrap=True)
    for loop in comparison.loops:
        shown.add_column(loop, justify="right", no_wrap=True)
    has_ours = OURS in comparison.loops
    if has_ours:
        for column in ("xasyncio", "xbest", "best peer", "p50/p99"):
            shown.add_column(column, justify="right", no_wrap=True)
    for row in comparison.rows:
        cells = [f"{row.name} [{row.case.unit}]".replace("[", r"\[")]
        cells += [number(comparison.least(row.name, loop)) for loop in comparison.loops]
        if has_ours:
            best = comparison.best_peer(row.name)
            p50, p99 = (comparison.middle(row.name, OURS, name) for name in ("p50", "p99"))
            cells.append(times(comparison.ratio(row.name, OURS, "asyncio")))
            cells.append(times(comparison.ratio(row.name, OURS, best)) if best else "-")
            cells += [best or "-", f"{p50:.0f}/{p99:.0f}" if p50 is not None and p99 is not None else "-"]
        shown.add_row(*cells)
    means = [times(comparison.mean_of_core(loop)) for loop in comparison.loops]
    if set(means) != {"-"}:
        shown.add_row("mean of core, x asyncio", *means)
    return shown


def show(comparison: Comparison, head: str) -> None:
    # A file or a pipe gets the whole table too, however wide.
    console = Console(width=None if os.isatty(1) else 300, highlight=False)
    console.print(head, markup=False)
    console.print("least value over the rounds; CPU time per operation where the unit is µs, latency aside;")
    console.print("x: median of the rounds' ratios, above 1 is better\n")
    console.print(table(comparison))
    for (row, loop), reason in comparison.failures.items():
        console.print(f"{loop} failed in {row}: {reason}", markup=False)


def write_markdown(path: Path, comparison: Comparison, head: str) -> None:
    """The table for a page: what an operation is, each loop's value in times asyncio's."""
    loops = [loop for loop in comparison.loops if loop not in ("asyncio", FLOOR)]
    lines = [f"| {' | '.join(['operation', 'asyncio', *loops])} |", "|---|" + "---:|" * (len(loops) + 1)]
    for row in comparison.rows:
        ratios = [times(comparison.ratio(row.name, loop, "asyncio")) for loop in loops]
        name = row.case.operation if row.name == row.case.name else f"{row.case.operation}: `{row.name}`"
        least = number(comparison.least(row.name, "asyncio"))
        lines.append(f"| {' | '.join([name, f'{least} {row.case.unit}', *ratios])} |")
    path.write_text("\n".join([*lines, "", head]) + "\n")
