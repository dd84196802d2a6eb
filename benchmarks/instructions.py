"""Instructions per operation, by callgrind: python benchmarks/instructions.py [--case A,B] [--loops A,B]

A case runs twice, with a few batches and with more; the difference between the counts, divided by the
operations between them, is what one operation costs: start and end of the process are in neither. Counts hardly
depend on what else the machine does, so a change of a few per cent can be trusted. System calls count for
nothing here, and threads take turns. Of a server the messages on one connection are counted, one after the
other, so that none depends on which came together; the load runs outside valgrind. Relies on valgrind, sample.py
and runner.py.
"""

import argparse
import dataclasses
import json
import re
import shutil
import subprocess
import sys
import time

from cases import Case
from compare import cases_of, loops_of
from loops import FLOOR, OURS, is_for_servers, takes_part
from rich.console import Console
from rich.table import Table
from runner import SAMPLE, drive, environment, last_line, make_certificate, prepare

FEW, MORE = 1, 3  # batches
NOT_COUNTED = ("call_later_cancel_1m", "import_time", "subprocess_spawn", "subprocess_pipe", "threads_1000")
COLLECTED = re.compile(r"Collected *: *(\d+)")
SERVERS = ("echo_protocol", "echo_streams", "echo_own_socket")  # those counted where no case is named
MESSAGES = 1000  # to a server in a batch
PATIENCE = 600


class Uncounted(Exception):
    """A loop that does not run the case under valgrind, and why."""


def command(case: Case, loop: str, batches: int, out: str) -> list[str]:
    valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    return [*valgrind, sys.executable, str(SAMPLE), case.name, loop, "0", str(batches)]


def said_alone(case: Case, loop: str, batches: int, out: str) -> str:
    """What valgrind says of a sample that ends by itself."""
    env = environment() | {"PYTHONHASHSEED": "0"}
    done = subprocess.run(
        command(case, loop, batches, out), env=env, capture_output=True, text=True, timeout=PATIENCE
    )
    if done.returncode != 0:
        raise Uncounted(f"{case.name} on {loop}: {last_line(done.stderr)}")
    return done.stderr


def said_under_load(case: Case, loop: str, batches: int, out: str) -> str:
    """What valgrind says of a server that so many batches of messages were sent to."""
    if case.uses_tls:
        make_certificate()
    env = environment() | {"PYTHONHASHSEED": "0"}
    server = subprocess.Popen(
        command(case, loop, batches, out),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    one = dataclasses.replace(case, load=dataclasses.replace(case.load, connections=1))
    try:
        load = drive(one, json.loads(server.stdout.readline()), server.pid, 1, batches * MESSAGES)
        if load.returncode != 0:
            raise Uncounted(f"{case.name} on {loop}: {last_line(load.stderr)}")
        time.sleep(0.5)  # it sees the connection's end, whose cost is in both counts
    finally:
        server.terminate()
        said: str = server.communicate()[1]
    return said


def collected(case: Case, loop: str, batches: int, out: str) -> int:
    said = (said_under_load if case.kind == "server" else said_alone)(case, loop, batches, out)
    found = COLLECTED.search(said)
    if found is None:
        raise Uncounted(f"{case.name} on {loop}: {last_line(said)}")
    return int(found[1])


def slope(case: Case, loop: str, out: str) -> float:
    few, more = (collected(case, loop, batches, out) for batches in (FEW, MORE))
    operations = MESSAGES if case.kind == "server" else case.batch
    return (more - few) / ((MORE - FEW) * operations)


def counted(case: Case, is_named: bool) -> bool:
    if case.kind == "server":
        return case.load.mode == "exchange" and (is_named or case.name in SERVERS)
    return case.kind in ("core", "process") and (is_named or case.name not in NOT_COUNTED)


def counted_on(case: Case, loop: str, out: str) -> float | None:
    """None where the loop has no part in the case, or does not do it under valgrind, which is said."""
    if not takes_part(loop, case.kind, case.is_joined):
        return None
    try:
        count = slope(case, loop, out)
    except (Uncounted, subprocess.TimeoutExpired) as reason:
        print(f"not counted: {reason}", file=sys.stderr, flush=True)
        return None
    print(f"{case.name} {loop} {count:,.0f}", file=sys.stderr, flush=True)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the instructions of core and server cases.")
    parser.add_argument("--case", metavar="A,B", default="", help="only these cases; patterns are allowed")
    parser.add_argument("--loops", metavar="A,B", default="", help="only these loops")
    parser.add_argument("--out", metavar="FILE", default="/dev/null", help="the last profile, for callgrind_annotate")
    args = parser.parse_args()
    if shutil.which("valgrind") is None:
        raise SystemExit("instructions: valgrind is needed")
    cases = [case for case in cases_of(args.case, False) if counted(case, bool(args.case))]
    loops = [loop for loop in loops_of(args.loops, True) if loop != FLOOR]
    if not any(case.kind == "server" for case in cases):
        loops = [loop for loop in loops if not is_for_servers(loop)]
    prepare(cases, loops)

    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    table = Table("instructions per operation", *loops, box=None, pad_edge=False)
    failures = 0
    for case in cases:
        counts = [counted_on(case, loop, args.out) for loop in loops]
        failures += any(count is None and loop == OURS for count, loop in zip(counts, loops, strict=True))
        table.add_row(case.name, *("-" if count is None else f"{count:,.0f}" for count in counts))
    console.print(table)
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
