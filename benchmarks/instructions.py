"""Instructions per operation, by callgrind: python benchmarks/instructions.py [--case A,B] [--loops A,B]

A case runs twice, with a few batches and with more; the difference between the counts, divided by the
operations between them, is what one operation costs: start and end of the process are in neither. Counts hardly
depend on what else the machine does, so a change of a few per cent can be trusted. System calls count for
nothing here, and threads take turns. Relies on valgrind, sample.py and runner.py.
"""

import argparse
import re
import shutil
import subprocess
import sys

from cases import Case
from compare import cases_of, loops_of
from loops import FLOOR, is_for_servers
from report import Console, Table
from runner import SAMPLE, environment, last_line

FEW, MORE = 1, 3  # batches
NOT_COUNTED = ("call_later_cancel_1m", "import_time", "subprocess_spawn", "subprocess_pipe", "threads_1000")
COLLECTED = re.compile(r"Collected *: *(\d+)")
PATIENCE = 600


def collected(case: Case, loop: str, batches: int, out: str) -> int:
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    sample = [sys.executable, str(SAMPLE), case.name, loop, "0", str(batches)]
    env = environment() | {"PYTHONHASHSEED": "0"}
    done = subprocess.run([*valgrind, *sample], env=env, capture_output=True, text=True, timeout=PATIENCE)
    found = COLLECTED.search(done.stderr)
    if done.returncode != 0 or found is None:
        raise SystemExit(f"{case.name} on {loop}: {last_line(done.stderr)}")
    return int(found[1])


def slope(case: Case, loop: str, out: str) -> float:
    few, more = (collected(case, loop, batches, out) for batches in (FEW, MORE))
    return (more - few) / ((MORE - FEW) * case.batch)


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the instructions of the core cases.")
    parser.add_argument("--case", metavar="A,B", default="", help="only these cases; patterns are allowed")
    parser.add_argument("--loops", metavar="A,B", default="", help="only these loops")
    parser.add_argument("--out", metavar="FILE", default="/dev/null", help="the last profile, for callgrind_annotate")
    args = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("instructions: valgrind is needed")
    kinds = ("core", "process")
    cases = [case for case in cases_of(args.case, False) if case.kind in kinds]
    if not args.case:
        cases = [case for case in cases if case.name not in NOT_COUNTED]
    loops = [loop for loop in loops_of(args.loops, True) if loop != FLOOR and not is_for_servers(loop)]

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table("instructions per operation", *loops, box=None, pad_edge=False)
    for case in cases:
        counts = []
        for loop in loops:
            counts.append(slope(case, loop, args.out))
            print(f"{case.name} {loop} {counts[-1]:,.0f}", file=sys.stderr, flush=True)
        table.add_row(case.name, *(f"{count:,.0f}" for count in counts))
    console.print(table)


if __name__ == "__main__":
    main()
