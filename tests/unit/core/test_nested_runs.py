"""Runs within runs: refused as asyncio refuses them, until the program asks; then right at every level.

Covers core/run.c and loopmod/nested.py. Relies on the fixtures of tests/conftest.py for the refusals. What is
permitted cannot be forbidden again, so each of the other cases (nested_cases.py) has a process of its own.
"""

import asyncio
import os
import subprocess
import sys

import nested_cases
import pytest
from child_support import inherited_path
from loop_support import give, nested_run_breaks_the_outer

pytestmark = pytest.mark.timeout(60)

ONLY = os.environ.get("LOOPMOD_TEST_ONLY")


def refusal(run, coro):
    with pytest.raises(RuntimeError) as caught:
        run(coro)
    coro.close()
    return str(caught.value)


@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
@pytest.mark.parametrize("where", ["task", "callback", "stdlib task"])
def test_refused_without_permission(kind, new_loop, where):
    loop, other = new_loop(), new_loop()
    broken = nested_run_breaks_the_outer(kind)
    seen = []

    def ask():
        # It has made no loop when it refuses, so that there is nothing to close.
        seen.append(refusal(asyncio.Runner(loop_factory=new_loop).run, give(1)))
        seen.append(refusal(asyncio.run, give(1)))
        seen.append(refusal(other.run_until_complete, give(1)))
        seen.append(refusal(loop.run_until_complete, give(1)))
        if not broken:
            with pytest.raises(RuntimeError) as caught:
                loop.run_forever()
            seen.append(str(caught.value))
            assert loop.is_running() and asyncio.get_running_loop() is loop

    async def main():
        if where == "callback":
            done = loop.create_future()
            loop.call_soon(lambda: (ask(), done.set_result(None)))
            await done
        else:
            ask()
        return "goes on" if broken else await give("goes on")

    program = main()
    if where == "stdlib task":
        program = asyncio.Task(program, loop=loop)
    assert loop.run_until_complete(program) == "goes on"
    running = "This event loop is already running"
    expected = [
        "Runner.run() cannot be called from a running event loop",
        "asyncio.run() cannot be called from a running event loop",
        "Cannot run the event loop while another loop is running",
        running,
    ]
    assert seen == expected + ([] if broken else [running])


def run_case(way, name, *options):
    return subprocess.run(
        # What nest_asyncio imports and leaves open is not what is looked at here.
        [sys.executable, *options, nested_cases.__file__, way, name],
        env={**os.environ, "PYTHONPATH": inherited_path(), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.parametrize("way", nested_cases.WAYS)
@pytest.mark.parametrize("name", nested_cases.CASES)
def test_case(name, way):
    if way != "allowed":
        pytest.importorskip("nest_asyncio")
    if way == "oracle":
        if not nested_cases.CASES[name].has_oracle:
            pytest.skip("the loop's own choice, not stock asyncio's")
        if sys.version_info >= (3, 14):
            pytest.skip("nest_asyncio does not keep the current task of stock asyncio on 3.14")
    if ONLY and ONLY != ("asyncio" if way == "oracle" else "loopmod"):
        pytest.skip("LOOPMOD_TEST_ONLY")
    done = run_case(way, name)
    assert (done.stdout, done.stderr, done.returncode) == ("held\n", "", 0)


@pytest.mark.skipif(ONLY == "asyncio", reason="LOOPMOD_TEST_ONLY leaves loopmod out")
@pytest.mark.parametrize("name", nested_cases.CASES)
def test_case_in_debug_mode(name):
    done = run_case("allowed", name, "-X", "dev", "-W", "ignore")
    assert (done.stdout, done.stderr, done.returncode) == ("held\n", "", 0)
