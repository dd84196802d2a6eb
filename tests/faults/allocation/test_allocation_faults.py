"""Allocations fail, one after the other: each so-manieth point of all scenarios; `make faults-allocation` plays all.

That the instrument finds what is wrong is shown on loops with a fault planted.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parent
PLANTED = ("swallows", "mistakes", "leaks", "keeps", "crashes", "breaks")

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(os.environ.get("PYTHON")), reason="played on the default interpreter only"),
    pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="ASAN has its own malloc"),
    pytest.mark.skipif(shutil.which("cc") is None and shutil.which("gcc") is None, reason="needs a C compiler"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="stands before glibc's malloc"),
]


def play(*arguments):
    done = subprocess.run(
        [sys.executable, PROGRAM, *arguments], capture_output=True, text=True, timeout=580, check=False
    )
    return done.returncode, done.stdout + done.stderr[-2000:]


@pytest.mark.parametrize("arguments", [
    ("--step", "23"),
    ("--step", "61", "--loop", "server"),
    ("--step", "151", "--allocator", "libc"),
    ("never_told", "cancelling"),  # where a coroutine ends without an exception
])  # fmt: skip
def test_only_memory_error_comes_of_it(arguments):
    status, output = play(*arguments)
    assert status == 0, output
    points = int(re.search(r"(\d+) points in \d+ s", output)[1])
    assert points > 100


def test_a_planted_fault_is_found():
    for name in PLANTED:
        status, output = play("callbacks", "--planted", name)
        assert status == 1 and "found" in output, output


def test_a_point_can_be_played_again():
    status, output = play("timers", "--point", "40")
    assert status == 0 and "'failed': 1" in output, output
