"""Debuggers, tracers, clocks and profilers report of a program on loopmod what they report of it on asyncio.

Each program of examples/recipes/tools is started as a user starts it, `python` before it or `python -m loopmod`, and
prints its loop and then what the tool said. What needs a package that is not installed is skipped.
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import dap
import pytest
from servers import free_ports

pytestmark = pytest.mark.timeout(100)

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "examples" / "recipes" / "tools"
TARGET = RECIPES / "target.py"
SCRIPTS = Path(sysconfig.get_path("scripts"))
ENVIRONMENT = {
    **{
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHONASYNCIO", "COVERAGE", "DD_"))
    },
    "PYTHONPATH": os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)]),
    "PYTHONWARNINGS": "ignore",
}
LOOPS = {"asyncio": "asyncio.unix_events", "loopmod": "loopmod.loop"}
START = {"asyncio": [], "loopmod": ["-m", "loopmod"]}

# What each prints after the name of its loop.
REPORTS = {
    "aiodebug_slow": [
        "of_task True",
        "of_call_soon True",
        "of_call_later True",
        "of_future True",
        "of_call_soon_threadsafe True",
    ],
    "aiomonitor_tasks": ["True True", "True True", "True True"],
    "blockbuster_calls": [
        "sleeps raised Blocking call to time.sleep",
        "reads raised Blocking call to socket.socket.send",
        "lists raised Blocking call to os.listdir",
        "['Blocking call to time.sleep', 'Blocking call to time.sleep']",
        r"[b'line\n', 7, 1, b'bytes', b'child\n']",
    ],
    "ddtrace_spans": [
        "elsewhere<root gather<thread group<root orphan<None root<None task<root thread<root",
        "made: True, run: True",
    ],
    "freezegun_time": [
        "[0.0, '2030-01-01T00:59:59', 'hour', 3601.0]",
        "['2030-01-01', True]",
        "['2030-01-01T00:00:00', True]",
        "True",
    ],
    "greenback_sqlalchemy": [
        """[["Rocannon's World", 'The Dispossessed'], ['Solaris']]""",
        """['Solaris'] ["Rocannon's World", 'The Dispossessed']""",
        "cancelled",
        "portal from outside",
    ],
    "looptime_hour": [
        "0.0 an hour 3600.0",
        "timeout at 3660.0",
        "[10.0, 20.0, 30.0]",
        "b'x' thread",
        "b'y'",
        "in no time",
    ],
    "opentelemetry_spans": [
        "asyncio coro-fails < root ERROR",
        *["asyncio coro-fetch < root UNSET"] * 3,
        "asyncio coro-slow < root UNSET",
        "asyncio future < root UNSET",
        "asyncio to_thread-blocking < root UNSET",
        *["inner < root UNSET"] * 3,
        "root < None UNSET",
        "coroutine fails exception: 1, coroutine fetch finished: 3, coroutine slow cancelled: 1, "
        "future finished: 1, to_thread blocking finished: 1",
    ],
    "pyleak_tasks": ["left ['forever']", "True", "nothing left"],
    "sentry_tasks": [
        "ValueError of a task asyncio {'mine': 'yes'} bad",
        "transaction: ['bad internal_error', 'good None', 'good None']",
    ],
    "yappi_wall": ["waits 2 enough", "works 1 enough"],
}
PACKAGES = {
    "greenback_sqlalchemy": ["greenback", "sqlalchemy", "aiosqlite"],
    "opentelemetry_spans": ["opentelemetry.sdk", "opentelemetry.instrumentation.asyncio"],
    "sentry_tasks": ["sentry_sdk"],
}


def need(*packages):
    for name in packages:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            pytest.skip(f"{name} is not installed")


@pytest.fixture
def start(kind):
    """The words between `python` and the program, on the loop under test."""
    return START[kind]


def run_command(*command, cwd=None, **environment):
    """Run a command to its end; return what it printed."""
    done = subprocess.run(
        [*map(str, command)],
        cwd=cwd,
        env=ENVIRONMENT | environment,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextlib.contextmanager
def started(*command):
    """A process that runs a command, ended at the latest when the block is left."""
    with subprocess.Popen([*map(str, command)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_every_recipe_is_tested():
    assert {*REPORTS, TARGET.stem} == {path.stem for path in RECIPES.glob("*.py")}


@pytest.mark.parametrize("recipe", REPORTS)
def test_report(recipe, kind, debug, start):
    need(*PACKAGES.get(recipe, [recipe.partition("_")[0]]))
    said = run_command(sys.executable, *start, RECIPES / f"{recipe}.py", PYTHONASYNCIODEBUG="1" if debug else "")
    assert said.splitlines() == [LOOPS[kind], *REPORTS[recipe]]


PYTEST_PROJECT = """
import asyncio, time
import pytest

@pytest.mark.asyncio
@pytest.mark.looptime(start=100)
async def test_hour(looptime):
    began = time.monotonic()
    await asyncio.sleep(3600)
    assert looptime == 3700
    assert time.monotonic() - began < 60

@pytest.mark.asyncio
async def test_real_time():
    loop = asyncio.get_running_loop()
    assert type(loop).__mro__[2].__module__ == LOOP
    began = time.monotonic()
    await asyncio.sleep(0.01)
    assert time.monotonic() - began >= 0.01

@pytest.mark.no_leaks(tasks=True, blocking=False, threads=False)
@pytest.mark.asyncio
async def test_clean():
    await asyncio.create_task(asyncio.sleep(0))

@pytest.mark.no_leaks(tasks=True, blocking=False, threads=False)
@pytest.mark.asyncio
async def test_leaks():
    test_leaks.left = asyncio.create_task(asyncio.Event().wait(), name="left-behind")
    await asyncio.sleep(0)
"""


def test_pytest_plugins(kind, tmp_path):
    need("looptime", "pyleak", "pytest_asyncio")
    (tmp_path / "test_project.py").write_text(f"LOOP = {LOOPS[kind]!r}\n{PYTEST_PROJECT}")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:ddtrace"]
    words += ["-p", "loopmod.pytest_plugin", "--loopmod"] if kind == "loopmod" else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "."],
        cwd=tmp_path,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert "1 failed, 3 passed" in done.stdout, done.stdout + done.stderr
    assert "left-behind" in done.stdout.partition("test_leaks")[2]


def test_ddtrace_run(kind, start):
    need("ddtrace")
    program = [*start, RECIPES / "ddtrace_spans.py"]
    said = run_command(SCRIPTS / "ddtrace-run", sys.executable, *program, DD_TRACE_STARTUP_LOGS="false")
    assert said.splitlines() == [LOOPS[kind], *REPORTS["ddtrace_spans"]]


@pytest.mark.parametrize("core", ["ctrace", "pytrace", "sysmon"])
def test_coverage_of_coroutines(core, kind, start, tmp_path):
    need("coverage")
    if core == "sysmon" and sys.version_info < (3, 12):
        pytest.skip("sys.monitoring is new in Python 3.12")
    own = [sys.executable, "-m", "coverage"]
    said = run_command(*own, "run", f"--include={TARGET}", *start, TARGET, 0.02, cwd=tmp_path, COVERAGE_CORE=core)
    assert said.splitlines() == [LOOPS[kind], "[True, True]"]
    run_command(*own, "json", cwd=tmp_path)
    report = json.loads((tmp_path / "coverage.json").read_text())
    (measured,) = report["files"].values()
    assert measured["missing_lines"] == []
    assert len(measured["executed_lines"]) >= 25


def test_viztracer_of_tasks(kind, start, tmp_path):
    need("viztracer")
    options = ["-m", "viztracer", "--quiet", "--log_async", "--ignore_c_function", "-o", tmp_path / "out.json"]
    said = run_command(sys.executable, *options, *(start or ["--"]), TARGET, 0.02)
    assert said.splitlines() == [LOOPS[kind], "[True, True]"]
    events = json.loads((tmp_path / "out.json").read_text())["traceEvents"]
    rows = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    calls = [(rows[event["tid"]], event["name"].split()[0]) for event in events if event["ph"] == "X"]
    for task in ("branch-0", "branch-1"):
        # A coroutine that goes on after an await is a call of its own.
        assert [name for row, name in calls if row == task].count("compute") == 4
        assert (task, "leaf") in calls and (task, "branch") in calls


def py_spy(*arguments):
    """Run py-spy; skip where the kernel lets nobody trace."""
    program = SCRIPTS / "py-spy"
    if not program.exists():
        pytest.skip("py-spy is not installed")
    done = subprocess.run(
        [program, *map(str, arguments)], env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    if "ermission denied" in done.stderr or "not permitted" in done.stderr:
        pytest.skip("ptrace is refused")
    if "Failed to find python version" in done.stderr or "Unsupported version" in done.stderr:
        pytest.skip("py-spy does not know this Python")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("options", [[], ["--native"]], ids=["python", "native"])
def test_py_spy_dump(options, kind, start):
    with started(sys.executable, *start, TARGET, 60) as process:
        assert process.stdout.readline().strip() == LOOPS[kind]
        said = py_spy("dump", *options, "--pid", process.pid)
    frames = [line.split()[0] for line in said.splitlines() if "target.py:" in line]
    assert frames in (
        ["compute", "leaf", "branch", "<module>"],
        ["<genexpr>", "compute", "leaf", "branch", "<module>"],
    )


def test_py_spy_record(kind, start, tmp_path):
    out = tmp_path / "stacks"
    py_spy("record", "--format=raw", "--duration=30", "--output", out, "--", sys.executable, *start, TARGET, 0.5)
    stacks = [line.rpartition(" ")[0] for line in out.read_text().splitlines()]
    names = [[frame.split()[0] for frame in stack.split(";") if "target.py:" in frame] for stack in stacks]
    assert ["<module>", "branch", "leaf", "compute"] in names


def test_debugpy_breakpoint_in_a_coroutine(kind, start):
    need("debugpy")
    line = 1 + TARGET.read_text().splitlines().index("    rounds = compute(seconds)")
    (port,) = free_ports(1)
    options = ["-Xfrozen_modules=off", "-m", "debugpy", "--listen", f"127.0.0.1:{port}", "--wait-for-client"]
    options += ["--configure-subProcess", "false"]
    with (
        started(sys.executable, *options, *start, TARGET, 0.02) as process,
        dap.connect(port, process) as client,
    ):
        client.call("initialize", adapterID="test", pathFormat="path")
        attached = client.send("attach", justMyCode=True, redirectOutput=False)
        client.event("initialized")
        client.call("setBreakpoints", source={"path": str(TARGET)}, breakpoints=[{"line": line}])
        client.call("configurationDone")
        client.answer(attached)

        def stopped():
            thread = client.event("stopped")["threadId"]
            frames = client.call("stackTrace", threadId=thread)["stackFrames"]
            (scope,) = (
                one for one in client.call("scopes", frameId=frames[0]["id"])["scopes"] if one["name"] == "Locals"
            )
            variables = client.call("variables", variablesReference=scope["variablesReference"])["variables"]
            own = [frame["name"] for frame in frames if frame["source"]["path"].endswith("target.py")]
            return thread, frames[0], own, {one["name"]: one["value"] for one in variables}

        thread, frame, names, values = stopped()
        assert names == ["leaf", "branch", "<module>"]
        assert values == {"seconds": "0.0025"}
        task = client.call(
            "evaluate", expression="asyncio.current_task().get_name()", frameId=frame["id"], context="repl"
        )
        assert task["result"] == "'branch-0'"
        # Over the call, then over the await: the step ends where the coroutine goes on.
        for later in (1, 2):
            client.call("setBreakpoints", source={"path": str(TARGET)}, breakpoints=[])
            client.call("next", threadId=thread)
            thread, frame, names, values = stopped()
            assert (frame["line"], names) == (line + later, ["leaf", "branch", "<module>"])
        assert set(values) == {"seconds", "rounds"}
        client.call("continue", threadId=thread)
        client.event("terminated")
        client.close()  # the adapter ends with it
        assert process.communicate(timeout=20)[0].splitlines() == [LOOPS[kind], "[True, True]"]
