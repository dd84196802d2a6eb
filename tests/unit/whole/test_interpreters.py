"""What an interpreter leaves behind that imported loopmod, used it and ended.

Relies on tests/isolated/interpreters.py, whose cases run one process each. That nothing crashes at an interpreter's
end, whatever is alive, is the business of tests/isolated/adversary.
"""

import importlib.util
import os
import subprocess
import sys
import sysconfig

import pytest
from tree import ISOLATED

pytestmark = [
    pytest.mark.timeout(200),
    pytest.mark.skipif(sys.version_info < (3, 14), reason="asyncio alone leaves megabytes before 3.14"),
    # 3.5 MiB with nothing imported, 13.5 with asyncio, and not the same each time.
    pytest.mark.skipif(
        bool(sysconfig.get_config_var("Py_GIL_DISABLED")), reason="a free-threaded CPython leaves what was loaded"
    ),
    pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="AddressSanitizer keeps freed memory"),
]

SCRIPT = ISOLATED / "interpreters.py"
MOST_KIB = 64  # beyond asyncio, for each interpreter


def cases():
    spec = importlib.util.spec_from_file_location("interpreters_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.CASES)


def left_by_each(kind, case, files):
    """KiB that each interpreter leaves."""
    command = [sys.executable, str(SCRIPT), kind, case, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr[-3000:]
    return float(done.stdout)


@pytest.mark.parametrize("case", cases())
def test_interpreters_leave_nothing_behind(case, files):
    left = left_by_each("loopmod", case, files)
    assert left <= MOST_KIB or left <= MOST_KIB + left_by_each("asyncio", case, files)
