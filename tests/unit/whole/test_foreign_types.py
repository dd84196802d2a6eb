"""Everything of every object called in several threads at once, while its loop runs, idles, is closed or collected.

Relies on tests/isolated/foreign_types.py, each scene of which runs in a process of its own: a crash or a hang is a
failed test. What the answers are is tested in core/test_owner.py.
"""

import os
import subprocess
import sys

import pytest
from tree import ISOLATED

pytestmark = pytest.mark.timeout(200)

SCRIPT = ISOLATED / "foreign_types.py"


@pytest.mark.parametrize("kind", ["", "server"])
@pytest.mark.parametrize("scene", ["running", "idle", "closed", "collected"])
def test_foreign_threads(scene, kind, files):
    command = [sys.executable, str(SCRIPT), scene, *files]
    env = os.environ | {"FOREIGN_SERVER": kind}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["survived"]), done.stderr[-3000:]
