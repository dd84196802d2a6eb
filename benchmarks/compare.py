"""Compare loopmod with the other event loops: python benchmarks/compare.py [--rounds N] [--case NAME] ...

Every sample is a fresh process (sample.py). A round takes every case on every loop, the loops of a case one
right after the other and in an order that turns from round to round, so that what else the machine does meets
all alike. Compared is CPU time per operation, not wall time; a ratio is taken between two samples of the same
round, and the median of the rounds' ratios is reported. README.md says how to read the table.

Relies on cases.py and sample.py, on a C compiler for load.c (server cases only), and on nothing outside the
standard library but the loops themselves; a loop that is not installed is left out.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path

from cases import CASES, Case
from sample import LOOPS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SAMPLE = HERE / "sample.py"
LOAD_SOURCE = HERE / "load.c"
LOAD = ROOT / "build" / "benchmarks" / "load"

CONNECTIONS = 64
MESSAGE_SIZE = 1024
# Keeps glibc from serving the 256 KiB receive buffers of some loops by mmap, which costs three system calls
# and their page faults per message. The first setting alone would move the buffers to the heap's end, where
# every free gives them back to the system.
BIG_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4194304", "MALLOC_TRIM_THRESHOLD_": "8388608"}
PATIENCE = 120  # seconds after which a sample hangs
BASES = ("asyncio", "uvloop")  # what the ratios are taken against


@dataclass(frozen=True)
class Row:
    """One line of the table: a case in an environment."""

    case: Case
    malloc: str  # "default" or "big"

    @property
    def name(self) -> str:
        return self.case.name if self.malloc == "default" else f"{self.case.name} ({self.malloc} malloc)"


@dataclass(frozen=True)
class Sample:
    round: int
    row: str
    loop: str
    operations: int
    cpu: float
    wall: float

    @property
    def cost(self) -> float:
        """CPU seconds per operation."""
        return self.cpu / self.operations


class SampleFailed(Exception):
    pass


# Taking samples


def environment(malloc: str = "default") -> dict[str, str]:
    """A sample's environment: this checkout's loopmod, and no allocator setting but the one asked for."""
    env = {name: value for name, value in os.environ.items() if name not in BIG_MALLOC}
    path = env.get("PYTHONPATH")
    env["PYTHONPATH"] = str(ROOT) + (os.pathsep + path if path else "")
    if malloc == "big":
        env.update(BIG_MALLOC)
    return env


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"


def run_alone(row: Row, loop: str, seconds: float) -> tuple[int, float, float]:
    command = [sys.executable, str(SAMPLE), row.case.name, loop, str(seconds)]
    try:
        env = environment(row.malloc)
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        raise SampleFailed(f"not done in {PATIENCE} s") from None
    if done.returncode != 0:
        raise SampleFailed(f"exit status {done.returncode}: {last_line(done.stderr)}")
    result = json.loads(done.stdout)
    return result["operations"], result["cpu"], result["wall"]


def cores() -> tuple[int, int]:
    """The cores of the server and of the load; the same one where the machine has no other."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def run_under_load(row: Row, loop: str, seconds: float) -> tuple[int, float, float]:
    server_core, load_core = cores()
    server = subprocess.Popen(
        [sys.executable, str(SAMPLE), row.case.name, loop, str(seconds)],
        env=environment(row.malloc),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    load = None
    try:
        os.sched_setaffinity(server.pid, {server_core})
        hello = server.stdout.readline()
        if hello:
            load = drive(json.loads(hello)["address"], server.pid, seconds, load_core)
    except subprocess.TimeoutExpired:
        raise SampleFailed(f"not done in {PATIENCE} s") from None
    finally:
        server.kill()
        _, complaint = server.communicate()
    if load is None or load.returncode != 0:
        said = [text for text in (load.stderr if load else "", complaint) if text]
        raise SampleFailed("; server: ".join(map(last_line, said)) or "the server ended without a word")
    messages, cpu, wall = load.stdout.split()
    return int(messages), float(cpu), float(wall)


def drive(address: int | str, server: int, seconds: float, core: int) -> "subprocess.CompletedProcess[str]":
    arguments = [address, server, CONNECTIONS, MESSAGE_SIZE, seconds, core]
    return subprocess.run([str(LOAD), *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE)


def compile_load() -> None:
    if LOAD.exists() and LOAD.stat().st_mtime >= LOAD_SOURCE.stat().st_mtime:
        return
    LOAD.parent.mkdir(parents=True, exist_ok=True)
    compiler = shlex.split(os.environ.get("CC", "cc"))
    subprocess.run([*compiler, "-std=c11", "-O2", "-Wall", "-o", str(LOAD), str(LOAD_SOURCE)], check=True)


def take(row: Row, loop: str, round_: int, seconds: float) -> Sample:
    run = run_under_load if row.case.kind == "server" else run_alone
    operations, cpu, wall = run(row, loop, seconds)
    return Sample(round_, row.name, loop, operations, cpu, wall)


class Comparison:
    """The samples of all rounds, and what failed on the way."""

    def __init__(self, rows: list[Row], loops: list[str]) -> None:
        self.rows = rows
        self.loops = loops
        self.samples: list[Sample] = []
        self.failures: dict[tuple[str, str], str] = {}

    def run(self, rounds: int, seconds: float) -> None:
        for round_ in range(rounds):
            start = round_ % len(self.loops)
            order = self.loops[start:] + self.loops[:start]
            for row in self.rows:
                say(f"\rround {round_ + 1}/{rounds}  {row.name:<32}")
                for loop in order:
                    self._take(row, loop, round_, seconds)
        say("\r" + " " * 60 + "\r")

    def _take(self, row: Row, loop: str, round_: int, seconds: float) -> None:
        if (row.name, loop) in self.failures:
            return  # it would fail, or hang, once more
        try:
            self.samples.append(take(row, loop, round_, seconds))
        except SampleFailed as failure:
            self.failures[row.name, loop] = str(failure)

    def costs(self, row: str, loop: str) -> dict[int, float]:
        """CPU seconds per operation, by round; nothing where the loop failed in any round."""
        if (row, loop) in self.failures:
            return {}
        return {s.round: s.cost for s in self.samples if s.row == row and s.loop == loop}

    def least(self, row: str, loop: str) -> float | None:
        return min(self.costs(row, loop).values(), default=None)

    def ratios(self, row: str, loop: str, base: str) -> list[float]:
        """How many times less CPU than `base` the loop took, one figure a round."""
        ours, theirs = self.costs(row, loop), self.costs(row, base)
        return [theirs[round_] / ours[round_] for round_ in sorted(ours.keys() & theirs.keys())]

    def ratio(self, row: str, loop: str, base: str) -> float | None:
        ratios = self.ratios(row, loop, base)
        return statistics.median(ratios) if ratios else None


# Showing them


def say(text: str) -> None:
    """Progress, for someone who watches; a log gets none of it."""
    if sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


def cell(value: float | None, form: str, width: int) -> str:
    return f"{'-' if value is None else format(value, form):>{width}}"


def table(comparison: Comparison) -> str:
    """A line per case: for each loop the least cost in µs, then how many times less CPU than each base."""
    name_width = max(len("case"), *(len(row.name) for row in comparison.rows))
    above, head = [" " * name_width], ["case".ljust(name_width)]
    for loop in comparison.loops:
        columns = ["µs/op".rjust(8)]
        columns += [f"x{base}".rjust(9) for base in bases(comparison, loop)]
        head.append("".join(columns))
        above.append(loop.rjust(len(head[-1])))
    lines = [" |".join(above).rstrip(), " |".join(head)]
    lines.append("-" * len(lines[-1]))
    for row in comparison.rows:
        cells = [row.name.ljust(name_width)]
        for loop in comparison.loops:
            least = comparison.least(row.name, loop)
            group = cell(None if least is None else least * 1e6, ".3f" if (least or 0) < 1e-5 else ".1f", 8)
            for base in bases(comparison, loop):
                group += cell(comparison.ratio(row.name, loop, base), ".2f", 9)
            cells.append(group)
        lines.append(" |".join(cells))
    return "\n".join(lines)


def bases(comparison: Comparison, loop: str) -> list[str]:
    """The loops that this one is compared with: of BASES those that stand before it in the table."""
    before = comparison.loops[: comparison.loops.index(loop)]
    return [base for base in BASES if base in before]


def summary(comparison: Comparison) -> list[dict[str, object]]:
    return [
        {
            "case": row.name,
            "loop": loop,
            "least_cpu_us": None if (least := comparison.least(row.name, loop)) is None else least * 1e6,
            "ratio": {base: comparison.ratio(row.name, loop, base) for base in bases(comparison, loop)},
            "ratios": {base: comparison.ratios(row.name, loop, base) for base in bases(comparison, loop)},
            "failure": comparison.failures.get((row.name, loop)),
        }
        for row in comparison.rows
        for loop in comparison.loops
    ]


def built_at() -> float:
    """When this checkout's loopmod last changed: a build during a run would mix two loops in one figure."""
    package = ROOT / "loopmod"
    extension = package / f"_loopmod{sysconfig.get_config_var('EXT_SUFFIX')}"
    files = [file for file in [*package.glob("*.py"), extension] if file.exists()]
    return max((file.stat().st_mtime for file in files), default=0)


def describe_machine(versions: dict[str, str]) -> dict[str, object]:
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": len(os.sched_getaffinity(0)),
        "load_average": os.getloadavg()[0],
        "loops": versions,
    }


# The command


def installed(loop: str) -> str | None:
    """The loop's version, asked in a process like those of the samples; None where it cannot be imported."""
    code = "import sys; from sample import version_of; print(version_of(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", code, loop], cwd=HERE, env=environment(), capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else None


def chosen(text: str, known: list[str], what: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known:
            raise SystemExit(f"compare: no {what} {name!r}; there are {', '.join(known)}")
    return [name for name in known if name in names]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare event loops by CPU time per operation.")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of samples (default 5)")
    parser.add_argument("--quick", action="store_true", help="two short rounds: a look, not a result")
    parser.add_argument("--case", metavar="A,B", default=",".join(CASES), help="only these cases")
    parser.add_argument("--loops", metavar="A,B", default=",".join(LOOPS), help="only these loops")
    parser.add_argument(
        "--malloc",
        choices=("default", "big", "both"),
        default="both",
        help="server cases with glibc's allocator as it is, with a high mmap threshold, or both (default)",
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every sample and the summary there")
    parser.add_argument("--list", action="store_true", help="say what each case does and end")
    args = parser.parse_args(argv)
    if args.rounds is not None and args.rounds < 1:
        parser.error("--rounds must be at least 1")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse(argv)
    cases = [CASES[name] for name in chosen(args.case, list(CASES), "case")]
    if args.list:
        for case in cases:
            print(f"{case.name:<20} {case.operation}")
        return 0

    versions = {name: installed(name) for name in chosen(args.loops, list(LOOPS), "loop")}
    found = {name: version for name, version in versions.items() if version is not None}
    for name in versions.keys() - found.keys():
        print(f"{name} cannot be imported here and is left out", file=sys.stderr)
    if "loopmod" in versions and "loopmod" not in found:
        raise SystemExit("compare: build loopmod first: make build")

    mallocs = ("default", "big") if args.malloc == "both" else (args.malloc,)
    mallocs_of = {"core": ("default",), "process": ("default",), "server": mallocs}
    rows = [Row(case, malloc) for case in cases for malloc in mallocs_of[case.kind]]
    if any(case.kind == "server" for case in cases):
        compile_load()

    rounds = args.rounds or (2 if args.quick else 5)
    comparison = Comparison(rows, list(found))
    machine = describe_machine(found)
    built = built_at()
    comparison.run(rounds, seconds=0.05 if args.quick else 0.3)
    if "loopmod" in found and built_at() != built:
        raise SystemExit("compare: loopmod was built anew during the run; the samples are of no use")

    print(
        f"Python {machine['python']}, {machine['system']}, {machine['cores']} cores, load "
        f"{machine['load_average']:.1f}, {rounds} rounds; {', '.join(f'{n} {v}' for n, v in found.items())}"
    )
    print("µs/op: least CPU time; xasyncio, xuvloop: median ratio of a round, above 1 is faster\n")
    print(table(comparison))
    for (row_name, loop), reason in comparison.failures.items():
        print(f"{loop} failed in {row_name}: {reason}")
    if args.json:
        report = {
            "machine": machine,
            "rounds": rounds,
            "summary": summary(comparison),
            "samples": [asdict(sample) for sample in comparison.samples],
        }
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if comparison.failures else 0


if __name__ == "__main__":
    sys.exit(main())
