"""Taking samples: each in a process of its own, the server and its load on different cores.

Relies on sample.py, and for server cases on a C compiler for clients/ (OpenSSL's headers for TLS) and floor/
(libev), which are compiled on demand into build/benchmarks.
"""

import contextlib
import functools
import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cases import Case
from loops import FLOOR, takes_part

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SAMPLE = HERE / "sample.py"
BUILD = ROOT / "build" / "benchmarks"
CERTIFICATE = BUILD / "certificate.pem"

# Keeps glibc from serving the 256 KiB receive buffers of some loops by mmap, which costs three system calls
# and their page faults per message. The first setting alone would move the buffers to the heap's end, where
# every free gives them back to the system.
BIG_MALLOC = {"MALLOC_MMAP_THRESHOLD_": "4194304", "MALLOC_TRIM_THRESHOLD_": "8388608"}
PATIENCE = 120  # seconds after which a sample hangs
NO_FLOOR = 3  # floor's exit status


@dataclass(frozen=True)
class Row:
    """One line of the table: a case in an environment."""

    case: Case
    malloc: str  # "default" or "big"

    @property
    def name(self) -> str:
        return self.case.name if self.malloc == "default" else f"{self.case.name} (big malloc)"


@dataclass(frozen=True)
class Sample:
    """A sample's figures: `value` is what is compared, in the case's unit; less is better."""

    round: int
    row: str
    loop: str
    value: float
    operations: int = 0
    cpu: float = 0.0
    wall: float = 0.0
    p50: float | None = None
    p99: float | None = None
    most: float | None = None


class SampleFailed(Exception):
    pass


class NotApplicable(Exception):
    """The loop has no part in this case, which is no failure."""


def take(row: Row, loop: str, round_: int, seconds: float) -> Sample:
    case = row.case
    if not takes_part(loop, case.kind, case.is_joined):
        raise NotApplicable
    figures = under_load(row, loop, seconds) if case.kind == "server" else alone(row, loop, seconds)
    value = figures.get("value")
    if value is None:
        if not figures["operations"]:
            raise SampleFailed("not one operation in time")
        per_operation = figures["cpu"] / figures["operations"] * 1e6
        value = per_operation if case.load.shows == "cpu" else figures[case.load.shows]
    figures["value"] = value
    return Sample(round_, row.name, loop, **figures)


def command(case: Case, loop: str, seconds: float) -> list[str]:
    if loop == FLOOR:
        return [str(compiled("floor", "-lev")), case.function_name, str(seconds)]
    return [sys.executable, str(SAMPLE), case.name, loop, str(seconds)]


def environment(malloc: str = "default") -> dict[str, str]:
    """A sample's environment: this checkout's loopmod, and no allocator setting but the one asked for."""
    env = {name: value for name, value in os.environ.items() if name not in BIG_MALLOC}
    path = env.get("PYTHONPATH")
    env["PYTHONPATH"] = str(ROOT) + (os.pathsep + path if path else "")
    env["BENCH_DIR"] = str(BUILD)
    env["BENCH_CERTIFICATE"] = str(CERTIFICATE)
    if malloc == "big":
        env.update(BIG_MALLOC)
    return env


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"


def alone(row: Row, loop: str, seconds: float) -> dict[str, Any]:
    try:
        done = subprocess.run(
            command(row.case, loop, seconds),
            env=environment(row.malloc),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        raise SampleFailed(f"not done in {PATIENCE} s") from None
    if done.returncode == NO_FLOOR and loop == FLOOR:
        raise NotApplicable
    if done.returncode != 0:
        raise SampleFailed(f"exit status {done.returncode}: {last_line(done.stderr)}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@functools.cache
def cores() -> tuple[int, int]:
    """The cores of the server and of the load; the same one where the machine has no other."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@dataclass(frozen=True)
class Usage:
    """What a server has used so far, and what kept it from its processor; seconds."""

    wall: float
    cpu: float
    waiting: float  # ready to run, and another ran
    stolen: float  # from all processors, by what lies below the system

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(
            self.wall - other.wall,
            self.cpu - other.cpu,
            self.waiting - other.waiting,
            self.stolen - other.stolen,
        )


class Server:
    def __init__(self, process: "subprocess.Popen[str]", hello: dict[str, str]) -> None:
        self.pid = process.pid
        self.hello = hello

    def usage(self) -> Usage:
        threads = Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        cpu, waiting = (sum(column) * 1e-9 for column in zip(*map(_cpu_and_waiting, threads), strict=True))
        stolen = int(Path("/proc/stat").read_text().split(None, 9)[8]) / os.sysconf("SC_CLK_TCK")
        return Usage(time.monotonic(), cpu, waiting, stolen)

    @staticmethod
    def report_of(load: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
        if load.returncode != 0:
            raise SampleFailed(last_line(load.stderr))
        figures: dict[str, Any] = json.loads(load.stdout)
        return figures


def _cpu_and_waiting(schedstat: Path) -> tuple[int, int]:
    cpu, waiting, _ = schedstat.read_text().split()
    return int(cpu), int(waiting)


@contextlib.contextmanager
def serving(row: Row, loop: str, seconds: float) -> Iterator[Server]:
    """The case's server, on its core; a failure is told with what the server said."""
    if row.case.uses_tls:
        make_certificate()
    process = subprocess.Popen(
        command(row.case, loop, seconds),
        env=environment(row.malloc),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    failure = ""
    try:
        os.sched_setaffinity(process.pid, {cores()[0]})
        hello = process.stdout.readline()
        if not hello:
            raise SampleFailed("")
        yield Server(process, json.loads(hello))
    except subprocess.TimeoutExpired as expired:
        failure = f"not done in {expired.timeout:.0f} s"
    except SampleFailed as failed:
        failure = str(failed)
    else:
        return
    finally:
        process.kill()
        complaint = process.communicate()[1]
    if process.returncode == NO_FLOOR and loop == FLOOR:
        raise NotApplicable
    said = [failure, last_line(complaint) if complaint else ""]
    raise SampleFailed("; server: ".join(filter(None, said)) or "the server ended without a word")


def under_load(row: Row, loop: str, seconds: float) -> dict[str, Any]:
    with serving(row, loop, seconds) as server:
        return server.report_of(drive(row.case, server.hello, server.pid, seconds))
    raise AssertionError


def drive(
    case: Case,
    hello: dict[str, str],
    server: int,
    seconds: float,
    count: int = 0,
    more: Sequence[str] = (),
) -> "subprocess.CompletedProcess[str]":
    """Let the load run for so many seconds, or (count) operations; `more` are options of the mode."""
    load = case.load
    options: dict[str, object] = {
        "-m": load.mode,
        "-w": hello["where"],
        "-f": hello["family"],
        "-P": server,
        "-c": load.connections,
        "-s": load.size,
        "-a": load.answer,
        "-d": load.in_flight,
        "-t": seconds,
        "-k": cores()[1],
        "-n": count,
    }
    arguments = [str(part) for option in options.items() for part in option] + [*more]
    arguments += ["-g", load.http_path] if load.http_path else []
    arguments += ["-T"] if case.uses_tls else []
    program = str(compiled("clients", *tls_libraries()))
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=PATIENCE + 4 * seconds)


def prepare(cases: list[Case], loops: list[str]) -> None:
    """Before anything is measured: compile, and let server and load open as many connections as they may."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if any(case.kind == "server" for case in cases):
        compiled("clients", *tls_libraries())
    if FLOOR in loops:
        compiled("floor", "-lev")


@functools.cache
def tls_libraries() -> list[str]:
    probe = subprocess.run(
        [*compiler(), "-fsyntax-only", "-x", "c", "-"],
        input="#include <openssl/ssl.h>\n",
        capture_output=True,
        text=True,
    )
    return ["-lssl", "-lcrypto"] if probe.returncode == 0 else []


def compiler() -> list[str]:
    return shlex.split(os.environ.get("CC", "cc"))


@functools.cache
def compiled(folder: str, *libraries: str) -> Path:
    """The program made of a folder's C files."""
    sources = sorted((HERE / folder).glob("*.c"))
    program = BUILD / folder
    changed = max(path.stat().st_mtime for path in (HERE / folder).iterdir())
    if not program.exists() or program.stat().st_mtime < changed:
        BUILD.mkdir(parents=True, exist_ok=True)
        flags = ["-std=gnu11", "-O2", "-Wall", "-fno-strict-aliasing"]  # libev's headers pun
        subprocess.run([*compiler(), *flags, "-o", str(program), *map(str, sources), *libraries], check=True)
    return program


@functools.cache
def make_certificate() -> None:
    if CERTIFICATE.exists():
        return
    openssl = shutil.which("openssl")
    if openssl is None:
        raise SampleFailed("no openssl command to make a certificate with")
    BUILD.mkdir(parents=True, exist_ok=True)
    request = "req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost -keyout - -out -".split()
    made = subprocess.run([openssl, *request], capture_output=True, text=True, check=True)
    CERTIFICATE.write_text(made.stdout)
