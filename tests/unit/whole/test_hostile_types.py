"""Arguments that end, close, cancel, re-enter or free what a method holds; and calls that get no memory.

Relies on the programs in tests/isolated, each run in a process of its own: a crash is a failed test.
"""

import subprocess
import sys

import pytest
from tree import ISOLATED

pytestmark = pytest.mark.timeout(400)

TYPES = [
    "Future",
    "Task",
    "Handle",
    "TimerHandle",
    "SocketTransport",
    "DatagramTransport",
    "ReadPipeTransport",
    "WritePipeTransport",
    "SSLProtocol",
    "SSLTransport",
    "Listener",
    "SockOp",
    "FutureIter",
    "Loop",
]


def run(program, *args):
    command = [sys.executable, "-X", "faulthandler", str(ISOLATED / program), *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=380)
    last = done.stdout.splitlines()[-1:]
    return done.returncode, last, done.stdout[-1000:] + done.stderr[-3000:]


@pytest.mark.parametrize("name", TYPES)
def test_type_survives(name):
    status, last, output = run("hostile_types.py", name)
    assert (status, last) == (0, ["survived"]), output


def test_without_memory():
    status, last, output = run("no_memory.py")
    assert (status, last[0][:2]) == (0, "ok"), output
