"""Builds what fuzzes with coverage: the extension module with clang's counters and sanitizers, and libFuzzer with a
Python inside (fuzz_driver.c). Everything stands under build/fuzz. Where there is no clang and none to be installed,
NoClang says so.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOM = Path(__file__).resolve().parent
ROOT = ROOM.parent.parent
VERSIONS = ("19", "18", "17", "16", "15", "14")
COUNTERS = "-fsanitize=fuzzer-no-link"
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"]


class NoClang(Exception):
    """There is none that has libFuzzer."""


def has_fuzzer(clang):
    """Whether its libraries were installed with it."""
    asked = subprocess.run([clang, "-print-runtime-dir"], capture_output=True, text=True, check=False)
    places = [Path(asked.stdout.strip()), Path(asked.stdout.strip()).parent / "linux"]
    return any(list(place.glob("libclang_rt.fuzzer[-.]*a")) for place in places)


def find_clang():
    for name in ("clang", *(f"clang-{version}" for version in VERSIONS)):
        if shutil.which(name) and has_fuzzer(name):
            return name
    return None


def install_clang():
    """Debian's, where this may be done."""
    if shutil.which("apt-get") is None or os.getuid() != 0:
        return
    quietly = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": False}
    subprocess.run(["apt-get", "-q", "update"], **quietly)
    for version in VERSIONS:
        packages = [f"clang-{version}", f"libclang-rt-{version}-dev", f"llvm-{version}"]
        done = subprocess.run(["apt-get", "install", "-qy", "--no-install-recommends", *packages], **quietly)
        if done.returncode == 0:
            return


def clang():
    found = find_clang()
    if found is None:
        install_clang()
        found = find_clang()
    if found is None:
        raise NoClang("no clang with libFuzzer here (Debian: clang-16, libclang-rt-16-dev)")
    return found


def variant(planted):
    """The copy of the tree in which the instrumented module stands, one of its own where a fault is planted."""
    name = "fuzz-planted" if planted else "fuzz"
    told = subprocess.run([ROOT / "tools" / "variant", name], capture_output=True, text=True, check=True)
    tree = Path(told.stdout.strip())
    if planted:
        path, right, wrong = planted
        text = (tree / path).read_text()
        assert text.count(right) == 1, f"{path} does not hold {right!r} once"
        # What was planted before is compiled again, as it stands in the tree: its date is one of long ago.
        before = tree / "build" / "planted"
        before.parent.mkdir(exist_ok=True)
        if before.is_file():
            os.utime(tree / before.read_text())
        (tree / path).write_text(text.replace(right, wrong))
        before.write_text(path)
    return tree


def build_module(tree, compiler):
    settings = {"CC": compiler, "CFLAGS": COUNTERS, "LOOPMOD_SANITIZE": "1"}
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=tree, env=os.environ | settings, check=True)


def build_driver(tree, compiler):
    """The program; with Python as a library, shared or not."""
    settings = sysconfig.get_config_vars()
    program = tree / "build" / "fuzz_driver"
    source = ROOM / "fuzz_driver.c"
    if program.is_file() and program.stat().st_mtime > source.stat().st_mtime:
        return program
    library = f"python{settings['LDVERSION']}"
    where = [settings["LIBDIR"]] if settings.get("Py_ENABLE_SHARED") else [settings["LIBPL"], settings["LIBDIR"]]
    command = [compiler, "-g", "-O1", "-fsanitize=fuzzer", *SANITIZERS, f"-I{settings['INCLUDEPY']}", source]
    command += ["-o", program, "-rdynamic", *(f"-L{place}" for place in where)]
    command += [f"-Wl,-rpath,{where[0]}", f"-l{library}"]
    command += f"{settings['LIBS']} {settings['SYSLIBS']} -lm".split()
    subprocess.run(command, check=True)
    return program


def build(planted=None):
    """The program and the environment that it wants, but for FUZZ_TARGET. A fault is a path, a text and another."""
    compiler = clang()
    tree = variant(planted)
    build_module(tree, compiler)
    program = build_driver(tree, compiler)
    symbolizer = shutil.which(compiler.replace("clang", "llvm-symbolizer"))
    environment = {
        "FUZZ_PYTHON": sys.executable,
        "FUZZ_TREE": str(tree),
        "FUZZ_ROOM": str(tree / "tests" / "fuzz"),
        "PYTHONPATH": f"{tree}:{tree / 'tests' / 'fuzz'}",
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1:handle_abort=0",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    }
    if symbolizer:
        environment["ASAN_SYMBOLIZER_PATH"] = symbolizer
    return program, environment
