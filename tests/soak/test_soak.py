"""A small soak: all the loads of `make soak` for some seconds, and that it finds what is planted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(os.environ.get("PYTHON")), reason="run on the default interpreter only"),
]

SMALL = ["--tcp", "60", "--tls", "10", "--unix", "10", "--start-tls", "4", "--pace", "0.1", "--every", "0.5"]


def run_soak(*arguments):
    command = [sys.executable, str(Path(__file__).parent), *SMALL, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


@pytest.mark.parametrize("kind", ["loopmod", "server"])
def test_nothing_is_wrong(kind):
    done = run_soak("--loop", kind, "--minutes", "0.05", "--rounds", "4")
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_planted_faults_are_found():
    plants = ["object", "bytes", "descriptor", "callback", "log"]
    arguments = [word for plant in plants for word in ("--plant", plant)]
    done = run_soak("--minutes", "0.015", "--rounds", "2", *arguments)
    wrong = [line for line in done.stdout.splitlines() if line.startswith("WRONG")]
    for text in ("ours Future", "bytes more in use", "descriptors file", "soon asked", "handler: planted"):
        assert any(text in line for line in wrong), (text, done.stdout, done.stderr[-3000:])
