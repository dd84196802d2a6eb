"""Runs a module of CPython's own asyncio suite in a process of its own, and goes on behind a test that ended it.

The suite is that of the running interpreter: nothing of it is kept here. `run_module` is what one calls.
"""

import importlib.util
import json
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import inapplicable
import ways

CHILD = Path(__file__).with_name("child.py")
SUITE = "test.test_asyncio"
# Seconds for one test, kept by the child itself; and for a process, should it hang between tests.
TEST_LIMIT = 60
PROCESS_LIMIT = 400
# How the text begins of a test that took its process with it, and what is in it where the child's limit did that.
ENDED = "the process ended with"
HUNG = "Timeout ("


class Outcome(NamedTuple):
    """How one test ended: "passed", "failed" or "skipped", whether it counts, and the traceback or reason."""

    name: str
    outcome: str
    counts: bool
    text: str


def suite_modules():
    """Names of the modules of the interpreter's suite that can apply; none where no suite is shipped."""
    try:
        found = importlib.util.find_spec(SUITE)
    except ModuleNotFoundError:
        found = None
    if found is None:
        return []
    names = (entry.name for entry in pkgutil.iter_modules(found.submodule_search_locations))
    return sorted(name for name in names if name.startswith("test_") and name not in inapplicable.MODULES)


def runs():
    """Yield each (way, module) that there is to run."""
    modules = suite_modules()
    for way in ways.WAYS:
        yield from ((way, name) for name in ways.modules_of(way, modules))


def run_module(subject, way, module, package=SUITE, limit=TEST_LIMIT):
    """Run a module in a way; return the outcomes of its tests and of what else failed."""
    with tempfile.TemporaryDirectory() as directory:
        record = Path(directory, "record")
        record.touch()
        work = Path(directory, "work")
        work.mkdir()
        outcomes = []
        seen = -1
        while True:
            code, stderr = _run_child([subject, way, f"{package}.{module}", str(record), str(limit)], work)
            lines = [json.loads(line) for line in record.read_text().splitlines()]
            complete = bool(lines) and "complete" in lines[-1]
            if complete and code == 0:
                break
            lost = None if complete or not lines else lines[-1].get("begun")
            name = lost or f"{module}: {'its end' if complete else 'between tests'}"
            outcomes.append(Outcome(name, "failed", True, f"{ENDED} {code}\n{stderr}"))
            if lost is None or len(lines) == seen:
                break
            seen = len(lines)
    overs = (line for line in lines if "over" in line)
    return outcomes + [Outcome(line["over"], line["outcome"], line["counts"], line["text"]) for line in overs]


def is_crash(outcome):
    """Whether the test ended its process by itself."""
    return outcome.text.startswith(ENDED) and HUNG not in outcome.text


def _run_child(arguments, directory):
    """Run the child in a directory that it may litter; return its exit code and the end of its stderr."""
    import loopmod

    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHONASYNCIO")}
    path = [str(Path(loopmod.__file__).parent.parent), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(path)
    process = subprocess.Popen(
        [sys.executable, str(CHILD), *arguments],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        _, stderr = process.communicate(timeout=PROCESS_LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        _, stderr = process.communicate()
    return process.returncode, stderr.decode(errors="replace")[-6000:]
