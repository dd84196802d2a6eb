"""Programs that attack the loop: each in a process of its own, so that a crash is a failed test.

tests/isolated/adversary holds them; each once crashed, hung or went wrong. They pass on stock asyncio where they are
run on it (`--stock`), but for what it gets wrong itself.
"""

import os
import subprocess
import sys

import pytest
from tree import ISOLATED

PROGRAMS = sorted((ISOLATED / "adversary").glob("*.py"))
# What 3.12 gets wrong itself: stock asyncio fails there too.
FAULTS_OF_312 = {
    "no_connection_made": "a server of 3.12 waits for ever for a connection that was never made",
    "subinterpreter": "3.12 frees memory twice when a program with interpreters of its own ends",
}


@pytest.mark.timeout(320)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_program_survives(program):
    if sys.version_info[:2] == (3, 12) and program.stem in FAULTS_OF_312:
        pytest.skip(FAULTS_OF_312[program.stem])
    # In debug mode the log of a slow step shows the task, and a deep chain of them is too deep for its repr: on
    # stock asyncio too the RecursionError leaves the loop. Programs that want debug mode set it themselves.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONASYNCIODEBUG"}
    is_debug_build = hasattr(sys, "gettotalrefcount")
    if is_debug_build:  # it takes minutes for chains of a million
        environment["N"] = "50000"
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(program)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300 if is_debug_build else 90,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith("ok")
