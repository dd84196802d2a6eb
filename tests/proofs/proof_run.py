"""Runs one proof under CBMC, or plays its harness on values by chance; plants a fault into a copy of the source."""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOM = Path(__file__).resolve().parent
SOURCE = ROOM.parent.parent / "src"
REFUTED = 10  # CBMC's exit status


class Failed(Exception):
    """Not proven: refuted, or not decided."""

    def __init__(self, said, sizes, status):
        super().__init__(said)
        self.sizes = sizes
        self.is_refuted = status == REFUTED


def find_cbmc():
    """The command, or None. A chroot's program runs outside of it, by its own loader and libraries."""
    found = shutil.which("cbmc")
    if found:
        return [found]
    root = Path(os.environ.get("LOOPMOD_SID_DIR") or Path.home() / ".cache" / "loopmod-sid")
    loaders = sorted(root.glob("lib64/ld-linux*.so.*")) + sorted(root.glob("lib/ld-linux*.so.*"))
    if not (root / "usr/bin/cbmc").exists() or not loaders:
        return None
    libraries = [str(path) for path in (root / "usr/lib", *sorted(root.glob("usr/lib/*-linux-gnu")))]
    return [str(loaders[0]), "--library-path", ":".join(libraries), str(root / "usr/bin/cbmc")]


def arguments(proof, sizes, source):
    """What both compilers are told."""
    defined = [f"-D{name}={value}" for name, value in sizes.items()]
    return [f"-DPROOF=prove_{proof.function}", *defined, "-D_GNU_SOURCE", f"-I{ROOM / 'stub'}", f"-I{source}"]


def prove_one(cbmc, proof, sizes, limit, source=SOURCE):
    """How many claims hold; raises Failed where one does not, or that is not known in time.

    The claims are the harness's and CBMC's own: every access is in bounds and to living memory, no signed number
    overflows, no shift is too far, each loop ends within its bound. Each malloc may fail.
    """
    command = [*cbmc, str(ROOM / f"{proof.harness}.c"), *arguments(proof, sizes, source)]
    command += ["--slice-formula", "--unwinding-assertions", "--unwind", str(proof.unwind)]
    if proof.unwindset:
        command += ["--unwindset", ",".join(proof.unwindset)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"not decided in {limit:.0f} s", sizes, 0) from None
    if done.returncode:
        lines = [line for line in done.stdout.splitlines() if line.endswith("FAILURE")]
        raise Failed("\n".join(lines) or done.stdout[-600:] + done.stderr[-600:], sizes, done.returncode)
    counted = re.search(r"\*\* 0 of (\d+) failed", done.stdout)
    return int(counted[1]) if counted else 0


def play(proof, sizes, times, source=SOURCE, seed=1):
    """The harness as an ordinary program: its exit status, and what it said."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "played")
        command = ["cc", "-std=c11", "-w", "-fsanitize=undefined", "-fno-sanitize-recover=undefined"]
        command += [*arguments(proof, sizes, source), str(ROOM / f"{proof.harness}.c"), "-o", str(program)]
        subprocess.run(command, check=True, capture_output=True)
        done = subprocess.run(
            [program, str(times), str(seed)], capture_output=True, text=True, timeout=60, check=False
        )
    return done.returncode, (done.stdout + done.stderr).strip()


def plant(text, fault):
    """The file's text with the fault in it; ValueError where the line is not there exactly once."""
    if text.count(fault.old) != 1:
        raise ValueError(f"{fault.path}: stands there {text.count(fault.old)} times: {fault.old}")
    return text.replace(fault.old, fault.new)


@contextlib.contextmanager
def planted(fault):
    """A copy of the source with the fault in it."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "src")
        shutil.copytree(SOURCE, copy)
        path = copy / fault.path
        path.write_text(plant(path.read_text(encoding="utf-8"), fault), encoding="utf-8")
        yield copy
