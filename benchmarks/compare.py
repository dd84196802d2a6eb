"""Compare loopmod with the other event loops: python benchmarks/compare.py [--rounds N] [--case NAME] ...

Every sample is a fresh process. A round takes every case on every loop, the loops of a case one right after
the other and in an order that turns from round to round. README.md says how to read the table.

Relies on runner.py, figures.py, results.py, report.py and page.py; a loop that is not installed is left out.
"""

import argparse
import fnmatch
import importlib.util
import subprocess
import sys
import sysconfig
from pathlib import Path

import page
import plots
import report
import results
from cases import CASES, Case
from figures import Comparison
from loops import FLOOR, LOOPS, OURS, is_for_servers
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from runner import HERE, ROOT, Row, environment, last_line, prepare


def built_at() -> float:
    """When this checkout's loopmod last changed: a build during a run would mix two loops in one figure."""
    package = ROOT / "loopmod"
    extension = package / f"_loopmod{sysconfig.get_config_var('EXT_SUFFIX')}"
    files = [file for file in [*package.glob("*.py"), extension] if file.exists()]
    return max((file.stat().st_mtime for file in files), default=0)


def installed(loop: str) -> str | None:
    """The loop's version, asked in a process like those of the samples; None, and the reason on standard error,
    where none can be made here: it is not installed, or its wheel or this kernel does not let it run."""
    if loop == FLOOR:
        return "libev"
    code = "import sys; from loops import *; factory_of(sys.argv[1])().close(); print(version_of(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, loop], cwd=HERE, env=environment(), capture_output=True, text=True
    )
    if done.returncode == 0:
        return done.stdout.strip()
    print(f"{loop} is left out: {last_line(done.stderr)}", file=sys.stderr)
    return None


def cases_of(patterns: str, is_quick: bool) -> list[Case]:
    """By name or pattern, say `echo_*`; a name that was asked for is there even in a quick look."""
    wanted = patterns.split(",") if patterns else ["*"]
    for pattern in wanted:
        if not fnmatch.filter(CASES, pattern):
            raise SystemExit(f"compare: no case {pattern!r}; --list shows them")
    named = [case for case in CASES.values() if any(fnmatch.fnmatch(case.name, each) for each in wanted)]
    if is_quick and not patterns:
        named = [case for case in named if case.is_quick]
    return [case for case in named if all(importlib.util.find_spec(need) for need in case.needs)]


def loops_of(names: str, is_quick: bool) -> dict[str, str]:
    """The loops to compare, with their versions."""
    wanted = names.split(",") if names else [n for n in LOOPS if not (is_quick and is_for_servers(n))]
    for name in wanted:
        if name not in LOOPS:
            raise SystemExit(f"compare: no loop {name!r}; there are {', '.join(LOOPS)}")
    versions = {name: installed(name) for name in LOOPS if name in wanted}
    if OURS in versions and versions[OURS] is None:
        raise SystemExit("compare: build loopmod first: make build")
    return {name: version for name, version in versions.items() if version is not None}


def rows_of(cases: list[Case], malloc: str) -> list[Row]:
    """Server cases come once for each setting of malloc; where memory is measured it stays as it is."""
    both = ["default", "big"] if malloc == "both" else [malloc]
    return [
        Row(case, each)
        for case in cases
        for each in (both if case.kind == "server" and case.unit != "B" else ["default"])
    ]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare event loops by CPU time per operation.")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of samples (default 9, quick 1)")
    parser.add_argument("--quick", action="store_true", help="a look in under five minutes, not a result")
    parser.add_argument("--case", metavar="A,B", default="", help="only these cases; patterns are allowed")
    parser.add_argument("--kind", metavar="A,B", default="", help="only core, process, server, memory, latency")
    parser.add_argument("--loops", metavar="A,B", default="", help="only these loops")
    parser.add_argument("--seconds", type=float, help="CPU time of a sample (default 0.3, quick 0.04)")
    parser.add_argument(
        "--malloc",
        choices=("default", "big", "both"),
        help="server cases with glibc's allocator as it is, with a high mmap threshold, or both (default)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every sample there")
    parser.add_argument("--keep", action="store_true", help="keep them in results/, and make the page anew")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="draw the ratios there (png, svg)")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write a table for a page there")
    parser.add_argument("--list", action="store_true", help="say what each case does and end")
    args = parser.parse_args(argv)
    args.rounds = args.rounds or (1 if args.quick else 9)
    args.seconds = args.seconds or (0.04 if args.quick else 0.3)
    args.malloc = args.malloc or ("default" if args.quick else "both")
    return args


def hand_out(comparison: Comparison, machine: results.Json, args: argparse.Namespace) -> None:
    head = results.headline(machine, args.rounds)
    report.show(comparison, head)
    kept = results.of_comparison(comparison, machine, args.rounds)
    if args.json:
        results.write(args.json, kept)
    if args.keep:
        results.keep(kept)
        page.make_anew()
    if args.markdown:
        report.write_markdown(args.markdown, comparison, head)
    if args.picture:
        plots.ratios(args.picture, comparison, head)


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    cases = cases_of(args.case, args.quick)
    if args.kind:
        cases = [case for case in cases if case.kind in args.kind.split(",")]
    if args.list:
        for case in cases:
            print(f"{case.name:<32} {case.operation}")
        return 0

    versions = loops_of(args.loops, args.quick)
    prepare(cases, list(versions))
    comparison = Comparison(rows_of(cases, args.malloc), list(versions))
    machine = results.describe_machine(versions)
    built = built_at()
    columns = (TextColumn("{task.description:<48}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    steps = args.rounds * len(comparison.rows) * len(versions)
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=steps)
        comparison.run(args.rounds, args.seconds, lambda text: progress.update(bar, description=text, advance=1))
    if OURS in versions and built_at() != built:
        raise SystemExit("compare: loopmod was built anew during the run; the samples are of no use")

    hand_out(comparison, machine, args)
    return 1 if any(loop == OURS for _, loop in comparison.failures) else 0


if __name__ == "__main__":
    sys.exit(main())
