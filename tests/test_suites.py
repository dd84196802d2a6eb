"""The comparison behind `make test-apps`, on a made-up suite: it names what differs, and sorts out the unsteady."""

import sys
from pathlib import Path

import pytest

SUITES = Path(__file__).resolve().parent / "suites"

pytestmark = pytest.mark.timeout(100)

SUITE = """
import asyncio, pathlib, unittest
import pytest

def loop_name():
    loop = asyncio.new_event_loop()
    loop.close()
    return type(loop).__module__

def test_passes():
    pass

def test_fails_on_both():
    assert False

class TestClass:
    @pytest.mark.parametrize("value", ["a::b", 2])
    def test_differs(self, value):
        assert not loop_name().startswith("loopmod")

class Case(unittest.TestCase):
    def test_is_skipped_on_loopmod(self):
        if loop_name().startswith("loopmod"):
            self.skipTest("here")

def test_fails_once_on_loopmod():
    tried = pathlib.Path("tried")
    if loop_name().startswith("loopmod") and not tried.exists():
        tried.touch()
        assert False

def test_only_loopmod_passes():
    assert loop_name().startswith("loopmod")
"""


@pytest.fixture
def compare(monkeypatch):
    monkeypatch.syspath_prepend(str(SUITES))
    yield pytest.importorskip("compare")
    for name in ("compare", "outcomes"):
        sys.modules.pop(name, None)


def run(compare, directory, text, *arguments):
    (directory / "test_made_up.py").write_text(text, encoding="utf-8")
    (directory / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", encoding="utf-8")
    reports = directory / "reports"
    words = ("-o", "addopts=", "-p", "no:asyncio", "-p", "no:ddtrace", "-p", "no:looptime_plugin", *arguments)
    return compare.compare("made-up", Path(sys.executable), directory, words, reports, {})


def test_differences(compare, tmp_path):
    found = run(compare, tmp_path, SUITE)
    assert found.failed
    assert found.ours == [
        "test_made_up.py::TestClass::test_differs[a::b]",
        "test_made_up.py::TestClass::test_differs[2]",
        "test_made_up.py::Case::test_is_skipped_on_loopmod",
    ]
    assert found.unsteady == ["test_made_up.py::test_fails_once_on_loopmod"]
    rows = [line.split()[1:] for line in compare.table([found]).splitlines()[1:]]
    assert rows == [["asyncio", "5", "2", "0"], ["loopmod", "2", "4", "1", "3", "1"]]


def test_no_difference(compare, tmp_path):
    found = run(compare, tmp_path, SUITE, "-k", "passes and not only")
    assert (found.failed, found.ours, found.unsteady) == (False, [], [])


def test_a_run_that_dies_is_a_failure(compare, tmp_path):
    found = run(compare, tmp_path, SUITE + "\ndef test_dies():\n    import os\n    os._exit(3)\n")
    assert found.failed
    assert all("no report" in found.runs[loop].broken for loop in ("asyncio", "loopmod"))


def test_a_suite_without_tests_is_a_failure(compare, tmp_path):
    assert run(compare, tmp_path, "").failed
