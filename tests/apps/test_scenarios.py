"""The shared scenarios: small asyncio programs of known output, run on loopmod by the runner beside them.

Relies on a directory `shared/scenarios` next to the repository, else the tests are skipped. The scenarios of
nested runs (16) need a call of their own before they start and are not run here.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = ROOT.parent / "shared" / "scenarios"
RUNNER = SCENARIOS / "run"
NAMES = sorted(path.name for path in SCENARIOS.glob("[0-9][0-9]_*.py") if not path.name.startswith("16"))

pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(not RUNNER.exists(), reason="no ../shared/scenarios beside the repository"),
    pytest.mark.skipif(
        os.environ.get("LOOPMOD_TEST_ONLY") == "asyncio", reason="LOOPMOD_TEST_ONLY leaves loopmod out"
    ),
]


@pytest.mark.parametrize("name", NAMES or ["none"])
def test_scenario(name):
    path = [str(ROOT), *(entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry)]
    done = subprocess.run(
        [sys.executable, str(RUNNER), "--python", sys.executable, "--module", "loopmod", name],
        # Debug mode would add to the output how long steps took.
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONASYNCIODEBUG": ""},
        capture_output=True,
        text=True,
        timeout=100,
    )
    # one line for the scenario, one for the count
    verdict = done.stdout.splitlines()[0] if done.stdout else done.stderr
    if verdict.startswith("skipped"):
        pytest.skip(verdict)
    assert done.returncode == 0 and verdict.startswith("passed"), verdict
