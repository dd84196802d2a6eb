"""The places that errors and warnings name: with loopmod, the program's and asyncio's own, as without it.

Covers loopmod/launch.py and what the C core adds to tracebacks, which is nothing. Each program runs by python
alone, with loopmod installed and under `python -m loopmod`; standard error is compared.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from child_support import environment

import loopmod

pytestmark = pytest.mark.timeout(60)

ROOT = Path(loopmod.__file__).parent.parent
PROGRAMS = {
    "run": "asyncio.run(fail())",
    "runner": "with asyncio.Runner() as runner:\n    runner.run(fail())",
    "run_until_complete": "loop = asyncio.new_event_loop()\ntry:\n    loop.run_until_complete(fail())\n"
    "finally:\n    loop.close()",
    "by keyword": "loop = asyncio.new_event_loop()\ntry:\n    loop.run_until_complete(future=fail())\n"
    "finally:\n    loop.close()",
    "of a closed loop": "loop = asyncio.new_event_loop()\nloop.close()\nasync def f(): pass\ncoro = f()\n"
    "try:\n    loop.run_until_complete(coro)\nfinally:\n    coro.close()",
}
START = "import asyncio\nasync def fail():\n    await asyncio.sleep(0)\n    1 / 0\n"
LOST = """
import asyncio, gc
async def lost():
    pass
def deep(n):
    return deep(n - 1) if n else lost()
async def main():
    deep({depth})
    await asyncio.sleep(0)
asyncio.run(main())
"""
CREATED = """
import asyncio, gc, sys
def show(loop, context):
    print(context["message"], *context["source_traceback"].format(), sep="\\n", file=sys.stderr)
async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(show)
    loop.create_future().set_exception(ValueError())
    loop.call_soon(lambda: 1 / 0)
    await asyncio.sleep(0.01)
    gc.collect()
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
"""


@pytest.fixture
def errors(tmp_path):
    """Run a program; return its standard error without addresses and line numbers of asyncio's files."""

    def run(program, *words, before="", flags=()):
        (tmp_path / "start.py").write_text(before + "\n" + program, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, *flags, *words, "start.py"],
            cwd=tmp_path,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        return done.stderr

    return run


@pytest.mark.parametrize("name", PROGRAMS)
def test_tracebacks_show_no_frame_of_ours(errors, name):
    program = START + PROGRAMS[name]
    expected = errors(program)
    assert "start.py" in expected and "asyncio" in expected
    assert errors(program, before="import loopmod; loopmod.install()") == expected
    assert errors(program, "-m", "loopmod") == expected


@pytest.mark.parametrize("depth", [0, 3, 20])
def test_places_of_a_coroutine_that_nobody_awaited(errors, depth):
    program = LOST.replace("{depth}", str(depth))
    expected = errors(program, flags=("-X", "dev"))
    assert "Coroutine created at" in expected and "deep" in expected
    seen = errors(program, "-m", "loopmod", flags=("-X", "dev"))
    # Both name at most ten places, of which asyncio's turn, which ours does in C, takes some.
    assert places(seen)[-len(places(expected)) :] == places(expected)
    assert "start.py" in seen.partition("Coroutine created at (most recent call last)\n")[2].splitlines()[0]


def test_asyncio_frames_that_are_c_here(errors):
    plain = errors(CREATED, flags=("-X", "dev"))
    assert "in run_forever" in plain and "in _run_once" in plain and "in _run\n" in plain
    seen = errors(CREATED, "-m", "loopmod", flags=("-X", "dev"))
    assert not re.search(r"in (run_forever|_run_once|_run)\n", seen)
    assert "in run_until_complete\n" in seen


def places(text):
    """The lines of the program that are named, in order; how asyncio calls them is its own affair."""
    assert not re.search(r'File ".*/loopmod/(launch|__main__)\.py"', text), text
    return re.findall(r'File "[^"]*start\.py", (line \d+, in .*)', text)


def test_places_of_futures_and_handles(errors):
    expected = errors(CREATED, flags=("-X", "dev"))
    assert len(places(expected)) >= 3
    assert places(errors(CREATED, "-m", "loopmod", flags=("-X", "dev"))) == places(expected)


def test_warnings_of_a_program_come_from_its_place(errors):
    program = "async def lost(): pass\nlost()\n"
    expected = errors(program)
    assert "start.py:3: RuntimeWarning: coroutine 'lost' was never awaited" in expected
    assert errors(program, "-m", "loopmod") == expected
