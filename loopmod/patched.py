"""Which of asyncio's functions and classes are patched now, and so which methods of ours give way.

A method of ours stands for one of asyncio's of the same name. Where that is patched, or anything that its code
names (loopmod/patch_tables.py), a forwarder takes the place of ours: it leads to whatever asyncio's classes have,
with its full effect on a loop of ours (loopmod/queues.py, loopmod/selector.py). C notices and opens
(src/core/patched.h); `settle` looks at everything.
"""

import asyncio
import types
import weakref
from collections.abc import Iterator
from typing import Any

from . import _loopmod, queues, selector
from .loop import Loop
from .patch_tables import BASES, BY_NAME, IN_HANDLES, IN_LOOP, INNER, OPENS, OWNERS, Entry, Forward

_MISSING = object()
_UNKNOWN = object()


def _is_compiled(code: types.CodeType, qualname: str) -> bool:
    """Whether a compiler made the code of that function: one that ddtrace assembles has functions for constants."""
    return code.co_qualname == qualname and not any(map(callable, code.co_consts))


def _is_stock(owner: Any, name: str, value: Any) -> bool:
    """Whether a function or class that is found at import is asyncio's own."""
    if isinstance(value, types.FunctionType):
        qualname = f"{owner.__qualname__}.{name}" if isinstance(owner, type) else name
        home = str(value.__globals__.get("__name__"))
        return home.startswith("asyncio.") and _is_compiled(value.__code__, qualname) and not vars(value)
    if isinstance(value, type):
        return value.__module__.startswith(("asyncio.", "_asyncio"))
    if name == "monotonic":
        return isinstance(value, types.BuiltinFunctionType)
    return True


def _is_ours(value: Any) -> bool:
    """Whether a function is one that the package itself has put there, in front of asyncio's (loopmod/notice.py)."""
    return isinstance(value, types.FunctionType) and str(value.__module__).startswith(f"{__package__}.")


def _stock_value(owner: Any, name: str) -> Any:
    value = vars(owner).get(name, _MISSING)
    is_ours = owner is Loop or owner is selector.WatchView
    return value if value is _MISSING or is_ours or _is_stock(owner, name, value) else _UNKNOWN


_stock = tuple(
    {name: _stock_value(owner, name) for name in opens} for owner, opens in zip(OWNERS, OPENS, strict=True)
)
_codes = {
    value: value.__code__ for stock in _stock for value in stock.values() if isinstance(value, types.FunctionType)
}


def _is_replaced(owner: Any, name: str, value: Any, stock: dict[str, Any]) -> bool:
    """Whether something that is not the stock value stands for a patch."""
    if stock[name] is _UNKNOWN and value is not _MISSING and _is_stock(owner, name, value):
        # A patch from before our import is undone.
        stock[name] = value
        if isinstance(value, types.FunctionType):
            _codes[value] = value.__code__
        return False
    if _is_ours(value):
        return False
    # nest_asyncio puts asyncio's classes in Python in the place of those in C.
    return not isinstance(value, type) or not _is_stock(owner, name, value)


# Loops that have something of their own, by their ids.
_loops: weakref.WeakValueDictionary[int, Loop] = weakref.WeakValueDictionary()


def _own_names(loop: Loop) -> Iterator[str]:
    """Yield what the loop, or a class of the program's among its classes, has in the place of asyncio's methods."""
    yield from INNER & vars(loop).keys()
    names = INNER
    for base in type(loop).__mro__:
        if base is asyncio.BaseEventLoop:
            break
        if base is Loop:
            names = frozenset(BY_NAME)  # behind it any of ours would hide the program's
        elif base not in Loop.__mro__:
            yield from names & vars(base).keys()


def note_own(loop: Loop) -> tuple[bool, bool]:
    """Return whether a loop has anything of its own, and whether that has changed."""
    found = frozenset(_own_names(loop))
    is_new = found != loop._own_names
    if is_new:
        loop.__dict__["_own_names"] = found
        _loops[id(loop)] = loop
    return bool(found), is_new


def _entries_of_loops() -> Iterator[Entry]:
    """Yield what has to give way for single loops and for what was put into our own class, for all loops alike."""
    for loop in list(_loops.values()):
        if not loop._closed:  # type: ignore[attr-defined]
            for name in loop._own_names:
                yield from BY_NAME[name]
    for name in INNER:
        value = vars(Loop).get(name, _MISSING)
        if value is not _stock[-1][name] and type(value) is not Forward:
            yield from BY_NAME[name]


def settle() -> tuple[bool, bool, tuple[Any, ...]]:
    """Let methods give way, or be ours again, by what is patched now.

    Return whether turns and runs are asyncio's own, and (function, code, ...) by which that was judged.
    """
    wanted = set(_entries_of_loops())
    is_init_patched = False
    exchanged = {id(function) for function, code in _codes.items() if function.__code__ is not code}
    for owner, opens, stock in zip(OWNERS, OPENS, _stock, strict=True):
        if owner is not Loop:
            found = vars(owner)
            for name, entries in opens.items():
                value = found.get(name, _MISSING)
                is_replaced = value is not stock[name] and _is_replaced(owner, name, value, stock)
                if is_replaced or id(value) in exchanged:
                    wanted.update(entries)
                    is_init_patched |= name == "__init__" and owner in BASES
    for entry in (*IN_LOOP.values(), *(entry for entries in IN_HANDLES.values() for entry in entries)):
        owner, name, own, forward = entry
        before, after = (own, forward) if entry in wanted else (forward, own)
        if vars(owner).get(name) is before:
            setattr(owner, name, after)
    Loop._calls_base_init = is_init_patched
    judged = tuple(item for function in _codes for item in (function, function.__code__))
    return (
        not wanted.isdisjoint((IN_LOOP["_run_once"], IN_LOOP["call_at"])),
        IN_LOOP["run_forever"] in wanted,
        judged,
    )


_loopmod._watch_patches(OWNERS, OPENS, settle, queues.make_handle, note_own, INNER | {"__class__"})
