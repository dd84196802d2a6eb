"""What `python -m loopmod` says where the program is not on its loop: one line on standard error.

Told are each kind of loop that is not ours, when the first of it begins to run, and processes that multiprocessing
starts anew where no loop has run yet: those choose for themselves. Relies on what every loop calls when it begins to
run, `asyncio._set_running_loop`; ours take it from `_asyncio` and are not slowed down.
"""

import asyncio
import atexit
import sys
import types
from asyncio import events
from collections.abc import Collection, Sequence
from typing import Any

from . import _loopmod, policy
from .loop import Loop

WHERE = "docs: Programs with a server inside"
# Imported when the first process of its kind is started, and not before.
_SPAWNS = ("multiprocessing.popen_spawn_posix", "multiprocessing.popen_forkserver")

_plain = events._set_running_loop
_words: frozenset[str] | None = None
_told: set[Any] = set()


def watch(words: Collection[str]) -> None:
    """Begin to tell, by the words of the choice that was made. Idempotent but for the words."""
    global _words
    if _words is None:
        events._set_running_loop = asyncio._set_running_loop = _set_running_loop
        sys.meta_path.insert(0, _Lookout())
        atexit.register(_at_exit)
    _words = frozenset(words)


def _set_running_loop(loop: Any) -> None:
    if loop is not None and not isinstance(loop, _loopmod.Loop):
        kind = type(loop)
        _tell(kind, f"{kind.__module__}.{kind.__qualname__} runs here, not loopmod's loop: {_hint(kind.__module__)}")
    _plain(loop)


def _hint(module: str) -> str:
    """How the loop of this module could be one of ours."""
    assert _words is not None
    if policy.is_derived() and "defaults" not in _words:
        return "--defaults reaches the program's own event loop policy"
    looks_for_uvloop = module.partition(".")[0] == "uvloop" or "uvicorn" in sys.modules
    if looks_for_uvloop and "as-uvloop" not in _words:
        return "--as-uvloop reaches what looks for uvloop"
    last = "" if "defaults" in _words else ", or try --defaults"
    return f"name loopmod:new_event_loop where the program takes a loop{last}"


class _Lookout:
    """Sees the first process that is started anew, by the module that this needs, and finds nothing."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None) -> None:
        if name in _SPAWNS and not Loop._was_made and _words is not None and "children" not in _words:
            if _uses_asyncio():
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
    """Say a subject once."""
    if subject in _told:
        return
    _told.add(subject)
    off = "" if _words is not None and "debug" in _words else "; --no-notice hides this"
    try:
        sys.stderr.write(f"loopmod: {text} ({WHERE}{off})\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        pass  # there is no standard error
