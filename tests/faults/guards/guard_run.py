"""Takes a guard out of a copy of the tree, builds that, and runs instruments on it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
LIMIT = 240.0  # seconds for one instrument: beyond it hangs
LIMIT_OF_A_HANG = 30.0  # where that is what the guard is there against
HUNG = "hung"


def take_out(text, guard):
    """The file's text without the guard; ValueError where a text does not stand there exactly once."""
    for old, new in guard.edits:
        if text.count(old) != 1:
            raise ValueError(f"{guard.path}: stands there {text.count(old)} times: {old}")
        text = text.replace(old, new)
    return text


@contextlib.contextmanager
def taken_out(guard, root):
    """While in it, the guard is not in the tree's source."""
    path = root / "src" / guard.path
    whole = path.read_text(encoding="utf-8")
    times = path.stat()
    path.write_text(take_out(whole, guard), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(whole, encoding="utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


class Tree:
    """A copy of the tree, with its own build."""

    def __init__(self, is_memory):
        self.is_memory = is_memory
        name = "guards-asan" if is_memory else "guards"
        made = subprocess.run([ROOT / "tools/variant", name], check=True, capture_output=True, text=True)
        self.root = Path(made.stdout.strip())
        # An object that a run which was ended left behind may be one without a guard.
        (self.root / "setup.py").touch()
        if not self.build():
            raise SystemExit("the copy does not build")
        (self.objects,) = self.root.glob(f"build/temp.*-{sys.implementation.cache_tag}")
        self.whole = self.root / "build" / "whole"
        shutil.rmtree(self.whole, ignore_errors=True)
        shutil.copytree(self.objects, self.whole)
        self.modules = {path: path.read_bytes() for path in self.root.glob("loopmod/*.so")}
        self.known = {}  # what an instrument complains of within a limit, with all guards in place

    def build(self):
        """Whether that goes well. With ccache, what was compiled before is not again."""
        path = f"/usr/lib/ccache:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "LOOPMOD_SANITIZE": str(int(self.is_memory))}
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        return subprocess.run(command, cwd=self.root, env=environment, capture_output=True).returncode == 0

    def restore(self):
        """All as it was with all guards in place: a header's objects would all be compiled anew."""
        shutil.rmtree(self.objects)
        shutil.copytree(self.whole, self.objects)
        for path, whole in self.modules.items():
            path.unlink()  # a process may still have it mapped
            path.write_bytes(whole)

    def environment(self):
        environment = {**os.environ, "PYTHONPATH": str(self.root)}
        environment.pop("PYTHON", None)
        if self.is_memory:
            library = subprocess.run(["cc", "-print-file-name=libasan.so"], capture_output=True, text=True)
            environment |= {
                "LD_PRELOAD": library.stdout.strip(),
                "PYTHONMALLOC": "malloc",
                "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
                "UBSAN_OPTIONS": "halt_on_error=1",
            }
        return environment

    def run(self, instrument, limit):
        """What an instrument has to complain of, or an empty string."""
        kind, *arguments = instrument
        command = [sys.executable, "-X", "faulthandler", *arguments]
        if kind == "pytest":
            command = [sys.executable, "-m", "pytest", "-qx", "--timeout=60", "-pno:cacheprovider", *arguments]
        child = subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            said, _ = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
            return f"{HUNG}, {limit:.0f} s"
        # 5: no test of that name, which is nothing that notices.
        return "" if child.returncode == 0 else complaint(said, child.returncode)


def complaint(said, status):
    """In a few words."""
    if status < 0:
        return signal.Signals(-status).name
    if "from pytest-timeout" in said or "Timeout\n~" in said:
        return f"{HUNG}: {said[max(said.find('FAILED '), 0) :].splitlines()[0][:100]}"
    for mark in ("ERROR: AddressSanitizer", "runtime error", "FAILED ", "Fatal Python error", "Error"):
        at = said.find(mark)
        if at >= 0:
            return said[at:].splitlines()[0][:100]
    return f"exit status {status}"


def is_of_module(instrument):
    """Whether it runs the module, and not the source itself."""
    return instrument[1] != "tests/proofs"


def limit_for(guard):
    return LIMIT_OF_A_HANG if guard.hangs else LIMIT


def first_complaint(guard, tree):
    """The first instrument that has something to say without the guard, and what; None, and why there is none."""
    is_built, limit = False, limit_for(guard)
    try:
        with taken_out(guard, tree.root):
            for instrument in guard.instruments:
                if tree.known.get((instrument, limit)):
                    continue
                if not is_built and is_of_module(instrument):
                    is_built = True
                    if not tree.build():
                        return None, "does not compile"
                said = tree.run(instrument, limit)
                if said and (guard.hangs or not said.startswith(HUNG)):
                    return instrument, said
    except ValueError as error:
        return None, str(error)
    finally:
        if is_built:
            tree.restore()
    return None, "MISSED"


def outcome(guard, tree, is_checked=True):
    """Who notices that the guard is not there: one that has nothing to say where it is there."""
    while True:
        instrument, said = first_complaint(guard, tree)
        if instrument is None:
            return said
        words, key = " ".join(instrument), (instrument, limit_for(guard))
        if is_checked and key not in tree.known:
            tree.known[key] = tree.run(*key)
        if not tree.known.get(key):
            return f"caught by {words}: {said}"
        print(f"fails with all guards in place, so is left out: {words} ({tree.known[key]})", flush=True)
