"""Programs that attack the loop: each in a process of its own, so that a crash is a failed test.

tests/isolated/adversary holds them; each once crashed, hung or went wrong. They pass on stock asyncio where they are
run on it (`--stock`), but for what it gets wrong itself.
"""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parent.parent / "isolated" / "adversary").glob("*.py"))


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_program_survives(program):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", str(program)], capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    assert done.stdout.splitlines()[-1].startswith("ok")
