"""Nothing grows with the number of tasks, futures, handles, connections and loops that came and went.

Relies on tests/isolated/leaks.py, whose cases run one process each; the bounds are explained there.
"""

import importlib.util
import os
import subprocess
import sys

import pytest
from gil_support import HAS_GIL
from tree import ISOLATED

pytestmark = [pytest.mark.timeout(200), pytest.mark.slow]

SCRIPT = ISOLATED / "leaks.py"


def load_script():
    """The script as a module, to read its list of cases."""
    spec = importlib.util.spec_from_file_location("leaks_script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    path = list(sys.path)
    spec.loader.exec_module(module)
    sys.path[:] = path
    return module


@pytest.mark.parametrize("case", sorted(load_script().CASES))
def test_nothing_grows(kind, case):
    if (kind, case) == ("asyncio", "tls_connections"):
        pytest.skip("stock asyncio keeps memory of TLS connections, on 3.11 and 3.12 at least")
    if (kind, case) == ("asyncio", "failing_callbacks") and not HAS_GIL:
        pytest.skip("stock asyncio grows by 10 MB there without the GIL, none of it in blocks that are in use")
    command = [sys.executable, str(SCRIPT), kind, case]
    if kind == "asyncio":  # shows that the bounds hold for what does not leak: that takes fewer rounds
        command.append(str(load_script().CASES[case][1] // 5))
    # AddressSanitizer keeps freed memory for a while, which is no leak.
    options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=2:thread_local_quarantine_size_kb=64"
    environment = {**os.environ, "ASAN_OPTIONS": options.lstrip(":")}
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]


def test_a_leak_would_be_seen():
    # The bounds mean something: keeping one small list per round is found.
    script = load_script()
    kept = []

    def leaky(loop, count):
        for number in range(count):
            kept.append([number])

    script.CASES["leaky"] = (leaky, 20_000)
    assert script.main("asyncio", "leaky") == 1
