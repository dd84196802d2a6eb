"""One run of pytest in a directory, on one of the two loops, as the outcome of every test.

The outcomes come from the run's JUnit XML, of the family that names files, so that a test can be asked for again.
"""

import os
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LOOPS = ("asyncio", "loopmod")
RUN_LIMIT = 1800
TEST_LIMIT = 60


@dataclass
class Run:
    """What became of each test, by its node id: passed, failed or skipped."""

    outcomes: dict[str, str] = field(default_factory=dict)
    # Why there is no more than this: the run crashed, never ended, or collected nothing.
    broken: str = ""

    def count(self, outcome: str) -> int:
        return sum(found == outcome for found in self.outcomes.values())


def run_tests(
    python: Path, directory: Path, arguments: Sequence[str], loop: str, report: Path, environment: Mapping[str, str]
) -> Run:
    """Run pytest with the arguments; its output goes beside the report."""
    words = [
        *("-p", "loopmod.pytest_plugin", "-p", "no:cacheprovider"),
        *("--timeout", str(TEST_LIMIT), f"--junitxml={report}", "-o", "junit_family=xunit1"),
        *(["--loopmod"] if loop == "loopmod" else []),
    ]
    report.unlink(missing_ok=True)
    report.parent.mkdir(parents=True, exist_ok=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
    log = report.with_suffix(".log")
    with open(log, "w", encoding="utf-8") as output:
        try:
            status = subprocess.run(
                [python, "-m", "pytest", *words, *arguments],
                cwd=directory,
                env={**kept, "PYTHONPATH": str(ROOT), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=RUN_LIMIT,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            return Run(broken=f"did not end in {RUN_LIMIT} s: {log}")
    said = log.read_text(encoding="utf-8", errors="replace")
    if not report.exists():
        return Run(broken=f"ended with status {status} and no report: {log}")
    if ("makes loopmod.loop.Loop" in said) != (loop == "loopmod"):
        return Run(broken=f"not on the loop asked for: {log}")
    run = Run(read_report(report))
    if status not in (0, 1) or not run.outcomes:
        run.broken = f"ended with status {status}: {log}"
    return run


def read_report(report: Path) -> dict[str, str]:
    """Outcomes by node id; of a test that has several (its end failed, say) the worst."""
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        node = node_id(case.get("file") or "", case.get("classname") or "", case.get("name") or "")
        kinds = {child.tag for child in case}
        outcome = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        if outcomes.get(node) != "failed":
            outcomes[node] = outcome
    return outcomes


def node_id(file: str, classname: str, name: str) -> str:
    """What pytest calls the test: the class's name is what the dotted one has beyond the file's."""
    module = file.removesuffix(".py").replace("/", ".")
    classes = classname.removeprefix(module).strip(".").split(".") if classname.startswith(module) else []
    return "::".join(filter(None, [file, *classes, name]))
