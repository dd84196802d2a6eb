"""Random programs of futures and tasks, and interrupted loads, with fixed seeds; `make model-tasks` plays any number.

That the comparison finds what is wrong is shown on asyncio's own loop with a fault planted; that the rule for
interruptions is looked after, on asyncio as it is, which loses a callback that it has taken out of its queue.
"""

import asyncio
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tasks_compare import FACTORIES, differences, shrunk
from tasks_interrupts import play_point
from tasks_nested import HAS_ORACLE
from tasks_oracle import OracleLoop
from tasks_program import make_program

import loopmod

ROOM = Path(__file__).resolve().parent

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(os.environ.get("PYTHON")), reason="played on the default interpreter only"),
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(autouse=True)
def frozen():
    """Each play collects what it left: not what there was before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("name, is_python, first, count", [
    ("new_event_loop", False, 0, 350),
    ("new_event_loop", False, 1000, 350),
    ("new_event_loop", True, 2000, 50),
    ("new_server_loop", False, 3000, 100),
])  # fmt: skip
def test_same_log_as_asyncio(name, is_python, first, count):
    for seed in range(first, first + count):
        wrong = differences(make_program(seed), FACTORIES[name], is_python)
        how = f"--factory {name}{' --python-tasks' if is_python else ''} --shrink"
        assert wrong == [], f"see: python tests/model/tasks {seed} {how}"


@pytest.mark.skipif(not HAS_ORACLE, reason="nest_asyncio has no answer on 3.14 and later")
def test_same_log_with_runs_within_runs():
    """In a process of its own: what permits them cannot be undone."""
    command = [sys.executable, ROOM, "--nested", "--count", "250"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "250 programs" in done.stdout and ": 0 fail" in done.stdout


class NestedLoop(OracleLoop):
    """Puts off, for ever, what was ready when a run within its run began; or the run around it forgets the order."""

    fault = None

    def run_until_complete(self, future):
        if self.is_running() and len(self._ready) > 1:
            if self.fault == "lost":
                self._ready.remove(next(handle for handle in self._ready if "beat" not in repr(handle)))
            else:
                self._ready.rotate(1)
        return super().run_until_complete(future)


@pytest.mark.skipif(not HAS_ORACLE, reason="nest_asyncio has no answer on 3.14 and later")
@pytest.mark.parametrize("fault", ["lost", "order"])
def test_a_fault_of_nested_runs_is_found(fault):
    factory = type("Loop", (NestedLoop,), {"fault": fault})
    child = os.fork()
    if child == 0:
        try:
            found = any(differences(make_program(seed, is_nested=True), factory) for seed in range(100))
            os._exit(0 if found else 3)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


class CarelessTask(asyncio.Task):
    def cancel(self, msg=None):
        return super().cancel()


class CarelessFuture(asyncio.Future):
    def add_done_callback(self, callback, *, context=None):
        super().add_done_callback(callback)


class FaultyLoop(OracleLoop):
    fault = None
    calls = 0

    def call_soon(self, callback, *args, context=None):
        self.calls += 1
        if self.fault == "order" and len(self._ready) > 2:
            self._ready.rotate(1)
        if self.fault == "own context":
            context = None
        return super().call_soon(callback, *args, context=context)

    def call_at(self, when, callback, *args, context=None):
        if self.fault == "ties":
            return asyncio.SelectorEventLoop.call_at(self, when, callback, *args, context=context)
        return super().call_at(when - (self.fault == "early"), callback, *args, context=context)

    def create_task(self, coro, **more):
        if self.fault == "message dropped":
            more.pop("eager_start", None)
            return CarelessTask(coro, loop=self, **more)
        return super().create_task(coro, **more)

    def create_future(self):
        return CarelessFuture(loop=self) if self.fault == "context dropped" else super().create_future()

    def call_exception_handler(self, context):
        if self.fault == "untold":
            context.pop("exception", None)
        super().call_exception_handler(context)


FAULTS = ["order", "own context", "early", "message dropped", "context dropped", "untold", "ties"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault):
    factory = type("Loop", (FaultyLoop,), {"fault": fault})
    assert any(differences(make_program(seed), factory) for seed in range(150))


def test_a_failing_program_shrinks():
    factory = type("Loop", (FaultyLoop,), {"fault": "early"})
    seed = next(seed for seed in range(100) if differences(make_program(seed), factory))
    smaller = shrunk(make_program(seed), factory)
    assert len(smaller.show()) < len(make_program(seed).show())
    assert differences(smaller, factory)


def test_a_seed_is_a_program():
    for seed in range(50):
        assert vars(make_program(seed)) == vars(make_program(seed))
        assert vars(make_program(seed, True)) == vars(make_program(seed, True))


# Interruptions


@pytest.mark.parametrize("name, first, count", [("new_event_loop", 0, 300), ("new_server_loop", 1000, 100)])
def test_nothing_is_lost_by_an_interruption(name, first, count):
    for seed in range(first, first + count):
        _, wrong = play_point(seed, FACTORIES[name])
        assert wrong == [], f"see: python tests/model/tasks {seed} --interrupts --factory {name}"


class TwiceLoop(loopmod.Loop):
    """Runs again what was interrupted."""

    def call_soon(self, callback, *args, context=None):
        self.last = callback, args
        return super().call_soon(callback, *args, context=context)

    def run_forever(self):
        try:
            super().run_forever()
        except BaseException:
            callback, args = self.last
            super().call_soon(callback, *args)
            raise


@pytest.mark.parametrize("factory, what", [(asyncio.SelectorEventLoop, "lost"), (TwiceLoop, "twice")])
def test_a_broken_rule_is_found(factory, what):
    for seed in range(400):
        _, wrong = play_point(seed, factory)
        if any(text.startswith(what) for text in wrong):
            return
    pytest.fail("not found")
