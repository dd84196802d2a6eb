"""The runner itself, on a made-up suite: failures, crashes and hangs are named, and the rest runs on behind them."""

import textwrap
from concurrent.futures import Future

import inapplicable
import pytest
import runner
import test_stdlib

SUITE = """
    import asyncio, ctypes, os, threading, unittest

    class Cases(unittest.TestCase):
        def test_a_counts(self):
            asyncio.new_event_loop().close()

        def test_b_counts_not(self):
            pass

        def test_c_crashes(self):
            os.abort()

        def test_d_counts_too(self):
            asyncio.SelectorEventLoop(None).close()

        def test_e_hangs(self):
            threading.Event().wait()

        def test_f_hangs_with_the_gil(self):
            ctypes.PyDLL(None).pause()

        def test_g_fails(self):
            self.fail("wrong")

        def test_h_fails_in_a_part(self):
            for part in range(3):
                with self.subTest(part=part):
                    self.assertNotEqual(part, 1)

        def test_i_is_skipped(self):
            self.skipTest("why not")

    @unittest.skip("all of it")
    class Skipped(unittest.TestCase):
        def test_never(self):
            raise AssertionError

    class Unready(unittest.TestCase):
        @classmethod
        def setUpClass(cls):
            raise RuntimeError("no way")

        def test_never(self):
            raise AssertionError
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Name of a package whose modules the runner finds; modules are put into it by name."""
    folder = tmp_path / "made_up"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def put(**modules):
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        return folder.name

    return put


def test_every_outcome_is_named(package):
    outcomes = runner.run_module("loopmod", "loop", "test_cases", package(test_cases=SUITE), 2)
    by_name = {outcome.name.removeprefix("test_cases.Cases.test_"): outcome for outcome in outcomes}
    assert {name: outcome.outcome for name, outcome in by_name.items()} == {
        "a_counts": "passed",
        "b_counts_not": "passed",
        "c_crashes": "failed",
        "d_counts_too": "passed",
        "e_hangs": "failed",
        "f_hangs_with_the_gil": "failed",
        "g_fails": "failed",
        "h_fails_in_a_part": "failed",
        "i_is_skipped": "skipped",
        "test_cases.Skipped.test_never": "skipped",
        "setUpClass (made_up.test_cases.Unready)": "failed",
    }
    assert by_name["a_counts"].counts and by_name["d_counts_too"].counts
    assert not by_name["b_counts_not"].counts
    assert "ended with -6" in by_name["c_crashes"].text
    for name in ("e_hangs", "f_hangs_with_the_gil"):
        assert "Timeout" in by_name[name].text and name in by_name[name].text
    assert "wrong" in by_name["g_fails"].text
    assert "part=1" in by_name["h_fails_in_a_part"].text


@pytest.mark.parametrize(
    "text, said",
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("import atexit, os\natexit.register(os._exit, 3)", "ended with 3"),
        ("import os\nos._exit(4)", "ended with 4"),
    ],
    ids=["import", "exit", "at once"],
)
def test_a_process_that_fails_outside_of_tests_is_a_failure(package, text, said):
    (outcome,) = runner.run_module("loopmod", "loop", "test_bad", package(test_bad=text))
    assert outcome.outcome == "failed"
    assert "test_bad" in outcome.name
    assert said in outcome.text


def test_patterns_of_what_cannot_apply():
    assert inapplicable.reason_against("test_events.PollEventLoopTests.test_anything")
    assert inapplicable.reason_against("test_events.EPollEventLoopTests.test_anything") is None
    for reason in (*inapplicable.MODULES.values(), *inapplicable.TESTS.values()):
        assert len(reason) > 5


@pytest.mark.skipif(not runner.suite_modules(), reason="this interpreter comes without its test package")
def test_runs_that_there_are():
    runs = list(runner.runs())
    assert len(runs) == len(set(runs))
    assert ("loop", "test_events") in runs
    assert {("types", "test_tasks"), ("both", "test_tasks")} <= set(runs)
    assert not any(module in inapplicable.MODULES for _, module in runs)


HANG = f"{runner.ENDED} 1\n{runner.HUNG}0:01:00)!"


@pytest.mark.parametrize(
    "first, second, verdict",
    [
        ("wrong", None, "passed"),
        ("wrong", "wrong", "failed"),
        (f"{runner.ENDED} -11", None, "failed"),
        (HANG, None, "passed"),
    ],
    ids=["once", "twice", "crash", "hang"],
)
def test_a_test_that_fails_once_is_run_again(monkeypatch, first, second, verdict):
    def outcomes(text):
        return [runner.Outcome("case", "failed" if text else "passed", True, text or "")]

    monkeypatch.setattr(runner, "run_module", lambda subject, way, module: outcomes(second))
    results = {("loop", "module"): Future()}
    results["loop", "module"].set_result(outcomes(first))
    with pytest.warns(UserWarning, match="failed in the first run"):
        if verdict == "failed":
            with pytest.raises(pytest.fail.Exception, match="case"):
                test_stdlib.test_suite(("loop", "module"), results)
        else:
            test_stdlib.test_suite(("loop", "module"), results)
