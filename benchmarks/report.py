"""Showing a comparison: the table, the JSON file, the picture. Relies on figures.py, rich and matplotlib."""

import json
import os
import platform
import time
from dataclasses import asdict
from pathlib import Path

from figures import Comparison
from loops import FLOOR, OURS
from rich.console import Console
from rich.table import Table


def describe_machine(versions: dict[str, str]) -> dict[str, object]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "loops": versions,
    }


def headline(machine: dict[str, object], rounds: int, versions: dict[str, str]) -> str:
    names = ", ".join(f"{name} {version}" for name, version in versions.items() if name != FLOOR)
    return (
        f"{machine['date']}, Python {machine['python']}, {machine['system']}, {machine['cores']} cores, "
        f"load {machine['load_average']:.1f}, {rounds} rounds; {names}"
    )


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}" if value < 1000 else f"{value:,.0f}"


def times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


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


def write_json(path: Path, comparison: Comparison, machine: dict[str, object], rounds: int) -> None:
    report = {
        "machine": machine,
        "rounds": rounds,
        "core_mean": {loop: comparison.mean_of_core(loop) for loop in comparison.loops},
        "summary": list(comparison.summary()),
        "samples": [asdict(sample) for sample in comparison.samples],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")


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


def draw(path: Path, comparison: Comparison, head: str) -> None:
    """Bars: how many times better than asyncio each loop is, a group of bars per case."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    loops = [loop for loop in comparison.loops if loop not in ("asyncio", FLOOR)]
    rows = [row for row in comparison.rows if comparison.ratios(row.name, OURS, "asyncio")]
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.32 * len(rows)))
    height = 0.8 / max(len(loops), 1)
    for place, loop in enumerate(loops):
        lengths = [comparison.ratio(row.name, loop, "asyncio") or 0 for row in rows]
        where = [index + place * height for index in range(len(rows))]
        axes.barh(where, lengths, height, label=loop, zorder=3 if loop == OURS else 2)
    axes.axvline(1, color="black", linewidth=0.8, zorder=4)
    axes.set_yticks([index + 0.4 - height / 2 for index in range(len(rows))], [row.name for row in rows])
    axes.set_ylim(len(rows), -0.4)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}x")
    axes.set_xlabel("times better than asyncio (CPU time, or bytes); longer is better")
    axes.set_title(head.partition(";")[0], fontsize="small")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, bbox_inches="tight", dpi=110)
