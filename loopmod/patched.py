"""Which of asyncio's functions and classes are patched, and which methods of ours give way to them.

A method of ours stands for one of asyncio's of the same name. Where that is patched, or anything that its code
names, a forwarder takes the place of ours: it leads to whatever asyncio's classes have, with its full effect on a
loop of ours (loopmod/queues.py). C notices and opens (src/core/patched.h); `settle` looks at everything.
"""

import asyncio
import functools
import time
import types
import weakref
from asyncio import base_events, events, futures, selector_events, sslproto, tasks, unix_events
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

from . import _loopmod, queues, selector
from .loop import Loop

# A class of ours, a name, the method of ours, and what takes its place.
_Entry = tuple[type, str, Any, Any]
_Opens = dict[str, tuple[_Entry, ...]]

_BASES = asyncio.SelectorEventLoop.__mro__[:-2]  # down to BaseEventLoop: it overrides all that the last two have
_HANDLES = tuple(
    getattr(events, name) for name in ("Handle", "TimerHandle", "_ThreadSafeHandle") if hasattr(events, name)
)
_MODULES = (time, events, tasks, futures, base_events, selector_events, unix_events, sslproto)
# What asyncio's methods make where ours make transports in C.
_MADE = (
    selector_events._SelectorSocketTransport,  # type: ignore[attr-defined]
    selector_events._SelectorDatagramTransport,  # type: ignore[attr-defined]
    unix_events._UnixReadPipeTransport,  # type: ignore[attr-defined]
    unix_events._UnixWritePipeTransport,  # type: ignore[attr-defined]
    sslproto.SSLProtocol,
)

# These call asyncio's own in any case, so that a patch is seen without more.
_CALL_BASE = frozenset(
    (
        "_check_running",
        "_make_self_pipe",
        "_stop_serving",
        "_timer_handle_cancelled",
        "create_server",
        "create_unix_server",
        "run_until_complete",
    )
)
# Asked of the loop by name where a run begins, whoever begins it.
_ASKED_BY_NAME = frozenset(("_asyncgen_finalizer_hook", "_asyncgen_firstiter_hook"))
# With a clock that is patched, timers in C ask it; nothing else has to give way.
_CLOCK = frozenset(("monotonic", "time"))
_MISSING = object()
_UNKNOWN = object()


class _Forward:
    """In the place of a method of ours: what the classes after `after` have of that name, as it is now.

    It may stand there in vain: whether it does is found out before anything is done by it.
    """

    __slots__ = ("_after", "_name", "_own", "_place")

    def __init__(self, place: type, name: str, own: Any, after: type) -> None:
        self._place = place
        self._name = name
        self._own = own
        self._after = after

    def __get__(self, instance: Any, cls: type | None = None) -> Any:
        _loopmod._settle_patches()
        is_closed = vars(self._place).get(self._name) is self._own
        if is_closed:
            return self._own.__get__(instance, cls)
        return getattr(super(self._after, cls if instance is None else instance), self._name)


@functools.cache
def _names_in(code: types.CodeType) -> frozenset[str]:
    inner = (_names_in(const) for const in code.co_consts if isinstance(const, types.CodeType))
    return frozenset(code.co_names).union(*inner) - _ASKED_BY_NAME


@functools.cache
def _named_by_methods(name: str) -> frozenset[str]:
    """Return all that asyncio's methods of that name, in any of its classes, name."""
    functions = (vars(base).get(name) for base in _BASES)
    named = (_names_in(function.__code__) for function in functions if isinstance(function, types.FunctionType))
    return frozenset[str]().union(*named)


def _callees(name: str, own: frozenset[str]) -> frozenset[str]:
    """Return all that asyncio's method names, and what those of its methods name that we have none for."""
    found = todo = frozenset((name,))
    while todo:
        named = frozenset[str]().union(*map(_named_by_methods, todo))
        todo = named - own - found
        found |= named
    return found


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


def _entries() -> tuple[dict[str, _Entry], dict[str, list[_Entry]]]:
    """Return what can give way in Loop, and in the classes of handles, by name."""
    in_loop: dict[str, _Entry] = {}
    for name, value in vars(Loop).items():
        is_method = isinstance(value, types.FunctionType | types.MethodDescriptorType) and not name.startswith("__")
        if is_method and name not in _CALL_BASE and any(name in vars(base) for base in _BASES):
            in_loop[name] = (Loop, name, value, _Forward(Loop, name, value, _loopmod.Loop))
    in_handles: dict[str, list[_Entry]] = {}
    for handle in (getattr(_loopmod, base.__name__) for base in _HANDLES):
        for name, value in vars(handle).items():
            if isinstance(value, types.MethodDescriptorType):
                forward = _Forward(handle, name, value, handle)
                in_handles.setdefault(name, []).append((handle, name, value, forward))
    return in_loop, in_handles


_IN_LOOP, _IN_HANDLES = _entries()
_shared: dict[tuple[_Entry, ...], tuple[_Entry, ...]] = {}
_NAMED_BY: dict[str, list[_Entry]] = {}
for _name, _entry in _IN_LOOP.items():
    for _callee in _callees(_name, frozenset(_IN_LOOP)):
        _NAMED_BY.setdefault(_callee, []).append(_entry)
# Who makes a future or task by ours need not name the class.
for _name, _method in (("Future", "create_future"), ("Task", "create_task")):
    _NAMED_BY[_name] = [*_NAMED_BY.get(_name, ()), *_NAMED_BY[_method]]
# A timer's cancel() tells the loop.
_NAMED_BY["_timer_handle_cancelled"] = [*_NAMED_BY["TimerHandle"], *_NAMED_BY["_run"], *_IN_HANDLES["cancel"]]
# Nor who makes a transport: a server's listener in C does it past the method.
for _name in (made.__name__ for made in _MADE):
    _NAMED_BY[_name] = [*_NAMED_BY[_name], *(entry for maker in _NAMED_BY[_name] for entry in _NAMED_BY[maker[1]])]
for _name in _CLOCK:
    _NAMED_BY[_name] = [_IN_LOOP["time"]]


def _transport_classes() -> dict[type, list[_Entry]]:
    """Return asyncio's classes of transports: what gives way where something of one is patched."""
    found: dict[type, list[_Entry]] = {sslproto._SSLProtocolTransport: [*_NAMED_BY["SSLProtocol"]]}
    for made in _MADE:
        for base in made.__mro__:
            if base is not object and base.__module__ != "asyncio.protocols":
                found.setdefault(base, []).extend(_NAMED_BY[made.__name__])
    return found


_TRANSPORTS = _transport_classes()


def _is_of_transports(name: str, value: object) -> bool:
    """Whether something of such a class counts; not __del__, which programs patch to have it silent."""
    return not isinstance(value, type) and (name == "__init__" or not name.startswith("__"))


def _opened_by(owner: Any, name: str) -> tuple[_Entry, ...]:
    found = list(_TRANSPORTS[owner] if owner in _TRANSPORTS else _NAMED_BY.get(name, ()))
    if owner in _HANDLES:
        found += _NAMED_BY[owner.__name__] if owner.__name__ in _NAMED_BY else _NAMED_BY["Handle"]
        found += _NAMED_BY["Handle"] + _NAMED_BY["_run"] + _IN_HANDLES.get(name, [])
    entries = tuple(dict.fromkeys(found))
    return _shared.setdefault(entries, entries)


def _all_of(cls: type) -> dict[str, Any]:
    """Return what a class has by itself or from another: a patch may be put in front of that."""
    return {name: value for base in reversed(cls.__mro__[:-1]) for name, value in vars(base).items()}


def _opens_of(owner: Any) -> _Opens:
    if owner in _TRANSPORTS:
        names = {name for name, value in _all_of(owner).items() if _is_of_transports(name, value)}
        return {name: _opened_by(owner, name) for name in names}
    if owner is selector.WatchView:
        return {"select": _opened_by(owner, "select")}
    if isinstance(owner, type):
        names = {*_all_of(owner), *_IN_LOOP} if owner in _BASES else {*_all_of(owner), "__repr__", "__init__"}
        return {name: opened for name in names if (opened := _opened_by(owner, name)) or name == "__init__"}
    if owner is time:
        return {"monotonic": _opened_by(owner, "monotonic")}
    names = {name for name in _NAMED_BY if name in vars(owner)}
    return {name: _opened_by(owner, name) for name in names}


_BY_NAME: _Opens = {name: opened for base in _BASES for name, opened in _opens_of(base).items()}
# What a loop may have of its own, where its method of that name is called by asyncio's methods alone. Others are
# asked for by name in any case.
_INNER = frozenset(name for name in _BY_NAME if name.startswith("_") and not name.startswith("__")) - {"_run_once"}
# A change of these in Loop opens nothing by itself, but is looked at.
_IN_OURS: _Opens = dict.fromkeys((*_IN_LOOP, "_selector", *_INNER), ())
_OWNERS: tuple[Any, ...] = (*_MODULES, *_BASES, *_HANDLES, *_TRANSPORTS, selector.WatchView, Loop)
_OPENS = (*(_opens_of(owner) for owner in _OWNERS[:-1]), _IN_OURS)
_TRANSPORTS.clear()
_NAMED_BY.clear()  # much for the collector to look at, and for nothing
_names_in.cache_clear()
_named_by_methods.cache_clear()
_shared.clear()


def _is_ours(value: Any) -> bool:
    """Whether a function is one that the package itself has put there, in front of asyncio's (loopmod/notice.py)."""
    return isinstance(value, types.FunctionType) and str(value.__module__).startswith(f"{__package__}.")


def _stock_value(owner: Any, name: str) -> Any:
    value = vars(owner).get(name, _MISSING)
    is_ours = owner is Loop or owner is selector.WatchView
    return value if value is _MISSING or is_ours or _is_stock(owner, name, value) else _UNKNOWN


_stock = tuple(
    {name: _stock_value(owner, name) for name in opens} for owner, opens in zip(_OWNERS, _OPENS, strict=True)
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
    yield from _INNER & vars(loop).keys()
    names = _INNER
    for base in type(loop).__mro__:
        if base is asyncio.BaseEventLoop:
            break
        if base is Loop:
            names = frozenset(_BY_NAME)  # behind it any of ours would hide the program's
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


def _entries_of_loops() -> Iterator[_Entry]:
    """Yield what has to give way for single loops and for what was put into our own class, for all loops alike."""
    for loop in list(_loops.values()):
        if not loop._closed:  # type: ignore[attr-defined]
            for name in loop._own_names:
                yield from _BY_NAME[name]
    for name in _INNER:
        value = vars(Loop).get(name, _MISSING)
        if value is not _stock[-1][name] and type(value) is not _Forward:
            yield from _BY_NAME[name]


def settle() -> tuple[bool, bool, tuple[Any, ...]]:
    """Let methods give way, or be ours again, by what is patched now.

    Return whether turns and runs are asyncio's own, and (function, code, ...) by which that was judged.
    """
    wanted = set(_entries_of_loops())
    is_init_patched = False
    exchanged = {id(function) for function, code in _codes.items() if function.__code__ is not code}
    for owner, opens, stock in zip(_OWNERS, _OPENS, _stock, strict=True):
        if owner is not Loop:
            found = vars(owner)
            for name, entries in opens.items():
                value = found.get(name, _MISSING)
                is_replaced = value is not stock[name] and _is_replaced(owner, name, value, stock)
                if is_replaced or id(value) in exchanged:
                    wanted.update(entries)
                    is_init_patched |= name == "__init__" and owner in _BASES
    for entry in (*_IN_LOOP.values(), *(entry for entries in _IN_HANDLES.values() for entry in entries)):
        owner, name, own, forward = entry
        before, after = (own, forward) if entry in wanted else (forward, own)
        if vars(owner).get(name) is before:
            setattr(owner, name, after)
    Loop._calls_base_init = is_init_patched
    judged = tuple(item for function in _codes for item in (function, function.__code__))
    return (
        not wanted.isdisjoint((_IN_LOOP["_run_once"], _IN_LOOP["call_at"])),
        _IN_LOOP["run_forever"] in wanted,
        judged,
    )


if hasattr(_loopmod, "_ThreadSafeHandle"):
    # What asyncio's own methods take; ours has its own way to keep threads apart.
    _loopmod._ThreadSafeHandle._lock = nullcontext()

_loopmod._watch_patches(_OWNERS, _OPENS, settle, queues.make_handle, note_own, _INNER | {"__class__"})
