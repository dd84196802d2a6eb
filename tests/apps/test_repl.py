"""The REPL of `python -m loopmod`, typed into through a pseudo-terminal; `python -m asyncio` is the oracle.

Relies on pexpect and on `kind` of tests/conftest.py, here the module whose REPL is run. What is expected never
stands in what is typed, since a terminal echoes that. Nothing is timed: each key is sent when the shell has shown
that it waits for it.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

import loopmod

pytestmark = [
    pytest.mark.timeout(100),
    # pytest's own watchdog is the other thread.
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

PROMPT = ">>> "
CTRL_C, CTRL_D, TAB, UP = "\x03", "\x04", "\t", "\x1bOA"
BANNER = f"loopmod {loopmod.__version__} is the event loop of this shell."
# From 3.13 on lines are edited in Python; before that by the readline library alone.
IS_EDITED_IN_PYTHON = sys.version_info >= (3, 13)
HELPERS = """
import asyncio
async def wait():
    try:
        print("wait" + "ing")
        await asyncio.sleep(60)
    finally:
        print("clean" + "ed")
async def leave(code):
    await asyncio.sleep(0)
    raise SystemExit(code)
"""
needs_line_editor = pytest.mark.skipif(
    not IS_EDITED_IN_PYTHON, reason="before 3.13 asyncio's REPL completes nothing and keeps no history file"
)
MODULES = {"asyncio": "asyncio.unix_events", "loopmod": "loopmod.loop"}


@pytest.fixture
def environment(tmp_path):
    removed = ("PYTHONASYNCIODEBUG", "PYTHONSTARTUP", "PYTHON_BASIC_REPL", "FORCE_COLOR", "PYTHONDEVMODE")
    kept = {name: value for name, value in os.environ.items() if name not in removed}
    home = {"HOME": str(tmp_path), "PYTHON_HISTORY": str(tmp_path / "history"), "INPUTRC": os.devnull}
    path = str(Path(loopmod.__file__).parent.parent)
    return {**kept, **home, "PYTHONPATH": path, "NO_COLOR": "1", "TERM": "xterm"}


@pytest.fixture
def spawn(tmp_path, environment):
    """Start python with these words on a pseudo-terminal, in a directory with a module `helpers`."""
    (tmp_path / "helpers.py").write_text(HELPERS, encoding="utf-8")
    shells = []

    def start(*words, **changes):
        env = {**environment, **changes}
        shell = pexpect.spawn(sys.executable, list(words), env=env, cwd=str(tmp_path), timeout=20, encoding="utf-8")
        shell.setwinsize(50, 200)
        shells.append(shell)
        return shell

    yield start
    for shell in shells:
        shell.close(force=True)


@pytest.fixture
def open_shell(spawn, kind):
    """Open the REPL and wait for its first prompt."""

    def start(*words, **changes):
        shell = spawn("-m", kind, *words, **changes)
        shell.expect_exact("import asyncio")
        shell.expect_exact(PROMPT)
        return shell

    return start


@pytest.fixture
def shell(open_shell):
    return open_shell()


def ask(shell, line, answer):
    """Type a line, wait for the answer and for the next prompt."""
    shell.send(line + "\r")
    shell.expect_exact(answer)
    shell.expect_exact(PROMPT)


def expect_typed(shell, text):
    """Wait until the line editor has drawn the text, in which it may move the cursor between any two characters."""
    shell.expect(r"(?:\x1b\[[0-9;?]*[@-~])*".join(map(re.escape, text)))


def exit_code(shell):
    """Wait for the end; return the exit code, or the signal as a negative number."""
    shell.expect(pexpect.EOF)
    shell.close()
    return shell.exitstatus if shell.signalstatus is None else -shell.signalstatus


# --- what is typed is run ---------------------------------------------------------------------------------


def test_banner(spawn, kind):
    shell = spawn("-m", kind)
    if kind == "loopmod":
        shell.expect_exact(BANNER)
    shell.expect_exact("asyncio REPL 3.")
    shell.expect_exact("import asyncio")


def test_await_at_the_top_level(shell, kind):
    ask(shell, "await asyncio.sleep(0.01, 6 * 7)", "42")
    ask(shell, "x = [await asyncio.sleep(0, i) for i in (5, 6)]; x[0] * x[1]", "30")
    ask(shell, "type(asyncio.get_running_loop()).__module__.upper()", MODULES[kind].upper())
    ask(shell, "x[0] - 12", "-7")


def test_statement_of_several_lines(shell):
    # The line editor of 3.13 indents by itself.
    shell.send("async def f():\r")
    shell.expect_exact("... ")
    shell.send("return 6 * 7\r" if IS_EDITED_IN_PYTHON else "    return 6 * 7\r")
    shell.expect_exact("... ")
    shell.send("\r")
    shell.expect_exact(PROMPT)
    ask(shell, "await f()", "42")


def test_task_in_the_background(shell):
    # It runs while the shell waits for keys.
    ask(shell, "task = asyncio.create_task(asyncio.sleep(0.01, 6 * 7)); task.done()", "False")
    ask(shell, "await asyncio.wait([task]); task.result()", "42")


def test_loop_stays_one_loop(shell):
    ask(shell, "loop = asyncio.get_running_loop(); len('abcde')", "5")
    ask(shell, "await asyncio.sleep(0); loop is asyncio.get_running_loop()", "True")


def test_exceptions(shell):
    ask(shell, "1 / 0", "ZeroDivisionError: division by zero")
    ask(shell, "await asyncio.wait_for(asyncio.sleep(60), 0.01)", "TimeoutError")
    ask(shell, "if x", "SyntaxError")
    ask(shell, "6 * 7", "42")


def test_debug_mode(spawn):
    shell = spawn("-m", "loopmod", "--debug")
    shell.expect_exact(PROMPT)
    ask(shell, "str(asyncio.get_running_loop().get_debug()).upper()", "TRUE")


def test_dash_on_a_terminal(spawn):
    shell = spawn("-m", "loopmod", "-")
    shell.expect_exact(BANNER)
    shell.expect_exact(PROMPT)
    ask(shell, "await asyncio.sleep(0, 6 * 7)", "42")


def test_program_talks_to_the_terminal(spawn):
    code = "import asyncio\nasync def f(): print(int(input('how many? ')) * 2)\nasyncio.run(f())"
    shell = spawn("-m", "loopmod", "-c", code)
    shell.expect_exact("how many? ")
    shell.send("21\r")
    shell.expect_exact("42")
    assert exit_code(shell) == 0


# --- keys -------------------------------------------------------------------------------------------------


def test_ctrl_c_at_the_prompt(shell):
    if IS_EDITED_IN_PYTHON:
        shell.send("this is left")
        expect_typed(shell, "left")
        shell.send(CTRL_C)
        shell.expect_exact("KeyboardInterrupt")
        shell.expect_exact(PROMPT)
    else:
        shell.send(CTRL_C)
    ask(shell, "6 * 7", "42")
    ask(shell, "await asyncio.sleep(0.01, 5 * 7)", "35")


def test_ctrl_c_during_an_await(shell):
    shell.send("from helpers import wait; await wait()\r")
    shell.expect_exact("waiting")
    shell.send(CTRL_C)
    shell.expect_exact("cleaned")
    shell.expect_exact("KeyboardInterrupt")
    ask(shell, "6 * 7", "42")
    ask(shell, "await asyncio.sleep(0.01, 5 * 7)", "35")


def test_ctrl_c_in_code_that_blocks_the_loop(shell):
    shell.send("import time; print('block' + 'ing'); time.sleep(60)\r")
    shell.expect_exact("blocking")
    shell.send(CTRL_C)
    # 3.14 shows the prompt alone.
    shell.expect_exact(PROMPT)
    ask(shell, "await asyncio.sleep(0.01, 6 * 7)", "42")


def test_ctrl_d(shell):
    shell.send(CTRL_D)
    shell.expect_exact("exiting asyncio REPL...")
    assert exit_code(shell) == 0


def test_history(shell):
    ask(shell, "6 * 7", "42")
    shell.send(UP)
    expect_typed(shell, "6 * 7")
    shell.send("\r")
    shell.expect_exact("42")


@needs_line_editor
def test_history_of_the_last_session(open_shell):
    first = open_shell()
    ask(first, "6 * 7", "42")
    first.send(CTRL_D)
    assert exit_code(first) == 0
    second = open_shell()
    second.send(UP)
    expect_typed(second, "6 * 7")
    second.send("\r")
    second.expect_exact("42")


@needs_line_editor
@pytest.mark.parametrize("basic", ["", "1"])
def test_tab_completes(open_shell, basic):
    shell = open_shell(PYTHON_BASIC_REPL=basic)
    ask(shell, "a_rather_long_name = 6 * 7; len('abc')", "3")
    shell.send("a_rather" + TAB)
    expect_typed(shell, "_name")
    shell.send("\r")
    shell.expect_exact("42")
    shell.expect_exact(PROMPT)
    shell.send("asyncio.sleep.__na" + TAB)
    expect_typed(shell, "me__")


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asyncio's REPL reads no startup file before 3.13")
def test_startup_file(open_shell, tmp_path):
    (tmp_path / "startup.py").write_text("value = 41", encoding="utf-8")
    shell = open_shell(PYTHONSTARTUP=str(tmp_path / "startup.py"))
    ask(shell, "value + 1", "42")


# --- how it ends ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "code"),
    [("exit()", 0), ("exit(3)", 3), ("raise SystemExit(4)", 4), ("quit('said')", 1)],
)
def test_exit_codes(shell, line, code):
    shell.send(line + "\r")
    assert exit_code(shell) == code


def test_exit_from_a_coroutine(shell):
    shell.send("from helpers import leave; await leave(5)\r")
    assert exit_code(shell) == 5


def test_exit_with_a_task_pending(shell):
    ask(shell, "task = asyncio.create_task(asyncio.sleep(60)); len('abcde')", "5")
    shell.send("exit(3)\r")
    assert exit_code(shell) == 3


def test_hangup(shell):
    shell.kill(signal.SIGHUP)
    assert exit_code(shell) == -signal.SIGHUP


# --- without a terminal -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("await asyncio.sleep(0.01, 6 * 7)\nimport sys; len(sys.argv)\n", 0),
        ("f = asyncio.sleep\nx = await f(0.01, 6 * 7)\nx\n", 0),
        ("print(__name__, sorted(globals()))", 0),
        ("exit(3)\n", 3),
        ("", 0),
    ],
)
@pytest.mark.parametrize("flags", [(), ("-q",)], ids=["", "quiet"])
def test_piped_input(environment, tmp_path, text, code, flags):
    results = []
    for name in ("asyncio", "loopmod"):
        command = [sys.executable, *flags, "-m", name]
        done = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            timeout=50,
            check=False,
        )
        results.append([done.stdout, done.stderr, done.returncode])
    if not flags:
        first, _, results[1][1] = results[1][1].partition("\n")
        assert first == BANNER
    assert results[0] == results[1] and results[1][2] == code
