"""Which methods of ours give way to patches of asyncio's functions and classes: OPENS, from what is patched to them.

A method of ours stands for one of asyncio's of the same name, and for all that its code names. The tables are read
from that code, once, so none is kept by version. What is patched is found out by loopmod/patched.py.
"""

import asyncio
import functools
import time
import types
from asyncio import base_events, events, futures, selector_events, sslproto, tasks, unix_events
from typing import Any

from . import _loopmod, selector
from .loop import Loop

# A class of ours, a name, the method of ours, and what takes its place.
Entry = tuple[type, str, Any, Any]
_Opens = dict[str, tuple[Entry, ...]]

BASES = asyncio.SelectorEventLoop.__mro__[:-2]  # down to BaseEventLoop: it overrides all that the last two have
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


class Forward:
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
    functions = (vars(base).get(name) for base in BASES)
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


def _entries() -> tuple[dict[str, Entry], dict[str, list[Entry]]]:
    """Return what can give way in Loop, and in the classes of handles, by name."""
    in_loop: dict[str, Entry] = {}
    for name, value in vars(Loop).items():
        is_method = isinstance(value, types.FunctionType | types.MethodDescriptorType) and not name.startswith("__")
        if is_method and name not in _CALL_BASE and any(name in vars(base) for base in BASES):
            in_loop[name] = (Loop, name, value, Forward(Loop, name, value, _loopmod.Loop))
    in_handles: dict[str, list[Entry]] = {}
    for handle in (getattr(_loopmod, base.__name__) for base in _HANDLES):
        for name, value in vars(handle).items():
            if isinstance(value, types.MethodDescriptorType):
                forward = Forward(handle, name, value, handle)
                in_handles.setdefault(name, []).append((handle, name, value, forward))
    return in_loop, in_handles


IN_LOOP, IN_HANDLES = _entries()
_shared: dict[tuple[Entry, ...], tuple[Entry, ...]] = {}
_NAMED_BY: dict[str, list[Entry]] = {}
for _name, _entry in IN_LOOP.items():
    for _callee in _callees(_name, frozenset(IN_LOOP)):
        _NAMED_BY.setdefault(_callee, []).append(_entry)
# Who makes a future or task by ours need not name the class.
for _name, _method in (("Future", "create_future"), ("Task", "create_task")):
    _NAMED_BY[_name] = [*_NAMED_BY.get(_name, ()), *_NAMED_BY[_method]]
# A timer's cancel() tells the loop.
_NAMED_BY["_timer_handle_cancelled"] = [*_NAMED_BY["TimerHandle"], *_NAMED_BY["_run"], *IN_HANDLES["cancel"]]
# Nor who makes a transport: a server's listener in C does it past the method.
for _name in (made.__name__ for made in _MADE):
    _NAMED_BY[_name] = [*_NAMED_BY[_name], *(entry for maker in _NAMED_BY[_name] for entry in _NAMED_BY[maker[1]])]
for _name in _CLOCK:
    _NAMED_BY[_name] = [IN_LOOP["time"]]


def _transport_classes() -> dict[type, list[Entry]]:
    """Return asyncio's classes of transports: what gives way where something of one is patched."""
    found: dict[type, list[Entry]] = {sslproto._SSLProtocolTransport: [*_NAMED_BY["SSLProtocol"]]}
    for made in _MADE:
        for base in made.__mro__:
            if base is not object and base.__module__ != "asyncio.protocols":
                found.setdefault(base, []).extend(_NAMED_BY[made.__name__])
    return found


_TRANSPORTS = _transport_classes()


def _is_of_transports(name: str, value: object) -> bool:
    """Whether something of such a class counts; not __del__, which programs patch to have it silent."""
    return not isinstance(value, type) and (name == "__init__" or not name.startswith("__"))


def _opened_by(owner: Any, name: str) -> tuple[Entry, ...]:
    found = list(_TRANSPORTS[owner] if owner in _TRANSPORTS else _NAMED_BY.get(name, ()))
    if owner in _HANDLES:
        found += _NAMED_BY[owner.__name__] if owner.__name__ in _NAMED_BY else _NAMED_BY["Handle"]
        found += _NAMED_BY["Handle"] + _NAMED_BY["_run"] + IN_HANDLES.get(name, [])
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
        names = {*_all_of(owner), *IN_LOOP} if owner in BASES else {*_all_of(owner), "__repr__", "__init__"}
        return {name: opened for name in names if (opened := _opened_by(owner, name)) or name == "__init__"}
    if owner is time:
        return {"monotonic": _opened_by(owner, "monotonic")}
    names = {name for name in _NAMED_BY if name in vars(owner)}
    return {name: _opened_by(owner, name) for name in names}


BY_NAME: _Opens = {name: opened for base in BASES for name, opened in _opens_of(base).items()}
# What a loop may have of its own, where its method of that name is called by asyncio's methods alone. Others are
# asked for by name in any case.
INNER = frozenset(name for name in BY_NAME if name.startswith("_") and not name.startswith("__")) - {"_run_once"}
# A change of these in Loop opens nothing by itself, but is looked at.
_IN_OURS: _Opens = dict.fromkeys((*IN_LOOP, "_selector", *INNER), ())
OWNERS: tuple[Any, ...] = (*_MODULES, *BASES, *_HANDLES, *_TRANSPORTS, selector.WatchView, Loop)
OPENS = (*(_opens_of(owner) for owner in OWNERS[:-1]), _IN_OURS)
_TRANSPORTS.clear()
_NAMED_BY.clear()  # much for the collector to look at, and for nothing
_names_in.cache_clear()
_named_by_methods.cache_clear()
_shared.clear()
