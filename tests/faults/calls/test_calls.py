"""System calls that fail: fixed seeds and points; `make faults-calls` plays any number of them (README.md).

That the instrument finds what is wrong is shown with planted faults, that it knows all calls by the module's imports.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import calls_shim
import pytest

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(os.environ.get("PYTHON")), reason="played on the default interpreter only"),
    pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="ASAN has these calls itself"),
]

# What is imported and not made to fail, and why.
NO_SYSTEM_CALL = (
    r"mem\w+|str\w+|s?n?printf|v?snprintf|f?printf|perror|malloc|calloc|realloc|free|malloc_usable_size|posix_memalign|"
    r"ceil|getenv|abort|__\w+|dl\w+|inet_\w+|pthread_\w+|stderr|sig\w+set"
)
CANNOT_FAIL = (
    r"getpid|get[eu]*[ug]id|gettimeofday|clock_gettime|clock_getres|sched_yield|uname|fstat(64)?|__?lxstat|nanosleep"
)
NOT_USED = r"inotify_\w+|signalfd|sigaction|sigprocmask|signal|statfs|select|dup2|mmap|munmap"  # by parts of libev
NAMES = r"getaddrinfo|freeaddrinfo|gai_strerror"  # tests/unit/os/test_lookups.py has them fail
REASONS = re.compile(rf"({NO_SYSTEM_CALL}|{CANNOT_FAIL}|{NOT_USED}|{NAMES})\Z")


@pytest.fixture(scope="session")
def shim():
    library = calls_shim.build()
    if library is None:
        pytest.skip("needs Linux and a C compiler")
    return library


def play(*arguments):
    """What the program says, and whether something failed."""
    command = [sys.executable, calls_shim.HERE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode in (0, 1) and " fail (" in done.stdout, done.stdout + done.stderr
    return done.returncode, done.stdout


@pytest.mark.parametrize("loop, first, count", [("loopmod", 0, 80), ("server", 1000, 40)])
def test_seeds(shim, loop, first, count):
    failed, said = play("--first", first, "--seeds", count, "--loop", loop)
    assert not failed, said


def test_points(shim):
    failed, said = play("--enumerate", "--every", 70)
    assert not failed, said


@pytest.mark.parametrize("plant, says, where", [
    ("short", "wrong bytes| bytes of ", ("--mode", "soft", "--first", 9, "--seeds", 100, "--most", 1)),
    ("twice", "wrong bytes| bytes of ", ("--mode", "soft", "--first", 9, "--seeds", 100, "--most", 1)),
    ("leak", "left open", ("--enumerate", "--point", "close:3:EIO")),
    ("deaf", "hangs", ("--enumerate", "--point", "epoll_ctl:4:ENOMEM")),
    ("spin", "spins", ("--enumerate", "--point", "recv:1:ENOMEM")),
    ("untold", "nobody was told", ("--enumerate", "--point", "listen:1:EADDRINUSE")),
])  # fmt: skip
def test_a_planted_fault_is_found(shim, plant, says, where):
    failed, said = play("--plant", plant, "--work", "tcp", *where)
    assert failed and re.search(says, said), said


def symbols(tool, *arguments):
    said = subprocess.run([tool, *arguments], capture_output=True, text=True, check=True, timeout=60).stdout
    return {line.split()[-1].split("@")[0] for line in said.splitlines() if line.strip()}


def test_every_imported_call_is_known(shim):
    """What the module and libev import of the C library can fail here, or there is a reason why it does not."""
    nm, ldd = shutil.which("nm"), shutil.which("ldd")
    if nm is None or ldd is None:
        pytest.skip("needs nm and ldd")
    from loopmod import _loopmod

    if any(name.startswith(("__asan", "__gcov", "__ubsan")) for name in symbols(nm, "-D", _loopmod.__file__)):
        pytest.skip("sanitizers and counters import calls of their own")
    said = subprocess.run([ldd, _loopmod.__file__], capture_output=True, text=True, check=True, timeout=60).stdout
    files = [_loopmod.__file__, *re.findall(r"libev\S* => (\S+)", said)]
    imported = set()
    for file in files:
        imported |= symbols(nm, "-D", "--undefined-only", file)
    known = symbols(nm, "-D", "--defined-only", shim)
    unknown = {name for name in imported - known if not re.match(r"_?Py|ev_|_ITM_|__gmon", name)}
    assert {name for name in unknown if not REASONS.match(name)} == set()
    assert {"accept4", "epoll_wait", "recv", "send", "sendmsg"} <= imported & known
    assert Path(shim).exists()
