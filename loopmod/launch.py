"""Runs a program as the interpreter itself would.

What is started (a script, a module, code, standard input) finds sys.argv, sys.path and __main__ as `python` alone
sets them, and what leaves it uncaught shows no frame of this file. Relies on runpy for modules, as the
interpreter does, and on being called from `python -m`, which put the current directory first on sys.path.
"""

import builtins
import importlib.machinery
import importlib.util
import io
import itertools
import linecache
import marshal
import os
import pkgutil
import runpy
import sys
import textwrap
import traceback
import types
import warnings
from collections.abc import Callable
from typing import Any

from . import _support

_PYC_HEADER_SIZE = 16
_FILE = (lambda: None).__code__.co_filename


def run_script(name: str, arguments: list[str]) -> None:
    """Run a source or .pyc file, or the __main__.py of a directory or zip file, as `python name` does."""
    sys.argv = [name, *arguments]
    # Not normalised: the interpreter shows ./name as it was given, too.
    path = os.path.join(os.getcwd(), name)
    if pkgutil.get_importer(path) is not None:
        _set_path_entry(path)
        _make_main(__loader__=importlib.machinery.BuiltinImporter)
        _run_as_program(lambda: _runpy_main("__main__", False))
        return
    data = _read(path)
    if not sys.flags.safe_path:
        _set_path_entry(os.path.dirname(os.path.realpath(path)))
    sys.audit("cpython.run_file", path)
    loader = importlib.machinery.SourcelessFileLoader if _is_pyc(path, data) else importlib.machinery.SourceFileLoader
    main = _make_main(__file__=path, __cached__=None, __loader__=loader("__main__", path))
    _run_as_program(lambda: exec(_load(data, path), main.__dict__))


def run_module(name: str, arguments: list[str]) -> None:
    """Run a module or package as `python -m name` does."""
    sys.argv = ["-m", *arguments]
    sys.audit("cpython.run_module", name)
    _make_main(__loader__=importlib.machinery.BuiltinImporter)
    _run_as_program(lambda: _runpy_main(name, True))


def run_command(text: str, arguments: list[str]) -> None:
    """Run code as `python -c text` does."""
    sys.argv = ["-c", *arguments]
    _drop_current_directory()
    source = text + "\n"
    sys.audit("cpython.run_command", source)
    if sys.version_info >= (3, 14):
        source = textwrap.dedent(source)
    main = _make_main(__loader__=importlib.machinery.BuiltinImporter)
    _run_as_program(lambda: exec(_compile_command(source), main.__dict__))


def run_stdin(arguments: list[str]) -> None:
    """Run what standard input holds, to its end, as `python -` does."""
    sys.argv = ["-", *arguments]
    _drop_current_directory()
    sys.audit("cpython.run_stdin")
    main = _make_main(__file__="<stdin>", __cached__=None, __loader__=importlib.machinery.BuiltinImporter)
    _run_as_program(lambda: exec(_compile(_read_stdin(), "<stdin>"), main.__dict__))


def _make_main(**attributes: Any) -> types.ModuleType:
    """Put an empty __main__ module in place of ours, with the attributes that this Python gives one."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = builtins
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    if sys.version_info >= (3, 15):
        attributes.pop("__cached__", None)
    main.__dict__.update(attributes)
    sys.modules["__main__"] = main
    return main


def _set_path_entry(entry: str) -> None:
    """Make `entry` the first of sys.path, in place of the current directory that -m has put there."""
    if sys.flags.safe_path:
        sys.path.insert(0, entry)
    else:
        sys.path[0] = entry


def _drop_current_directory() -> None:
    """For code without a file, which imports from the directory that is current at the time."""
    if not sys.flags.safe_path:
        sys.path[0] = ""


def _read(path: str) -> bytes:
    try:
        with io.open_code(path) as file:
            return file.read()
    except OSError as exc:
        complaint = f"can't open file {path!r}: [Errno {exc.errno}] {exc.strerror}"
        print(f"{sys.orig_argv[0]}: {complaint}", file=sys.stderr)
        raise SystemExit(2) from None


def _read_stdin() -> bytes:
    return sys.stdin.buffer.read() if sys.stdin is not None else b""


def _is_pyc(path: str, data: bytes) -> bool:
    return path.endswith(".pyc") or data.startswith(importlib.util.MAGIC_NUMBER)


def _load(data: bytes, path: str) -> types.CodeType:
    """Return the code of a source or .pyc file."""
    if not _is_pyc(path, data):
        return _compile(data, path)
    if not data.startswith(importlib.util.MAGIC_NUMBER):
        raise RuntimeError("Bad magic number in .pyc file")
    code = marshal.loads(data[_PYC_HEADER_SIZE:])
    if not isinstance(code, types.CodeType):
        raise RuntimeError("Bad code object in .pyc file")
    return code


def _compile(source: str | bytes, name: str) -> types.CodeType:
    # The module's name is what filters of SyntaxWarnings go by.
    by_version: dict[str, Any] = {"module": "__main__"} if sys.version_info >= (3, 15) else {}
    code: types.CodeType = compile(source, name, "exec", dont_inherit=True, **by_version)
    return code


def _compile_command(source: str) -> types.CodeType:
    """Compile the code of -c, with its lines kept for tracebacks where this Python does so."""
    code = _compile(source, "<string>")
    if hasattr(linecache, "_interactive_cache"):
        # By code object, so that other code that calls its file "<string>" does not show these lines.
        linecache._register_code(code, source, "<string>")  # type: ignore[attr-defined]
    elif sys.version_info >= (3, 13):
        linecache.cache["<string>"] = (len(source), None, source.splitlines(keepends=True), "<string>")
    return code


def _runpy_main(name: str, alter_argv: bool) -> None:
    """Run a module in __main__ by the very function that the interpreter calls for -m.

    runpy.run_module is no substitute: it takes __main__ away again when the module ends, while threads and exit
    handlers may still need it.
    """
    runpy._run_module_as_main(name, alter_argv)  # type: ignore[attr-defined]


def _run_as_program(start: Callable[[], object]) -> None:
    """Call `start`; what it raises goes on to the interpreter, which ends the process as for any program."""
    _support.launcher = _FILE
    warnings._warn_unawaited_coroutine = _warn_unawaited_coroutine  # type: ignore[attr-defined]
    try:
        start()
    except SystemExit as exc:
        if sys.flags.inspect:
            _hide_frames(exc)
        raise
    except BaseException as exc:
        _hide_frames(exc)
        raise


def _hide_frames(exc: BaseException) -> None:
    """Make the interpreter report an exception on its way out without the frames of this file and of its callers.

    The exception itself cannot leave without them, and the interpreter must see it, for the exit code and to die
    by SIGINT after a KeyboardInterrupt. So sys.excepthook is taken for the one call that is still to come.
    """
    hook = sys.excepthook
    shown = exc.__traceback__
    while shown is not None and shown.tb_frame.f_globals is globals():
        shown = shown.tb_next

    def report(kind: type[BaseException], value: BaseException, _: types.TracebackType | None) -> None:
        sys.excepthook = hook
        sys.last_traceback = shown
        hook(kind, value.with_traceback(shown), shown)

    sys.excepthook = report


def _warn_unawaited_coroutine(coro: Any) -> None:
    """Warn as warnings' own function of this name, which the interpreter calls, of places in the program alone."""
    lines = [f"coroutine '{coro.__qualname__}' was never awaited\n"]
    if coro.cr_origin is not None:
        inner = itertools.takewhile(lambda place: place[0] != _FILE, coro.cr_origin)
        places = [(name, line, function, linecache.getline(name, line)) for name, line, function in inner]
        lines += ["Coroutine created at (most recent call last)\n", *traceback.format_list(places[::-1])]
    warnings.warn("".join(lines).rstrip("\n"), RuntimeWarning, stacklevel=2, source=coro)
