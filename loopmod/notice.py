"""What `python -m loopmod` says where the program is not on its loop: one line on standard error.

Told are each kind of loop that is not ours, when the first of it begins to run, and Pythons that multiprocessing or
subprocess starts anew where no loop has run yet: those choose for themselves. Relies on what every loop calls when it
begins to run, `asyncio._set_running_loop`; ours take it from `_asyncio` and are not slowed down.
"""

import asyncio
import atexit
import contextlib
import importlib.machinery
import os
import subprocess
import sys
import types
from asyncio import events
from collections.abc import Callable, Collection, Sequence
from typing import Any

from . import _loopmod, policy
from .loop import Loop

WHERE = "docs: Programs with a server inside"
# Imported when the first process of its kind is started, and not before.
_SPAWNS = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")

_plain = events._set_running_loop
_plain_execute_child: Any = subprocess.Popen._execute_child  # type: ignore[attr-defined]
_words: frozenset[str] | None = None
# What has been told, by its id: classes of loops need not be hashable.
_told: dict[int, list[Any]] = {}


def watch(words: Collection[str]) -> None:
    """Begin to tell, by the words of the choice that was made. Idempotent but for the words."""
    global _words
    if _words is None:
        events._set_running_loop = asyncio._set_running_loop = _set_running_loop
        sys.meta_path.insert(0, _Lookout())
        subprocess.Popen._execute_child = _ExecuteChild()  # type: ignore[attr-defined]
        atexit.register(_quietly, _at_exit)
    _words = frozenset(words)


def _quietly(look: Callable[..., None], *args: Any) -> None:
    """Call what may tell: it stops no program, whatever that has for classes, modules and streams."""
    with contextlib.suppress(Exception):
        look(*args)


def _set_running_loop(loop: Any) -> None:
    if loop is not None and not isinstance(loop, _loopmod.Loop):
        _quietly(_look_at_kind, type(loop))
    _plain(loop)


def _look_at_kind(kind: type) -> None:
    module = str(kind.__module__)
    _tell(kind, f"{module}.{kind.__qualname__} runs here, not loopmod's loop: {_hint(module)}")


def _hint(module: str) -> str:
    """How the loop of this module could be one of ours."""
    assert _words is not None
    if policy.is_derived() and "defaults" not in _words:
        return "--defaults reaches the program's own event loop policy"
    is_uvloop = module.partition(".")[0] == "uvloop"
    if "as-uvloop" not in _words and (is_uvloop or _has_looked_in_vain()):
        return "--as-uvloop reaches what looks for uvloop"
    last = "" if "defaults" in _words else ", or try --defaults"
    return f"name loopmod:new_event_loop where the program takes a loop{last}"


def _has_looked_in_vain() -> bool:
    """Whether something here took asyncio's loop because uvloop is not installed."""
    return "uvicorn" in sys.modules and importlib.machinery.PathFinder.find_spec("uvloop") is None


class _Lookout:
    """Sees the first process that is started anew, by the module that this needs, and finds nothing."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None) -> None:
        if name in _SPAWNS:
            _quietly(_look_at_start)


class _ExecuteChild:
    """In the place of Popen's method of that name: sees who looks it up, and so is in no traceback."""

    def __get__(self, popen: Any, kind: type | None = None) -> Any:
        if popen is not None:
            _quietly(_look_at_command, popen.args)
        return _plain_execute_child.__get__(popen, kind)


def _look_at_command(words: Any) -> None:
    first = words if isinstance(words, str | bytes | os.PathLike) else words[0]
    if os.path.basename(os.fsdecode(first)).startswith("python"):
        _look_at_start()


def _look_at_start() -> None:
    """Tell of a Python that is started anew, unless what starts it has no loops, or has one of ours."""
    if _words is not None and "children" not in _words and not Loop._was_made and _uses_asyncio():
        _tell(_SPAWNS, "processes that are started anew choose their loop for themselves: --children")


def _uses_asyncio() -> bool:
    """Whether any module but asyncio's and ours has asyncio or something of it: who has not, starts no loops."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("asyncio", "_asyncio", __package__, "concurrent"):
            continue
        contents = vars(module) if type(module) is types.ModuleType else {}
        for value in list(contents.values()):
            if _is_of_asyncio(value):
                return True
    return False


def _is_of_asyncio(value: object) -> bool:
    if type(value) is types.ModuleType:
        return value.__name__.partition(".")[0] == "asyncio"
    return type(value) in (types.FunctionType, type) and str(value.__module__).partition(".")[0] == "asyncio"


def _at_exit() -> None:
    """In debug mode say too that no loop ran: a program that starts another one may have hidden it."""
    if _words is not None and "debug" in _words and not _told and not Loop._was_made and _uses_asyncio():
        _tell(None, "no event loop was made here; what was started anew chose for itself: --children")


def _tell(subject: Any, text: str) -> None:
    """Say a subject once, whichever threads come with it."""
    mine = [subject]
    if _words is None or _told.setdefault(id(subject), mine) is not mine:
        return
    if "debug" in _words:
        sys.stderr.write(f"loopmod: {text} ({WHERE})\n")
    elif "no-notice" not in _words:
        sys.stderr.write(f"loopmod: {text} ({WHERE}; --no-notice hides this)\n")
    sys.stderr.flush()
