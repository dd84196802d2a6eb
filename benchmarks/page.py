"""The figures of README.md and docs/performance.md, made anew from what is kept: python benchmarks/page.py

A page has blocks, from `<!-- figures: NAME -->` to `<!-- /figures -->`; what stands between is written here, from the
files in results/. Nothing is measured. A block whose samples are not there stays as it is and is named. Relies on
results.py, and on plots.py for the pictures.
"""

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import plots
import results
from arrivals import Tails
from cases import Case
from figures import Comparison
from loops import FLOOR, JOINED, OURS, PATCHED
from results import Json, number, times
from runner import ROOT

PAGES = ("README.md", "docs/performance.md")
IMAGES = ROOT / "docs" / "images"
BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- /figures -->)", re.DOTALL)
NOT_AHEAD = 0.98  # of the best loop's: what is below is named

CORE = (
    *("call_soon", "call_soon_threadsafe_other", "call_later_cancel", "timers_fired", "timers_spread", "sleep_0"),
    *(
        "future_pingpong",
        "create_task_await",
        "gather_100",
        "task_group",
        "cancel",
        "wait_for",
        "shield",
        "start_stop",
    ),
)
OUTSIDE = (
    *("call_soon_threadsafe_wakes", "run_in_executor", "getaddrinfo_numeric", "getaddrinfo_localhost"),
    *("subprocess_spawn", "subprocess_output", "subprocess_pipe", "signals"),
)
NET = (
    *("echo_protocol", "echo_protocol_100k", "echo_streams", "echo_sockets", "echo_unix", "echo_udp", "echo_tls"),
    *("accept", "fan_out", "bulk_receive", "bulk_send", "sendfile", "http_aiohttp", "http_uvicorn"),
)
BIG = tuple(
    f"{name} (big malloc)" for name in ("echo_protocol", "echo_protocol_100k", "echo_streams", "bulk_receive")
)
TLS = tuple(f"{name}{big}" for name in ("echo_tls", "echo_tls_100k") for big in ("", " (big malloc)"))
MEMORY = (
    *("echo_protocol_memory", "echo_streams_memory", "echo_tls_memory"),
    *("memory_task", "memory_timer", "memory_future"),
)
README_CORE = {
    "call_soon": "a callback that schedules itself again",
    "call_later_cancel": "a timer set and cancelled",
    "sleep_0": "`await asyncio.sleep(0)`",
    "create_task_await": "a task created and awaited",
    "gather_100": "a gather of 100 coroutines",
}
README_SERVERS = {
    "echo_protocol": "1 KiB echoed by a Protocol",
    "echo_streams": "the same by streams",
    "http_aiohttp": "aiohttp, hello world",
    "http_uvicorn": "uvicorn, hello world",
}


class Lacking(Exception):
    """No samples for a block."""


@dataclass(frozen=True)
class Run:
    """What one file of results holds; `comparison` or `tails`, by its kind."""

    version: str  # of Python
    head: str
    comparison: Comparison
    tails: Tails
    loops: tuple[str, ...]

    def case(self, row: str) -> Case:
        return next(each for each in self.comparison.rows if each.name == row).case

    def operation(self, row: str) -> str:
        """With its name where that says more: the size of a message, or the setting of malloc."""
        case = self.case(row)
        return f"{case.operation}: `{row}`" if case.load.suffix or row != case.name else case.operation


def run_of(kept: Json) -> Run:
    version = ".".join(kept["machine"]["python"].split(".")[:2])
    is_cpu = kept["kind"] == "cpu"
    loops = tuple(kept["machine"]["loops"])
    return Run(
        version,
        results.headline(kept["machine"], kept["rounds"]),
        results.comparison_of(kept) if is_cpu else Comparison([], []),
        Tails([] if is_cpu else results.taken_of(kept)),
        loops,
    )


class Runs:
    """All that is kept, by kind and in the order of the versions."""

    def __init__(self, kept: Iterable[Json]) -> None:
        runs = sorted(((each["kind"], run_of(each)) for each in kept), key=lambda pair: _order(pair[1].version))
        self.cpu = [run for kind, run in runs if kind == "cpu"]
        self.latency = [run for kind, run in runs if kind == "latency"]


def _order(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def is_plain(loop: str) -> bool:
    return loop not in ("asyncio", FLOOR, JOINED) and not loop.endswith(PATCHED)


def is_of_servers(loop: str) -> bool:
    return loop not in ("asyncio", FLOOR) and not loop.endswith(PATCHED)


# --- pieces -------------------------------------------------------------------------------------------------------


def grid(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table; the first column is text, the others are numbers."""
    found = [f"| {' | '.join(line)} |" for line in lines]
    if not found:
        raise Lacking
    return "\n".join([f"| {' | '.join(head)} |", "|---|" + "---:|" * (len(head) - 1), *found])


def times_asyncio(run: Run, rows: Sequence[str], wanted: Callable[[str], bool]) -> str:
    """What asyncio needs, and how many times better each loop is."""
    of = run.comparison
    there = [row for row in rows if of.least(row, "asyncio") is not None]
    loops = [loop for loop in run.loops if wanted(loop) and any(of.ratio(row, loop, "asyncio") for row in there)]
    unit = {row.name: row.case.unit for row in of.rows}
    lines = [
        [
            run.operation(row),
            f"{number(of.least(row, 'asyncio'))} {unit[row]}",
            *(times(of.ratio(row, loop, "asyncio")) for loop in loops),
        ]
        for row in there
    ]
    return grid(["operation", "asyncio", *loops], lines)


def of_versions(runs: Sequence[Run], make: Callable[[Run], str]) -> str:
    """A piece for each version that has samples for it."""
    pieces = []
    for run in runs:
        try:
            pieces.append(f"On CPython {run.version}:\n\n{make(run)}")
        except Lacking:
            continue
    if not pieces:
        raise Lacking
    return "\n\n".join(pieces)


def values(runs: Sequence[Run], rows: Sequence[str], show: Callable[[Run, str, str], str]) -> str:
    """A column for each loop and version, a line for each row."""
    columns = [(run, loop) for run in runs for loop in run.loops if loop == "asyncio" or is_plain(loop)]
    cells = {row: [show(run, row, loop) for run, loop in columns] for row in rows}
    used = [i for i in range(len(columns)) if any(cells[row][i] != "-" for row in rows)]
    heads = [f"{columns[i][1]} {columns[i][0].version}" for i in used]
    named = {
        row: run.operation(row) for run in runs for row in rows if any(r.name == row for r in run.comparison.rows)
    }
    return grid(["", *heads], [[named[row], *(cells[row][i] for i in used)] for row in rows if row in named])


def picture(page: Path, name: str, says: str, run: Run, draw: Callable[[Path], None]) -> str:
    """Draws it, and returns it with what it shows and where that was measured."""
    path = IMAGES / f"{name}-{run.version}.svg"
    draw(path)
    return f"![{says}]({path.relative_to(page.parent).as_posix()})\n\n*{says}. Measured on {run.head}.*"


def ratios_picture(
    page: Path, name: str, says: str, run: Run, rows: Sequence[str], wanted: Callable[[str], bool]
) -> str:
    loops = [loop for loop in run.loops if wanted(loop)]
    if not any(run.comparison.ratios(row, OURS, "asyncio") for row in rows):
        raise Lacking
    return picture(
        page, name, says, run, lambda path: plots.ratios(path, run.comparison, run.head, rows=rows, loops=loops)
    )


# --- blocks -------------------------------------------------------------------------------------------------------


def measured(runs: Runs, page: Path) -> str:
    heads = dict.fromkeys(run.head for run in [*runs.cpu, *runs.latency])
    if not heads:
        raise Lacking
    return "Measured on:\n\n" + "\n".join(f"- {head}" for head in heads)


def table_and_picture(
    runs: Runs, page: Path, name: str, says: str, rows: Sequence[str], wanted: Callable[[str], bool]
) -> str:
    def make(run: Run) -> str:
        return f"{times_asyncio(run, rows, wanted)}\n\n{ratios_picture(page, name, says, run, rows, wanted)}"

    return of_versions(runs.cpu, make)


def core(runs: Runs, page: Path) -> str:
    says = "Times better than asyncio: callbacks, timers and tasks"
    return table_and_picture(runs, page, "core", says, CORE, is_plain)


def outside(runs: Runs, page: Path) -> str:
    head = "## Threads, names and processes\n\nCPU time of all threads, and of children that ended.\n\n"
    return head + of_versions(runs.cpu, lambda run: times_asyncio(run, OUTSIDE, is_plain))


def net(runs: Runs, page: Path) -> str:
    return table_and_picture(runs, page, "network", "Times better than asyncio: connections", NET, is_of_servers)


def big_malloc(runs: Runs, page: Path) -> str:
    head = "With `MALLOC_MMAP_THRESHOLD_=4194304` and `MALLOC_TRIM_THRESHOLD_=8388608`:\n\n"
    return head + of_versions(runs.cpu, lambda run: times_asyncio(run, BIG, is_of_servers))


def tls(runs: Runs, page: Path) -> str:
    return of_versions(
        runs.cpu, lambda run: times_asyncio(run, TLS, lambda loop: is_of_servers(loop) or loop.endswith(PATCHED))
    )


def memory(runs: Runs, page: Path) -> str:
    return values(runs.cpu, MEMORY, lambda run, row, loop: number(run.comparison.least(row, loop)))


def late(runs: Runs, page: Path) -> str:
    def show(run: Run, row: str, loop: str) -> str:
        if "early" in run.comparison.failures.get((row, loop), ""):
            return "early"
        found = [run.comparison.middle(row, loop, name) for name in ("p50", "p99", "most")]
        return "-" if found[0] is None else " / ".join(f"{value:,.0f}" for value in found if value is not None)

    rows = dict.fromkeys(row.name for run in runs.cpu for row in run.comparison.rows if row.case.kind == "latency")
    return values(runs.cpu, list(rows), show)


def latency(runs: Runs, page: Path) -> str:
    says = "Latency at 50 and 80 % of each loop's own maximum"

    def make(run: Run) -> str:
        loops = [
            loop for loop in run.loops if not loop.endswith(PATCHED) and any(t.loop == loop for t in run.tails.taken)
        ]
        keys = sorted({(t.case, t.share) for t in run.tails.taken})

        def cell(loop: str, case: str, share: float) -> str:
            found = [run.tails.percentile(loop, case, share, name) for name in ("p50", "p99", "p999")]
            return " / ".join(f"{each.median:,.0f}" for each in found if each) or "-"

        lines = [
            [f"`{case}` at {share:.0%}" if share <= 1 else f"`{case}`, {share:,.0f} a second"]
            + [cell(loop, case, share) for loop in loops]
            for case, share in keys
        ]
        table = grid(["p50 / p99 / p99.9, µs", *loops], lines)
        drawn = picture(page, "latency", says, run, lambda path: plots.latency(path, run.tails, run.head, loops))
        return f"{table}\n\n{drawn}"

    head = (
        "## Latency under load\n\n"
        "Messages come at times that were fixed beforehand (Poisson), and latency counts from when one was due,\n"
        "so that a stall is paid for by all that would have come meanwhile. Each loop is at its own rate: a faster\n"
        "one answers more.\n\n"
    )
    return head + of_versions(runs.latency, make)


def behind(runs: Runs, page: Path) -> str:
    """Each case in which some loop is ahead of ours."""

    def make(run: Run) -> str:
        found = []
        for row in run.comparison.rows:
            peers = [loop for loop in run.loops if loop not in (OURS, JOINED, FLOOR)]
            spreads = {peer: spread for peer in peers if (spread := run.comparison.spread(row.name, OURS, peer))}
            if spreads:
                best = min(spreads, key=lambda peer: spreads[peer].median)
                found.append((spreads[best], best, row.name))
        lines = [
            [f"`{name}`: {run.case(name).operation}", best, f"{of.median:.2f} ({of.low:.2f} to {of.high:.2f})"]
            for of, best, name in sorted(found, key=lambda each: each[0].median)
            if of.median < NOT_AHEAD
        ]
        if found and not lines:
            return "Nowhere."
        return grid(["operation", "ahead", "its figure by loopmod's, median (quartiles)"], lines)

    return of_versions(runs.cpu, make)


def readme_core(runs: Runs, page: Path) -> str:
    columns = [(run, loop) for run in runs.cpu for loop in run.loops if is_plain(loop)]
    lines = [
        [says, *(times(run.comparison.ratio(row, loop, "asyncio")) for run, loop in columns)]
        for row, says in README_CORE.items()
    ]
    return grid(["operation", *(f"{loop} {run.version}" for run, loop in columns)], lines if columns else [])


def readme_servers(runs: Runs, page: Path) -> str:
    if not runs.cpu:
        raise Lacking
    run = runs.cpu[0]
    ratio = run.comparison.ratio
    servers = filter(is_of_servers, run.loops)
    loops = [loop for loop in servers if any(ratio(row, loop, "asyncio") for row in README_SERVERS)]
    heads = ["on `loopmod.new_server_loop`" if loop == JOINED else loop for loop in loops]
    lines = [[says, *(times(ratio(row, loop, "asyncio")) for loop in loops)] for row, says in README_SERVERS.items()]
    return grid([f"on {run.version}", *heads], lines)


def readme_picture(runs: Runs, page: Path) -> str:
    if not runs.cpu:
        raise Lacking
    says = "Times better than asyncio: callbacks, timers and tasks"
    return ratios_picture(page, "core", says, runs.cpu[0], CORE, is_plain)


BLOCKS: dict[str, Callable[[Runs, Path], str]] = {
    "measured": measured,
    "core": core,
    "outside": outside,
    "net": net,
    "big-malloc": big_malloc,
    "tls": tls,
    "memory": memory,
    "late": late,
    "latency": latency,
    "behind": behind,
    "readme-core": readme_core,
    "readme-servers": readme_servers,
    "readme-picture": readme_picture,
}


def filled(text: str, runs: Runs, page: Path) -> tuple[str, list[str]]:
    """The page's text with its blocks made anew, and the names of those that stay."""
    lacking = []

    def fill(block: "re.Match[str]") -> str:
        try:
            return f"{block[1]}{BLOCKS[block[2]](runs, page)}\n{block[3]}"
        except Lacking:
            lacking.append(block[2])
            return block[0]

    return BLOCK.sub(fill, text), lacking


def make_anew() -> None:
    runs = Runs(results.read(path) for path in sorted(results.KEPT.glob("*.json")))
    for name in PAGES:
        page = ROOT / name
        text, lacking = filled(page.read_text(encoding="utf-8"), runs, page)
        page.write_text(text, encoding="utf-8")
        said = f"; stays as it was for want of samples: {', '.join(lacking)}" if lacking else ""
        print(f"{name}: made anew{said}", file=sys.stderr)


if __name__ == "__main__":
    make_anew()
