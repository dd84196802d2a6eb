"""Latency at a share of each loop's own maximum: python benchmarks/open_loop.py [--share 0.5,0.8] [--rounds N]

Each sample is a server in a process of its own. First every connection asks again as soon as it was answered: that
finds the maximum, in answers for a second of its CPU time. Then messages come at times that were fixed beforehand, at
50 and at 80 % of it, and latency counts from when a message was due. Loops take their turns, round by round; p50, p99
and p99.9 are medians of the rounds. A round counts only where the server had its processor and the load was on time.
Relies on arrivals.py for the arithmetic, on runner.py, and on clients/open.c for the load.
"""

import argparse
import sys
import tempfile
from array import array
from dataclasses import replace
from pathlib import Path

import page
import results
from arrivals import PATTERNS, Latencies, Tails, Taken, latencies, schedule
from cases import Case
from compare import cases_of, loops_of
from gains import Spread
from loops import LOOPS, OURS, PATCHED
from rich.console import Console
from rich.table import Table
from runner import NotApplicable, Row, SampleFailed, Server, cores, drive, make_certificate, prepare, serving

DEFAULT_CASES = "echo_protocol,http_aiohttp,http_uvicorn"
WARM_UP = 0.25  # of the seconds
PERCENTILES = {"p50": "p50", "p99": "p99", "p999": "p99.9"}


def at_rate(case: Case, server: Server, rate: float, round_: int, args: argparse.Namespace) -> Latencies:
    warm_up = args.seconds * WARM_UP
    due = schedule(rate, warm_up + args.seconds, args.arrivals, round_)
    with tempfile.TemporaryDirectory() as folder:
        due_path, times_path = Path(folder, "due"), Path(folder, "times")
        due_path.write_bytes(due.tobytes())
        files = ("-i", str(due_path), "-o", str(times_path))
        opened = replace(case, load=replace(case.load, mode="open", connections=args.connections))
        server.report_of(drive(opened, server.hello, server.pid, args.seconds, more=files))
        times = array("Q")
        times.frombytes(times_path.read_bytes())
    return latencies(due, times, warm_up)


def take(case: Case, loop: str, round_: int, args: argparse.Namespace) -> list[Taken]:
    """One server's samples: at its maximum, then at each share of it."""
    if case.uses_tls:
        make_certificate()
    taken = []
    with serving(Row(case, args.malloc), loop, args.seconds) as server:
        full = replace(case, load=replace(case.load, connections=args.connections))
        most = server.report_of(drive(full, server.hello, server.pid, args.seconds))
        maximum = most["operations"] / most["cpu"]
        rates = [(rate / maximum, rate) for rate in args.rate] or [(s, s * maximum) for s in args.share]
        for share, rate in rates:
            before = server.usage()
            latency = at_rate(case, server, rate, round_, args)
            spent = server.usage() - before
            taken.append(
                Taken(
                    round_,
                    case.name,
                    loop,
                    rate if args.rate else share,
                    maximum,
                    rate,
                    most["cpu"] / most["wall"],
                    spent.cpu / (rate * args.seconds * (1 + WARM_UP)) * 1e6,
                    spent.waiting / spent.wall,
                    spent.stolen / spent.wall,
                    latency,
                )
            )
    return taken


def run(
    cases: list[Case], loops: list[str], args: argparse.Namespace
) -> tuple[list[Taken], dict[tuple[str, str], str]]:
    """All samples, and why a loop did a case no more."""
    taken: list[Taken] = []
    failures: dict[tuple[str, str], str] = {}
    absent: set[tuple[str, str]] = set()
    for round_ in range(args.rounds):
        start = round_ % len(loops)
        for case in cases:
            print(f"round {round_ + 1}/{args.rounds} {case.name}", file=sys.stderr, flush=True)
            for loop in loops[start:] + loops[:start]:
                if (loop, case.name) in failures or (loop, case.name) in absent:
                    continue
                try:
                    taken += take(case, loop, round_, args)
                except NotApplicable:
                    absent.add((loop, case.name))
                except SampleFailed as failure:
                    failures[loop, case.name] = str(failure)
    return taken, failures


def shown(found: Spread | None, form: str, scale: float = 1.0) -> str:
    return f"{found.median * scale:{form}}" if found else "-"


def table_of(tails: Tails, cases: list[Case], loops: list[str], shares: list[float]) -> Table:
    heads = [*PERCENTILES.values(), "xp50", "xp99", "xp99.9", "busy", "CPU", "late", "fair", "dropped"]
    table = Table("case", "load", "loop", "max/s", *heads, box=None, pad_edge=False)
    for case in cases:
        for share in shares:
            for loop in loops:
                of = (loop, case.name, share)
                middles = [tails.middle(*of, name) for name in ("busy", "cpu")]
                table.add_row(
                    case.name,
                    f"{share:.0%}" if share <= 1 else f"{share:,.0f}/s",
                    loop,
                    shown(tails.maximum(loop, case.name), ",.0f"),
                    *(shown(tails.percentile(*of, name), ",.0f") for name in PERCENTILES),
                    *(
                        shown(tails.ratio(OURS, loop, case.name, share, name), ".2f") if loop != OURS else ""
                        for name in PERCENTILES
                    ),
                    *("-" if value is None else f"{value:.3g}" for value in middles),
                    shown(tails.percentile(*of, "late"), ".1f"),
                    str(len(tails.of(*of))),
                    str(tails.dropped_of(*of)),
                )
    return table


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",") if part]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Latency of servers at a share of their own maximum.")
    parser.add_argument("--case", metavar="A,B", default=DEFAULT_CASES, help="server cases; patterns are allowed")
    parser.add_argument("--loops", metavar="A,B", default="", help="only these loops")
    parser.add_argument("--share", metavar="X,Y", type=numbers, default=[0.5, 0.8], help="of the maximum")
    parser.add_argument("--rate", metavar="X,Y", type=numbers, default=[], help="messages a second, for all alike")
    parser.add_argument("--arrivals", choices=PATTERNS, default=PATTERNS[0])
    parser.add_argument("--connections", metavar="N", type=int, default=64)
    parser.add_argument("--malloc", choices=("default", "big"), default="default")
    parser.add_argument("--rounds", metavar="N", type=int, default=9)
    parser.add_argument("--seconds", metavar="S", type=float, default=3.0, help="measured at each rate")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every sample there")
    parser.add_argument("--keep", action="store_true", help="keep them in results/, and make the page anew")
    parser.add_argument("--lenient", action="store_true", help="count unfair rounds too: a look on a busy machine")
    args = parser.parse_args()
    args.loops = args.loops or ",".join(name for name in LOOPS if not name.endswith(PATCHED))
    return args


def main() -> None:
    args = parse()
    if len(set(cores())) < 2:
        raise SystemExit("open_loop: the load waits busily, and so needs a core beside the server's")
    cases = [case for case in cases_of(args.case, False) if case.kind == "server" and case.load.mode == "exchange"]
    versions = loops_of(args.loops, False)
    loops = list(versions)
    prepare(cases, loops)
    machine = results.describe_machine(versions)
    taken, failures = run(cases, loops, args)
    tails = Tails(taken, args.lenient)
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(results.headline(machine, args.rounds), markup=False)
    console.print("latency in µs from when a message was due; x: how many times longer than loopmod's, by round\n")
    console.print(table_of(tails, cases, loops, args.rate or args.share))
    for (loop, name), reason in failures.items():
        console.print(f"{loop} failed in {name}: {reason}", markup=False)
    kept = results.of_latency(taken, failures, machine, args.rounds)
    if args.json:
        results.write(args.json, kept)
    if args.keep:
        results.keep(kept)
        page.make_anew()
    if any(loop == OURS for loop, _ in failures):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
