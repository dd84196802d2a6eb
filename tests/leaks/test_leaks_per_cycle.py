"""Each kind of cycle a few times: nothing is left, to the byte; and what is planted is found."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(os.environ.get("PYTHON")), reason="run on the default interpreter only"),
    pytest.mark.skipif(bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="cannot allocate by malloc"),
]


def run_leaks(*arguments):
    command = [sys.executable, str(Path(__file__).parent), *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONMALLOC"}
    return subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)


def test_a_cycle_leaves_nothing():
    done = run_leaks("--count", "6")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_planted_leaks_are_found():
    done = run_leaks("--count", "6", "planted_reference", "planted_bytes", "planted_descriptor")
    for name, what in (
        ("reference", "types"),
        ("reference", "objects"),
        ("bytes", "bytes"),
        ("descriptor", "descriptors"),
    ):
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"LEAK planted_{name}:"))
        assert f"'{what}'" in line.partition("by block")[0]


@pytest.mark.parametrize(
    "names, status", [(["tcp_close", "tls_abort", "tasks", "datagrams"], 0), (["planted_bytes"], 23)]
)
def test_memory_that_nobody_points_to(names, status):
    done = run_leaks("--unreachable", "--count", "3", *names)
    if "skipped" in done.stdout:
        pytest.skip(done.stdout.strip())
    assert done.returncode == status, done.stdout + done.stderr[-3000:]
