"""Loops in several interpreters at the same time: TCP, TLS, subprocesses and executors, and what they leave behind.

Relies on tests/isolated/interpreters_at_once.py, which runs in a process of its own. On 3.12 neither loop survives
it: the interpreter itself crashes at the end of the process.
"""

import os
import subprocess
import sys

import pytest
from tree import ISOLATED

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio does not survive it before 3.13"),
]
MOST_KIB = 64  # beyond asyncio, for each interpreter


def run_program(kind, rounds, files):
    """KiB that each interpreter leaves."""
    command = [sys.executable, "-X", "faulthandler", ISOLATED / "interpreters_at_once.py", kind, str(rounds), *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=140)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr == ""
    count, before, after = map(int, done.stdout.split())
    assert count == rounds
    return (after - before) / rounds


def test_in_several_at_once(kind, files):
    run_program(kind, 12, files)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio alone leaves megabytes before 3.14")
@pytest.mark.skipif(not {"ASAN_OPTIONS", "TSAN_OPTIONS"}.isdisjoint(os.environ), reason="they keep freed memory")
def test_they_leave_nothing_behind(files):
    left = run_program("loopmod", 40, files)
    assert left <= MOST_KIB or left <= MOST_KIB + run_program("asyncio", 40, files)
