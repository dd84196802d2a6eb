"""Threads share the module's state, and nothing in it is written after import.

Relies on tests/isolated/unwritten_state.py, which has a process to itself.
"""

import os
import subprocess
import sys
import sysconfig

import pytest
from tree import ISOLATED

pytestmark = pytest.mark.timeout(200)

SCRIPT = ISOLATED / "unwritten_state.py"
IS_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))


@pytest.mark.skipif(
    IS_FREE_THREADED and hasattr(sys, "gettotalrefcount"), reason="its allocators are not to be chosen"
)
def test_nothing_in_the_state_is_written_after_import(files):
    env = os.environ if IS_FREE_THREADED else os.environ | {"PYTHONMALLOC": "malloc"}
    done = subprocess.run([sys.executable, str(SCRIPT), *files], env=env, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "[]\n"
