"""`python -m loopmod` beside plain `python`: the same program must see, print and return the same.

Covers loopmod/__main__.py, loopmod/launch.py and loopmod/info.py. Each case runs in processes of its own, in a
directory of its own. What is compared is all of standard output, standard error and the exit code; where the loops
themselves differ, what the loop is.
"""

import platform
import py_compile
import re
import signal
import ssl
import subprocess
import sys
import zipfile

import pytest
from child_support import environment, run_without_environment

import loopmod

pytestmark = pytest.mark.timeout(60)

OURS = ("-m", "loopmod")
# Shows what a program can see of how it was started.
SHOW = """
import sys
for name, value in sorted(globals().copy().items()):
    print(name, type(value) if name == "__builtins__" else value)
print(sys.argv, sys.path, sys.modules["__main__"].__dict__ is globals(), sys.flags)
"""
WHICH_LOOP = """
import asyncio
async def which():
    return asyncio.get_running_loop()
with asyncio.Runner() as runner:
    loops = [runner.run(which()), asyncio.run(which()), asyncio.new_event_loop()]
loops[-1].close()
print({type(loop).__module__ for loop in loops}, loops[0].get_debug())
"""


@pytest.fixture
def python(tmp_path):
    """Run the interpreter in a fresh directory; return its standard output, standard error and exit code."""

    def run(*words, stdin="", cwd=None, **changes):
        done = subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=cwd or tmp_path,
            env=environment(**changes),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        return done.stdout, done.stderr, done.returncode

    return run


@pytest.fixture
def same(python):
    """Run a command line by python and by python -m loopmod; return what both gave."""

    def run(*words, flags=(), **options):
        expected, seen = (
            tuple(re.sub(r"0x[0-9a-f]+", "0x", part) if isinstance(part, str) else part for part in result)
            for result in (python(*flags, *words, **options), python(*flags, *OURS, *words, **options))
        )
        assert seen == expected
        return seen

    return run


@pytest.fixture
def files(tmp_path):
    """Write files of these relative names and texts."""

    def write(**texts):
        for name, text in texts.items():
            path = tmp_path / (name.replace("__slash__", "/") + ".py")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


# --- what the program sees --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ("show.py",),
        ("./show.py", "--help", "-m", "--debug", "--", "-"),
        ("sub/../show.py", "a b", ""),
        ("sub/show.py",),
        ("sub/link.py",),
        ("--", "show.py", "--"),
        ("-m", "show", "--version", "-c"),
        ("-mshow",),
        ("-m", "sub.show"),
        ("-m", "sub", "a"),
        ("sub", "a"),
        ("./sub/",),
        ("packed.zip", "a"),
        ("compiled.pyc", "a"),
        ("compiled_unnamed",),
        ("-c", SHOW, "-c", "--debug"),
        ("-c" + SHOW,),
        ("-c", ""),
        ("-", "a", "-"),
        ("--", "-", "a"),
    ],
    ids=lambda words: " ".join(words).replace(SHOW, "CODE"),
)
def test_program_sees_what_python_shows(same, files, words):
    root = files(show=SHOW, sub__slash__show=SHOW, sub__slash____init__="", sub__slash____main__=SHOW)
    (root / "sub" / "link.py").symlink_to("../show.py")
    with zipfile.ZipFile(root / "packed.zip", "w") as packed:
        packed.writestr("__main__.py", SHOW)
    py_compile.compile(str(root / "show.py"), cfile=str(root / "compiled.pyc"))
    (root / "compiled.pyc").with_name("compiled_unnamed").write_bytes((root / "compiled.pyc").read_bytes())
    output, complaints, code = same(*words, stdin=SHOW)
    assert code == 0 and not complaints
    assert output or words == ("-c", "")


@pytest.mark.parametrize("words", [("show.py",), ("-m", "show"), ("sub",), ("-c", SHOW), ("-",)], ids=" ".join)
@pytest.mark.parametrize("flags", [("-P",), ("-O", "-W", "error", "-X", "dev"), ("-s", "-B", "-q")], ids=" ".join)
def test_flags_of_python_hold(same, files, flags, words):
    root = files(show=SHOW, sub__slash____main__=SHOW)
    changes = {"PYTHONPATH": f"{environment()['PYTHONPATH']}:{root}"} if flags == ("-P",) else {}
    output, complaints, code = same(*words, flags=flags, stdin=SHOW, **changes)
    assert (bool(output), complaints, code) == (True, "", 0)


def test_imports_find_the_neighbours_of_the_script(same, files, tmp_path):
    files(sub__slash__neighbour="print(__file__)", sub__slash__start="import neighbour")
    output, _, _ = same("sub/start.py")
    assert output == f"{tmp_path}/sub/neighbour.py\n"


def test_standard_input_stays_with_the_program(same, files):
    files(echo="print(input()); import sys; print(sys.stdin.read())")
    assert same("echo.py", stdin="one\ntwo")[0] == "one\ntwo\n"
    assert same("-c", "print(input())", stdin="one\n")[0] == "one\n"
    assert same("-", stdin="import sys; print([sys.stdin.read()])")[0] == "['']\n"


def test_encoding_of_the_source(same, files, tmp_path):
    (tmp_path / "latin.py").write_bytes(b"# coding: latin-1\nprint(ascii('\xe9'))\n")
    assert same("latin.py")[0] == "'\\xe9'\n"
    assert same("-c", "# coding: latin-1\nprint(ascii('\u00e9'))")[0] == "'\\xe9'\n"


def test_audit_events(python, files):
    # As hooks of sitecustomize see them; -m loopmod is itself an event of -m.
    files(
        sitecustomize="import sys\n"
        "sys.addaudithook(lambda event, args: event.startswith('cpython.run_') and print(event, args))",
        empty="",
    )
    for words in (("empty.py",), ("-m", "empty"), ("-c", "0"), ("-",)):
        path = {"PYTHONPATH": environment()["PYTHONPATH"] + ":."}
        expected, _, _ = python(*words, **path)
        seen, _, _ = python(*OURS, *words, **path)
        assert expected.startswith("cpython.run_")
        assert seen == "cpython.run_module ('loopmod',)\n" + expected


# --- how it ends ------------------------------------------------------------------------------------------

FAULTS = {
    "error": "def f():\n    1 / 0\nf()",
    "chain": "try:\n    1 / 0\nexcept ZeroDivisionError:\n    [][1]",
    "cause": "try:\n    1 / 0\nexcept ZeroDivisionError as exc:\n    raise KeyError from exc",
    "group": "raise ExceptionGroup('several', [ValueError(1), OSError(2)])",
    "syntax": "x = 1\nif x\n",
    "indent": "  x\n y\n",
    "import_error": "import nothing_of_this_name",
    "interrupt": "raise KeyboardInterrupt",
    "interrupt_later": "import atexit; atexit.register(print, 'exit'); raise KeyboardInterrupt(1)",
    "exit_none": "raise SystemExit",
    "exit_0": "import sys; sys.exit(0)",
    "exit_3": "import sys; print('said'); sys.exit(3)",
    "exit_300": "exit(300)",
    "exit_text": "raise SystemExit('said')",
    "exit_object": "raise SystemExit([1])",
    "exit_hard": "import os; os._exit(4)",
    "hook": "import sys; sys.excepthook = lambda *a: print(a[0], a[2].tb_frame, a[1].__traceback__ is a[2])\n1 / 0",
    "hook_after": "import atexit, sys\natexit.register(lambda: print(sys.excepthook is sys.__excepthook__,"
    " sys.last_traceback.tb_frame.f_code.co_filename))\n1 / 0",
    "thread": "import threading; threading.Thread(target=lambda: print(1 / 0)).start()",
    "generator": "def f():\n    yield\n    raise StopIteration\nlist(f())",
    "recursion": "def f(n):\n    return n and f(n - 1) or [][1]\nf(20)",
    "exit_in_loop": "import asyncio, sys\nasync def f(): sys.exit(5)\nasyncio.run(f())",
    "del_at_exit": "class A:\n    def __del__(self): print('gone', __name__)\na = A()",
}


@pytest.mark.parametrize("name", FAULTS)
def test_end_of_a_script(same, files, name):
    files(start=FAULTS[name])
    same("start.py")


@pytest.mark.parametrize("name", ["chain", "syntax", "interrupt", "exit_3", "exit_text", "hook", "hook_after"])
@pytest.mark.parametrize("form", ["-m", "-c", "-", "directory"])
def test_end_of_the_other_forms(same, files, name, form):
    files(start=FAULTS[name], sub__slash____main__=FAULTS[name])
    words = {"-m": ("-m", "start"), "-c": ("-c", FAULTS[name]), "-": ("-",), "directory": ("sub",)}[form]
    same(*words, stdin=FAULTS[name])


def test_exit_code_of_an_interrupt(python, files):
    # Said once without the oracle: the process ends by the signal, so that a shell's loop ends too.
    files(start=FAULTS["interrupt"])
    assert python(*OURS, "start.py")[2] == -signal.SIGINT


@pytest.mark.parametrize(
    "words",
    [
        ("missing.py",),
        ("-m", "missing"),
        ("-m", "missing.part"),
        ("-m", "plain"),
        ("-m", "plain.part"),
        ("-m", "start.py"),
        ("-m", ".start"),
        ("plain",),
        ("broken.pyc",),
        ("-m", "faulty"),
        ("-c", "  x = 1\n  print(x)"),
        ("-c", "exec('1/0')"),
        ("-c", "def f():\n    1 / 0\nf()"),
        ("-W", "error", "start.py"),
    ],
    ids=" ".join,
)
def test_complaints_of_python(same, files, words):
    flags = words[:2] if words[0] == "-W" else ()
    root = files(start="x = '\\d'", plain__slash____init__="", faulty__slash____init__="1 / 0")
    (root / "broken.pyc").write_bytes(b"\0" * 20)
    same(*words[len(flags) :], flags=flags)


def test_traceback_of_a_coroutine_begins_in_the_script(python, files):
    files(start="import asyncio\nasync def f():\n    1 / 0\nasyncio.run(f())")
    _, complaints, code = python(*OURS, "start.py")
    assert code == 1
    first, *_, last = re.findall(r'^  File "(.*)", line .*, in (.*)$', complaints, re.MULTILINE)
    assert first[0].endswith("start.py") and first[1] == "<module>" and last[1] == "f"
    assert "launch.py" not in complaints and "runpy" not in complaints
    assert complaints.endswith("ZeroDivisionError: division by zero\n")


def test_interactive_after_the_script(same, files):
    files(start="x = 5\ndef f(): return __name__\n1 / 0")
    output, _, code = same("start.py", flags=("-i",), stdin="print(x, f(), __name__)\n")
    assert (output, code) == ("5 __main__ __main__\n", 0)
    output, _, _ = same("-c", "import sys; sys.exit(3)", flags=("-i",), stdin="print('still here')\n")
    assert output == "still here\n"


@pytest.mark.parametrize("how", ["asyncio.run(main())", "asyncio.new_event_loop().run_until_complete(main())"])
@pytest.mark.parametrize("words", [("start.py",), ("-m", "start"), OURS], ids=" ".join)
def test_ctrl_c_while_the_loop_sleeps(files, tmp_path, how, words):
    files(
        start=f"import asyncio\nasync def main():\n    print('up', flush=True)\n    await asyncio.sleep(60)\n{how}",
    )
    ends = []
    for prefix in ((), OURS):
        with subprocess.Popen(
            [sys.executable, *prefix, *(("start.py",) if words == OURS else words)],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout.readline() == "up\n"
            process.send_signal(signal.SIGINT)
            _, complaints = process.communicate(timeout=50)
        assert "launch.py" not in complaints
        # A debug build warns of the loop that is left open.
        ends.append((process.returncode, "KeyboardInterrupt" in complaints.splitlines()))
    assert ends == [(-signal.SIGINT, True)] * 2


# --- the loop ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("which.py",), ("-m", "which"), ("-c", WHICH_LOOP), ("-",)], ids=lambda w: w[0])
@pytest.mark.parametrize("flags", [(), ("-W", "error")], ids=" ".join)
def test_every_form_runs_on_the_loop(python, files, words, flags):
    files(which=WHICH_LOOP)
    assert python(*flags, *OURS, *words, stdin=WHICH_LOOP) == ("{'loopmod.loop'} False\n", "", 0)
    assert python(*flags, *words, stdin=WHICH_LOOP)[0] == "{'asyncio.unix_events'} False\n"


def test_without_policies(python, files):
    # What a Python that has none will be like, as far as the loop is chosen.
    files(
        start="import asyncio.events\n"
        "for name in ('set_event_loop_policy', '_set_event_loop_policy'):\n"
        "    vars(asyncio.events).pop(name, None)\n"
        "from loopmod import choice, launch\n"
        "choice.use_loop()\n"
        "launch.run_command('import sys; from which import *; print(sys.argv)', ['a'])",
        which=WHICH_LOOP,
    )
    output, complaints, code = python("-m", "start")
    assert (output, complaints, code) == ("{'loopmod.loop'} False\n['-c', 'a']\n", "", 0)


def test_debug(python, files):
    files(which=WHICH_LOOP)
    assert python(*OURS, "--debug", "which.py")[0] == "{'loopmod.loop'} True\n"
    assert python(*OURS, "--debug", "-m", "which")[0] == "{'loopmod.loop'} True\n"
    assert python("-X", "dev", *OURS, "which.py")[0] == "{'loopmod.loop'} True\n"
    assert python(*OURS, "which.py", PYTHONASYNCIODEBUG="1")[0] == "{'loopmod.loop'} True\n"
    child = "import subprocess, sys; subprocess.run([sys.executable, 'which.py'])"
    assert python(*OURS, "--debug", "-c", child)[0] == "{'asyncio.unix_events'} True\n"


def test_debug_that_the_environment_cannot_carry(files, tmp_path):
    done = run_without_environment("--debug", "-c", "0", cwd=tmp_path)
    assert done.returncode == 2 and "-X dev" in done.stderr


# --- processes and pickles --------------------------------------------------------------------------------

POOL = """
import multiprocessing, pickle, sys
class Point:
    def __init__(self, x): self.x = x
def double(point):
    return Point(point.x * 2)
if __name__ == "__main__":
    print(pickle.loads(pickle.dumps(double)) is double, pickle.dumps(Point(1)))
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(1) as pool:
        print([point.x for point in pool.map(double, [Point(2), Point(3)])])
else:
    print("imported as", __name__, __file__, sys.argv, flush=True)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("words", [("pool.py",), ("-m", "pool"), ("-m", "sub.pool")], ids=" ".join)
def test_functions_of_the_script_in_other_processes(same, files, method, words):
    files(pool=POOL, sub__slash__pool=POOL)
    output, _, code = same(*words, method)
    assert code == 0 and "[4, 6]\n" in output


def test_loops_in_a_forked_child(python, files):
    files(
        start="import multiprocessing, pathlib, which\n"
        "code = pathlib.Path('which.py').read_text()\n"
        "child = multiprocessing.get_context('fork').Process(target=exec, args=(code, {}))\n"
        "child.start(); child.join()",
        which=WHICH_LOOP,
    )
    assert python(*OURS, "start.py") == ("{'loopmod.loop'} False\n" * 2, "", 0)


# --- our own words ----------------------------------------------------------------------------------------


def test_help(python):
    for word in ("--help", "-h"):
        output, complaints, code = python(*OURS, word)
        assert (complaints, code) == ("", 0)
        assert output.startswith("usage: python -m loopmod [option ...] [script | -m module | -c code | -]")
        for described in ("script  ", "-m module  ", "-c code  ", "-  ", "--debug  ", "--as-uvloop  ", "--version  "):
            assert f"  {described}" in output or f", {described}" in output
        assert "\n       python -m loopmod [option ...] info\n" in output
        assert max(map(len, output.splitlines())) <= 90


def test_version(python):
    for word in ("--version", "-V"):
        assert python(*OURS, word) == (f"loopmod {loopmod.__version__}\n", "", 0)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("-m",), "-m needs a module"),
        (("-c",), "-c needs code"),
        (("--unknown", "start.py"), "--unknown"),
        (("--deb", "start.py"), "--deb"),
        (("-x",), "-x"),
    ],
)
def test_misuse(python, words, complaint):
    output, complaints, code = python(*OURS, *words)
    assert (output, code) == ("", 2)
    assert complaints.startswith("usage: python -m loopmod") and complaint in complaints.splitlines()[-1]


def read_info(python, *words, **changes):
    output, complaints, code = python(*words, "info", **changes)
    assert (complaints, code) == ("", 0)
    return dict(re.split(r"  +", line, maxsplit=1) for line in output.splitlines())


def test_info(python):
    facts = read_info(python, *OURS)
    assert facts["loopmod"] == loopmod.__version__
    assert facts["Python"] == f"CPython {platform.python_version()}, {sys.executable}"
    assert facts["OpenSSL"] == ssl.OPENSSL_VERSION
    assert facts["extension"] == loopmod._loopmod.__file__
    assert facts["backend"] == "epoll"
    linked = subprocess.run(["ldd", loopmod._loopmod.__file__], capture_output=True, text=True, check=True).stdout
    kind = "linked" if "libev" in linked else "compiled in"
    assert re.fullmatch(rf"4\.\d+, {kind}", facts["libev"])
    # What every Linux of today has; what may lack says so in the next test.
    assert facts["near timers"] == "yes: timerfd"
    assert facts["sock_* waits"].startswith("yes")
    assert facts["numeric hosts"].startswith("yes")
    assert facts["task inspectors"].startswith("not needed" if sys.version_info < (3, 14) else "yes")


def test_info_tells_a_closed_path(python, files):
    files(
        sitecustomize="import os, socket\n"
        "del os.pidfd_open\n"
        "asked = socket.getaddrinfo\n"
        "def getaddrinfo(*words): return asked(*words)\n"
        "getaddrinfo.__module__ = 'proxies'\n"
        "socket.getaddrinfo = getaddrinfo",
    )
    facts = read_info(python, *OURS, PYTHONPATH=environment()["PYTHONPATH"] + ":.")
    assert facts["numeric hosts"] == "no: in a thread: socket.getaddrinfo is replaced"
    assert facts["child's end"].startswith("no: looked for 20 times a second")


def test_info_is_a_program_where_there_is_one(python, same, tmp_path):
    said = "can't open file"
    for words in (("info", "a"), ("--", "info"), ("./info",)):
        assert said in same(*words)[1]
    tmp_path.joinpath("info").write_text("import sys; print('a program', sys.argv)")
    assert same("info")[0] == "a program ['info']\n"
    (tmp_path / "info").unlink()
    (tmp_path / "info").symlink_to("nowhere")
    assert said in same("info")[1]


def test_loopmod_runs_loopmod(python, files):
    files(which=WHICH_LOOP)
    assert python(*OURS, *OURS, "--debug", "which.py", "a") == ("{'loopmod.loop'} True\n", "", 0)
