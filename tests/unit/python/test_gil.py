"""loopmod/gil.py: a loop that is made while the GIL is on in a free-threaded build says so, once.

On such a build each case is a process of its own that loads an extension module which does not declare anything about
the GIL; it is compiled here. What can be seen on other builds is seen on all.
"""

import shutil
import subprocess
import sys
import sysconfig
import threading
import warnings

import pytest
from child_support import environment

from loopmod import gil, new_event_loop

needs_free_threading = pytest.mark.skipif(not gil.IS_FREE_THREADED, reason="needs a free-threaded build")

SOURCE = """
#include <Python.h>
static PyModuleDef_Slot slots[] = {
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED}, {0, NULL}};
static PyModuleDef module = {.m_base = PyModuleDef_HEAD_INIT, .m_name = "needy", .m_slots = slots};
PyMODINIT_FUNC PyInit_needy(void) { return PyModuleDef_Init(&module); }
"""
# Loads modules in the order of its arguments, makes two loops here and one in a thread; prints what it is warned of.
PROGRAM = """
import importlib, sys, threading, warnings

def load(name):
    with warnings.catch_warnings():
        if name.startswith("hidden "):
            warnings.simplefilter("ignore", RuntimeWarning)
        importlib.import_module(name.removeprefix("hidden "))

def make():
    new_event_loop().close()

def make_many():
    make()
    make()
    thread = threading.Thread(target=make)
    thread.start()
    thread.join()

show = warnings.showwarning
warnings.showwarning = lambda message, category, filename, *rest: print(category.__name__, filename, message)
for name in sys.argv[1:]:
    load(name)
    if name == "loopmod":
        from loopmod import new_event_loop
        make_many()
if len(sys.argv) > 1 and sys.argv[-1] != "loopmod":
    make_many()
print(sys._is_gil_enabled())
"""


@pytest.fixture(scope="module")
def needy(tmp_path_factory):
    """Directory of an extension module that does not say whether it needs the GIL."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler")
    directory = tmp_path_factory.mktemp("needy")
    directory.joinpath("needy.c").write_text(SOURCE, encoding="utf-8")
    library = directory / f"needy{sysconfig.get_config_var('EXT_SUFFIX')}"
    include = sysconfig.get_path("include")
    command = [compiler, "-shared", "-fPIC", f"-I{include}", "-o", library, directory / "needy.c"]
    subprocess.run(command, check=True, capture_output=True)
    return directory


@pytest.fixture
def told(needy, tmp_path):
    """Run the program with these modules; return the warnings it printed and whether its GIL is on in the end."""

    def run(*names, flags=(), wish=None):
        path = tmp_path / "program.py"
        path.write_text(PROGRAM, encoding="utf-8")
        variables = environment()
        variables["PYTHONPATH"] += f":{needy}"
        variables.pop("PYTHON_GIL", None)
        if wish is not None:
            variables["PYTHON_GIL"] = wish
        command = [sys.executable, *flags, path, *names]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        *shown, is_on = done.stdout.splitlines()
        return [line for line in shown if "has been enabled to load" not in line], is_on == "True"

    return run


@needs_free_threading
def test_nothing_is_told_where_the_gil_is_off(told):
    assert told("loopmod") == ([], False)


@needs_free_threading
@pytest.mark.parametrize("names", [("needy", "loopmod"), ("loopmod", "needy")])
def test_the_module_that_switched_it_on_is_named_once(told, names):
    (warning,), is_on = told(*names)
    assert is_on
    # Where the loop was made, which is no place of ours.
    assert warning.startswith("RuntimeWarning ") and "program.py the GIL is on" in warning
    assert "to load the module 'needy'" in warning and "PYTHON_GIL=0" in warning


@needs_free_threading
def test_a_module_that_python_was_told_not_to_name_is_not_named(told):
    (warning,), _ = told("hidden needy", "loopmod")
    assert "python -v" in warning and "needy" not in warning


@needs_free_threading
@pytest.mark.parametrize("how", [{"flags": ("-X", "gil=1")}, {"wish": "1"}], ids=["option", "variable"])
def test_who_asked_for_the_gil_is_not_warned(told, how):
    assert told("needy", "loopmod", **how) == ([], True)


@needs_free_threading
def test_who_keeps_the_gil_off_is_not_warned(told):
    assert told("needy", "loopmod", wish="0") == ([], False)


@needs_free_threading
def test_an_interpreter_of_its_own_warns_for_itself(needy):
    interpreters = pytest.importorskip("concurrent.interpreters")
    code = f"""
import sys, warnings
sys.path[:0] = [{str(needy)!r}, *{sys.path!r}]
import needy, loopmod
with warnings.catch_warnings(record=True) as seen:
    warnings.simplefilter("always")
    loopmod.new_event_loop().close()
    loopmod.new_event_loop().close()
told = [str(each.message) for each in seen if each.category is RuntimeWarning]
assert len(told) == (sys.flags.gil is None) and all("'needy'" in each for each in told), told
"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            interpreter = interpreters.create()
            try:
                interpreter.exec(code)
            finally:
                interpreter.close()


# --- on any build -----------------------------------------------------------------------------------------


@pytest.mark.skipif(gil.IS_FREE_THREADED, reason="needs a build with the GIL")
def test_a_build_with_the_gil_does_not_look(monkeypatch):
    monkeypatch.setattr(gil, "look", None)
    new_event_loop().close()
    assert not gil.is_watched and gil.is_on()
    assert gil.described() == "on: this Python is no free-threaded build"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="no earlier Python has free-threaded builds")
@pytest.mark.parametrize("filters", ["always", "error"])
def test_one_of_many_threads_warns(monkeypatch, filters):
    monkeypatch.setattr(gil, "is_watched", True)
    monkeypatch.setattr(gil, "is_on", lambda: True)
    monkeypatch.setattr(gil, "_first_warning", threading.Lock())
    raised = []

    def make():
        try:
            new_event_loop().close()
        except RuntimeWarning as exc:
            raised.append(exc)

    threads = [threading.Thread(target=make) for _ in range(8)]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter(filters)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    told = [each.message for each in seen] if filters == "always" else raised
    assert [type(each) for each in told] == [RuntimeWarning]
    assert not gil.is_watched
