"""What `python -m loopmod` says of programs that do not run on its loop, and the switches that reach them.

Covers loopmod/notice.py and loopmod/children.py. Each case is a process of its own; standard error is compared as a
whole. Servers with processes of their own are in tests/apps/test_servers_inside.py.
"""

import asyncio
import re
import subprocess
import sys

import pytest
from child_support import environment, run_without_environment

pytestmark = pytest.mark.timeout(60)

SELECTOR = "asyncio.unix_events._UnixSelectorEventLoop"
RUN = """
import asyncio
async def main():
    print(type(asyncio.get_running_loop()).__module__)
"""
NAMED = RUN + (
    "for _ in range(2):\n"
    "    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:\n"
    "        runner.run(main())\n"
)
OWN_KIND = RUN + (
    "class Own(asyncio.SelectorEventLoop): pass\n"
    "for kind in (Own, asyncio.SelectorEventLoop):\n"
    "    loop = kind(); loop.run_until_complete(main()); loop.close()\n"
)
DERIVED = RUN + (
    "import warnings; warnings.simplefilter('ignore', DeprecationWarning)\n"
    "class Policy(asyncio.DefaultEventLoopPolicy):\n"
    "    def new_event_loop(self):\n"
    "        loop = super().new_event_loop(); loop.made_by = self; return loop\n"
    "asyncio.set_event_loop_policy(Policy())\n"
    "asyncio.run(main())\n"
)
OURS_DERIVED = RUN + (
    "import loopmod\nclass Own(loopmod.Loop): pass\n"
    "loop = Own(); loop.run_until_complete(asyncio.sleep(0)); loop.close(); asyncio.run(main())\n"
)
LOOKS = RUN + (
    "try:\n    from uvloop import new_event_loop\n"
    "except ImportError:\n    new_event_loop = asyncio.SelectorEventLoop\n"
    "with asyncio.Runner(loop_factory=new_event_loop) as runner: runner.run(main())\n"
)


@pytest.fixture
def python(tmp_path):
    """Run `python -m loopmod` with these words on a script; return its lines of output and of errors."""

    def run(*words, script, code=0, flags=(), **changes):
        (tmp_path / "start.py").write_text(script, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, *flags, "-m", "loopmod", *words, "start.py"],
            cwd=tmp_path,
            env={**environment(), **changes},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout.splitlines(), done.stderr.splitlines()

    return run


def notices(lines):
    return [line for line in lines if line.startswith("loopmod: ")]


# --- the notice -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", [RUN + "asyncio.run(main())", OURS_DERIVED, "print('loopmod.loop')"])
@pytest.mark.parametrize("words", [(), ("--as-uvloop", "--defaults", "--children")], ids=" ".join)
def test_nothing_is_said_where_the_loop_is_ours(python, script, words):
    output, errors = python(*words, script=script)
    assert ({*output}, errors) == ({"loopmod.loop"}, [])


def test_another_loop_is_named_once(python):
    output, errors = python(script=NAMED)
    assert output == ["asyncio.unix_events"] * 2
    assert errors == [
        f"loopmod: {SELECTOR} runs here, not loopmod's loop: name loopmod:new_event_loop where the program takes a"
        " loop, or try --defaults (docs: Programs with a server inside; --no-notice hides this)"
    ]


def test_each_kind_is_named(python):
    _, errors = python(script=OWN_KIND)
    assert [line.split()[1] for line in errors] == ["__main__.Own", SELECTOR]


def test_switched_off(python):
    assert python("--no-notice", script=NAMED) == (["asyncio.unix_events"] * 2, [])


def test_debug_says_it_anyway(python):
    for words in (("--debug",), ("--no-notice", "--debug")):
        _, errors = python(*words, script=NAMED)
        assert len(notices(errors)) == 1 and SELECTOR in notices(errors)[0] and "--no-notice" not in errors[0]


def test_no_standard_error(python):
    output, errors = python(script="import sys; sys.stderr = None\n" + NAMED)
    assert (output, errors) == (["asyncio.unix_events"] * 2, [])
    output, errors = python(script="import sys; sys.stderr.close()\n" + NAMED)
    assert (output, errors) == (["asyncio.unix_events"] * 2, [])


HOSTILE = RUN + (
    "import sys\n"
    "class Kind(type):\n"
    "    def __eq__(self, other): return self is other\n"
    "class Unhashable(asyncio.SelectorEventLoop, metaclass=Kind): pass\n"
    "class Nowhere(asyncio.SelectorEventLoop): __module__ = None\n"
    "for kind in (Unhashable, Unhashable, Nowhere):\n"
    "    loop = kind(); loop.run_until_complete(main()); loop.close()\n"
)
ODD_STREAM = (
    "import sys\n"
    "class Odd:\n"
    "    def __init__(self, *wrong): self.wrong = wrong\n"
    "    def write(self, text):\n"
    "        print(text.split()[1])\n"
    "        for kind in self.wrong: raise kind('not now')\n"
    "    def flush(self): pass\n"
)


def test_kinds_that_are_no_keys(python):
    output, errors = python(script=HOSTILE)
    assert output == ["__main__", "__main__", "None"]
    assert [line.split()[1] for line in errors] == ["__main__.Unhashable", "None.Nowhere"]


@pytest.mark.parametrize("wrong", ["", "RuntimeError", "TypeError", "AttributeError", "OSError"])
def test_a_stream_that_fails_stops_no_program(python, wrong):
    output, errors = python(script=f"{ODD_STREAM}sys.stderr = Odd({wrong})\n{NAMED}sys.stderr = sys.__stderr__\n")
    assert output == [SELECTOR, *["asyncio.unix_events"] * 2] and errors == []


def test_a_stream_that_runs_a_loop_itself(python):
    script = RUN + (
        "import sys\n"
        "class Stream:\n"
        "    def write(self, text):\n"
        "        asyncio._set_running_loop(None)\n"
        "        sys.__stderr__.write(text); run()\n"
        "    def flush(self): pass\n"
        "def run():\n"
        "    loop = asyncio.SelectorEventLoop(); loop.run_until_complete(main()); loop.close()\n"
        "sys.stderr = Stream()\n"
        "run()\n"
    )
    output, errors = python(script=script)
    assert output == ["asyncio.unix_events"] * 2 and len(errors) == 1


def test_threads_that_start_at_once_say_it_once(python):
    script = (
        "import asyncio, threading\n"
        "class Kind(type):\n"
        "    def __hash__(cls): gate.wait(1); return id(cls)\n"
        "class Own(asyncio.SelectorEventLoop, metaclass=Kind): pass\n"
        "def run():\n"
        "    loop = Own(); gate.wait(); loop.run_until_complete(asyncio.sleep(0)); loop.close()\n"
        "gate = threading.Barrier(2)\n"
        "threads = [threading.Thread(target=run) for _ in range(2)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
    )
    _, errors = python(script=script)
    assert len(errors) == 1 and "__main__.Own runs here" in errors[0]


def test_plain_python_says_nothing():
    code = "import loopmod; loopmod.install()\n" + NAMED
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_it_replaces(python):
    show = (
        "import asyncio, sys, warnings\n"
        "print(*{f.__module__ for f in (asyncio._set_running_loop, asyncio.events._set_running_loop)})\n"
        "print(warnings._warn_unawaited_coroutine.__module__)"
    )
    assert python(script=show)[0] == ["loopmod.notice", "loopmod.launch"]
    assert python("--no-notice", script=show)[0] == ["_asyncio", "loopmod.launch"]


# --- what reaches it --------------------------------------------------------------------------------------


def test_what_looks_for_uvloop(python, tmp_path):
    (tmp_path / "uvloop.py").write_text(
        "import asyncio\nclass Loop(asyncio.SelectorEventLoop): pass\nnew_event_loop = Loop"
    )
    output, errors = python(script=LOOKS)
    assert output == ["uvloop"]
    assert re.fullmatch(r"loopmod: uvloop\.Loop runs here, .* --as-uvloop reaches what looks for uvloop .*", *errors)
    assert python("--as-uvloop", script=LOOKS) == (["loopmod.loop"], [])
    (tmp_path / "uvloop.py").unlink()
    assert python("--as-uvloop", script=LOOKS) == (["loopmod.loop"], [])


@pytest.mark.skipif(sys.version_info >= (3, 16), reason="there are no policies")
def test_derived_policies(python):
    output, errors = python(script=DERIVED)
    assert output == ["asyncio.unix_events"]
    assert re.fullmatch(rf"loopmod: {SELECTOR} runs here, .* --defaults reaches the program's own event .*", *errors)
    assert python("--defaults", script=DERIVED) == (["loopmod.loop"], [])


@pytest.mark.skipif(not hasattr(asyncio, "EventLoop"), reason="there is no such name before 3.13")
def test_the_name_of_the_default_loop(python):
    script = RUN + "loop = asyncio.EventLoop(); loop.run_until_complete(main()); loop.close()"
    output, errors = python(script=script)
    assert output == ["asyncio.unix_events"] and len(errors) == 1 and "try --defaults" in errors[0]
    assert python("--defaults", script=script) == (["loopmod.loop"], [])


def test_as_uvloop_shows_in_info(python):
    for words, kind in (((), ""), (("--as-uvloop",), "loopmod, with the names of uvloop")):
        done = subprocess.run(
            [sys.executable, "-m", "loopmod", *words, "info"],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=50,
        )
        (line,) = (line for line in done.stdout.splitlines() if line.startswith("import uvloop "))
        assert line.split("  ", 1)[1].strip().startswith(kind) and ("loopmod" in line) == bool(words)


# --- children ---------------------------------------------------------------------------------------------

SPAWN = RUN + (
    "import multiprocessing, sys\n"
    "def run():\n    asyncio.run(main())\n"
    "if __name__ == '__main__':\n"
    "    child = multiprocessing.get_context({method!r}).Process(target=run)\n"
    "    child.start(); child.join(); sys.exit(child.exitcode)\n"
)
AGAIN = RUN + (
    "import os, subprocess, sys\n"
    "asyncio.run(main())\n"
    "if len(sys.argv) < 3:\n"
    "    sys.stdout.flush()\n"
    "    subprocess.run([sys.executable, *sys.argv, 'again'], check=True)\n"
)
EXEC = RUN + (
    "import os, sys\n"
    "asyncio.run(main())\n"
    "if len(sys.argv) < 3:\n"
    "    sys.stdout.flush()\n"
    "    os.execv(sys.executable, [sys.executable, *sys.argv, 'again'])\n"
)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_spawned_children(python, method):
    script = SPAWN.replace("{method!r}", repr(method))
    output, errors = python(script=script)
    assert output == ["asyncio.unix_events"]
    assert [line.partition(" (docs")[0] for line in errors] == [
        "loopmod: processes that are started anew choose their loop for themselves: --children"
    ]
    assert python("--children", script=script) == (["loopmod.loop"], [])
    assert python("--no-notice", script=script) == (["asyncio.unix_events"], [])


def test_spawned_children_without_asyncio_need_no_word(python):
    script = (
        SPAWN.replace("{method!r}", "'spawn'")
        .replace(RUN, "def main(): pass\n")
        .replace("asyncio.run(main())", "pass")
    )
    assert python(script=script) == ([], [])


@pytest.mark.parametrize("script", [AGAIN, EXEC], ids=["subprocess", "exec"])
def test_a_program_that_starts_itself_again(python, script):
    assert python(script=script)[0] == ["loopmod.loop"] + ["asyncio.unix_events"] * 2
    assert python("--children", script=script) == (["loopmod.loop"] * 3, [])


def test_children_inherit_every_word(python, tmp_path):
    child = DERIVED + LOOKS + "print(asyncio.coroutines._is_debug_mode())\n" + NAMED
    (tmp_path / "child.py").write_text(child, encoding="utf-8")
    script = "import subprocess, sys; subprocess.run([sys.executable, 'child.py'], check=True)"
    words = ("--as-uvloop", "--defaults", "--children")
    output, errors = python(*words, script=script)
    assert output == ["loopmod.loop", "loopmod.loop", "False", *["asyncio.unix_events"] * 2]
    assert len(errors) == 1 and SELECTOR in errors[0]
    assert python(*words, "--no-notice", script=script) == (output, [])
    output, errors = python(*words, "--debug", script=script)
    assert output[:3] == ["loopmod.loop", "loopmod.loop", "True"] and len(notices(errors)) == 1


def test_the_variable_is_the_words(python):
    script = "import os; print(os.environ.get('LOOPMOD_CHILDREN'))"
    assert python("--children", "--as-uvloop", script=script) == (["as-uvloop children"], [])
    assert python(script=script) == (["None"], [])
    # A program that empties it, ends it.
    ended = "import os; os.environ['LOOPMOD_CHILDREN'] = ''\n" + AGAIN
    assert python("--children", script=ended)[0] == ["loopmod.loop"] + ["asyncio.unix_events"] * 2


def test_another_sitecustomize_has_its_turn(python, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys; print('theirs', flush=True)")
    script = "import subprocess, sys; subprocess.run([sys.executable, 'child.py'], check=True)"
    child = RUN + "import sitecustomize, sys; print(sys.path); print(sitecustomize.__file__)\nasyncio.run(main())"
    (tmp_path / "child.py").write_text(child, encoding="utf-8")
    path = f"{environment()['PYTHONPATH']}:{tmp_path}"
    first, _ = python(script=script, PYTHONPATH=path)
    assert first.count("theirs") == 2 and str(tmp_path / "sitecustomize.py") in first
    assert python("--children", script=script, PYTHONPATH=path) == ([*first[:-1], "loopmod.loop"], [])


def test_a_child_that_cannot_inherit_says_so(python, tmp_path):
    script = (
        "import os, subprocess, sys\n"
        "os.environ['LOOPMOD_CHILDREN'] += ' unheard-of'\n"
        "subprocess.run([sys.executable, '-c', 'print(5)'], check=True)"
    )
    output, errors = python("--children", script=script)
    assert output == ["5"]
    assert len(errors) == 1 and errors[0].startswith(f"loopmod: {sys.executable} does not inherit the loop: ")
    assert "unheard-of" in errors[0]


MISSING = {
    "no loopmod": "raise ImportError(\"cannot import name '_loopmod'\", name='loopmod')",
    "one that fails": "1 / 0",
}


@pytest.mark.parametrize("name", MISSING)
def test_a_child_without_loopmod(python, tmp_path, name):
    (tmp_path / "other" / "loopmod").mkdir(parents=True)
    (tmp_path / "other" / "loopmod" / "__init__.py").write_text(MISSING[name])
    (tmp_path / "child.py").write_text(RUN + "asyncio.run(main())")
    script = (
        "import os, subprocess, sys\n"
        "os.environ['PYTHONPATH'] += os.pathsep + 'other'\n"
        "os.environ['PYTHONPATH'] = os.pathsep.join(os.environ['PYTHONPATH'].split(os.pathsep)[::2])\n"
        "command = [sys.executable, 'child.py']\n"
        "subprocess.run(command, check=True)\n"
        "sys.stdout.flush()\n"
        "subprocess.run(['sh', '-c', '\"$0\" child.py 2>&-', sys.executable], check=True)\n"
    )
    output, errors = python("--children", script=script)
    assert output == ["asyncio.unix_events"] * 2 and len(errors) == 1
    reason = "there is none for Python 3." if name == "no loopmod" else "division by zero"
    assert errors[0].startswith(f"loopmod: {sys.executable} does not inherit the loop: {reason}")
    assert python("--children", "--no-notice", script=script) == (output, [])


@pytest.mark.parametrize("path", ["{}", ":{}", "{}:", "{}::/nowhere"])
def test_the_path_of_children_is_that_of_python_alone(python, tmp_path, path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "child.py").write_text(
        "import os, subprocess, sys\nprint(sys.path, flush=True)\n"
        "if len(sys.argv) < 2: subprocess.run([sys.executable, 'below/child.py', 'again'], check=True)\n"
    )
    script = "import subprocess, sys; subprocess.run([sys.executable, 'below/child.py'], check=True)"
    path = path.format(environment()["PYTHONPATH"])
    expected, _ = python(script=script, PYTHONPATH=path)
    assert len(expected) == 2
    assert python("--children", script=script, PYTHONPATH=path) == (expected, [])


def test_a_child_that_chooses_anew_decides_of_the_notice(python, tmp_path):
    (tmp_path / "child.py").write_text(NAMED, encoding="utf-8")
    script = "import subprocess, sys; subprocess.run([sys.executable, *{words}, 'child.py'], check=True)"
    for words, count in (((), 1), (("-m", "loopmod"), 1), (("-m", "loopmod", "--no-notice"), 0)):
        _, errors = python("--children", script=script.replace("{words}", repr(words)))
        assert len(errors) == count, words


@pytest.mark.parametrize("start", ["run", "Popen", "check_output", "call"])
def test_programs_that_run_themselves_below_them(python, tmp_path, start):
    (tmp_path / "child.py").write_text(RUN + "asyncio.run(main())")
    script = f"import asyncio, subprocess, sys; subprocess.{start}([sys.executable, 'child.py'])"
    script += ".wait()" if start == "Popen" else ""
    _, errors = python(script=script)
    assert [line.partition(" (docs")[0] for line in errors] == [
        "loopmod: processes that are started anew choose their loop for themselves: --children"
    ]
    for words in (("--children",), ("--no-notice",)):
        assert python(*words, script=script)[1] == []
    # What is no Python, what has no asyncio, and what has run our loop before, needs no word.
    for quiet in ("import asyncio, subprocess; subprocess.run(['true'])", script.replace("asyncio, ", "")):
        assert python(script=quiet)[1] == []
    assert python(script=RUN + "asyncio.run(main())\n" + script)[1] == []


ARGUMENTS = ["()", "[]", "''", "b'true'", "['no such program']", "[None]", "['sh', 1]", "5", "iter('a')"]


@pytest.mark.parametrize("args", ARGUMENTS)
def test_what_it_sees_of_subprocesses_changes_nothing(python, args):
    script = (
        "import asyncio, subprocess, sys, traceback\n"
        "class Own(subprocess.Popen):\n"
        "    def _execute_child(self, *args): super()._execute_child(*args)\n"
        "for kind in (subprocess.Popen, Own):\n"
        "    try:\n"
        f"        kind({args}).wait()\n"
        "    except Exception:\n"
        "        print(traceback.format_exc())\n"
    )
    assert python(script=script) == python("--no-notice", script=script)


def test_children_that_the_environment_cannot_carry(tmp_path):
    done = run_without_environment("--children", "-c", "0", cwd=tmp_path)
    assert done.returncode == 2 and "--children goes through the environment" in done.stderr


def test_children_that_no_startup_file_reaches(python):
    _, errors = python("--children", script="0", flags=("-S",), code=2)
    assert "--children goes through sitecustomize.py, which python -S leaves out" in errors[-1]
