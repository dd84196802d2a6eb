"""What asyncio's locks, events and queues do, told by their code; and what subclasses and patches make of it.

Asked by src/sync/, through loopmod/_support.py: whether the C core may do what the methods of a class would. Relies
on the names that the code of those methods has.
"""

import copyreg
import inspect
import types
from asyncio import coroutines, locks, mixins, queues
from typing import Any

_SEMAPHORE_WAIT = {
    "CancelledError",
    "_get_loop",
    "_value",
    "_waiters",
    "_wake_up_next",
    "append",
    "cancelled",
    "collections",
    "create_future",
    "deque",
    "exceptions",
    "locked",
    "remove",
}
_QUEUE_INIT = {
    "Event",
    "_finished",
    "_getters",
    "_init",
    "_maxsize",
    "_putters",
    "_unfinished_tasks",
    "collections",
    "deque",
    "locks",
    "set",
}
_QUEUE_WAIT = {"ValueError", "_get_loop", "_wakeup_next", "append", "cancel", "cancelled", "create_future", "remove"}


_SHUTDOWN = {"QueueShutDown", "_is_shutdown"}


def _by_version(names: set[str], since: set[str] = _SHUTDOWN) -> tuple[set[str], ...]:
    """Return the names of the running version: from 3.13 on there are those of queues that are shut down, too."""
    return (names | since if hasattr(queues, "QueueShutDown") else names,)


# All the names that the code of each method has, in the versions that C follows.
_CODE_NAMES: dict[str, tuple[set[str], ...]] = {
    "_LoopBoundMixin._get_loop": ({"RuntimeError", "_get_running_loop", "_global_lock", "_loop", "events"},),
    "_ContextManagerMixin.__aenter__": ({"acquire"},),
    "_ContextManagerMixin.__aexit__": ({"release"},),
    "Event.__init__": ({"_value", "_waiters", "collections", "deque"},),
    "Event.is_set": ({"_value"},),
    "Event.set": ({"_value", "_waiters", "done", "set_result"},),
    "Event.clear": ({"_value"},),
    "Event.wait": ({"_get_loop", "_value", "_waiters", "append", "create_future", "remove"},),
    "Lock.__init__": ({"_locked", "_waiters"},),
    "Lock.locked": ({"_locked"},),
    "Lock.acquire": (
        {
            "CancelledError",
            "_get_loop",
            "_locked",
            "_waiters",
            "_wake_up_first",
            "all",
            "append",
            "collections",
            "create_future",
            "deque",
            "exceptions",
            "remove",
        },
    ),
    "Lock.release": ({"RuntimeError", "_locked", "_wake_up_first"},),
    "Lock._wake_up_first": ({"StopIteration", "_waiters", "done", "iter", "next", "set_result"},),
    "Semaphore.__init__": ({"ValueError", "_value", "_waiters"},),
    "Semaphore.locked": ({"_value", "_waiters", "any"},),
    "Semaphore.acquire": (_SEMAPHORE_WAIT, _SEMAPHORE_WAIT | {"done"}),
    "Semaphore.release": ({"_value", "_wake_up_next"},),
    "Semaphore._wake_up_next": ({"_value", "_waiters", "done", "set_result"},),
    "BoundedSemaphore.__init__": ({"__init__", "_bound_value", "super"},),
    "BoundedSemaphore.release": ({"ValueError", "_bound_value", "_value", "release", "super"},),
    "Queue.__init__": _by_version(_QUEUE_INIT, {"_is_shutdown"}),
    "Queue.qsize": ({"_queue", "len"},),
    "Queue.empty": ({"_queue"},),
    "Queue.full": ({"_maxsize", "qsize"},),
    "Queue.put": _by_version(_QUEUE_WAIT | {"_putters", "full", "put_nowait"}),
    "Queue.get": _by_version(_QUEUE_WAIT | {"_getters", "empty", "get_nowait"}),
    "Queue.put_nowait": _by_version(
        {"QueueFull", "_finished", "_getters", "_put", "_unfinished_tasks", "_wakeup_next", "clear", "full"}
    ),
    "Queue.get_nowait": _by_version({"QueueEmpty", "_get", "_putters", "_wakeup_next", "empty"}),
    "Queue.task_done": ({"ValueError", "_finished", "_unfinished_tasks", "set"},),
    "Queue._init": ({"_queue", "collections", "deque"},),
    "Queue._put": ({"_queue", "append"},),
    "Queue._get": ({"_queue", "popleft"},),
    "Queue._wakeup_next": ({"done", "popleft", "set_result"},),
    "PriorityQueue._init": ({"_queue"},),
    "PriorityQueue._put": ({"_queue"},),
    "PriorityQueue._get": ({"_queue"},),
    "LifoQueue._init": ({"_queue"},),
    "LifoQueue._put": ({"_queue", "append"},),
    "LifoQueue._get": ({"_queue", "pop"},),
}
# Attributes that the types have in C: a class that has such a name, too, hides it.
_MEMBERS = (
    "_waiters",
    "_value",
    "_locked",
    "_bound_value",
    "_maxsize",
    "_getters",
    "_putters",
    "_unfinished_tasks",
    "_finished",
    "_queue",
    "_is_shutdown",
)
_FIELDS = (*_MEMBERS, "_loop", "__getattribute__", "__setattr__", "__delattr__")

_STOCK: tuple[type, ...] = (
    locks.Event,
    locks.Lock,
    locks.Semaphore,
    locks.BoundedSemaphore,
    queues.Queue,
    queues.PriorityQueue,
    queues.LifoQueue,
)
_MODULES = (locks, mixins, queues)
# How a queue keeps its items, by where its methods for that are from; else the next number.
_STORES: tuple[type, ...] = _STOCK[-3:]


# What stood where when the types of the C core were made: (class, name) -> value, and for each of asyncio's classes
# (class, name) -> where it has that from, NoneType where that is not what C knows. Whose code is exchanged later, C
# sees by itself.
_noted: dict[tuple[type, str], Any] = {}
_holders: dict[tuple[type, str], type] = {}
# The names of methods, in the order of the bits.
_names: list[str] = []


def _holder(cls: type, name: str) -> type | None:
    return next((base for base in cls.__mro__ if name in vars(base)), None)


def _is_known(function: Any) -> bool:
    code: Any = getattr(function, "__code__", None)
    return (
        type(function) is types.FunctionType
        and any(function.__globals__ is vars(module) for module in _MODULES)
        and set(code.co_names) in _CODE_NAMES.get(code.co_qualname, ())
    )


def note_sync_types(names: tuple[str, ...], *ours: type) -> frozenset[str]:
    """Note what the types of the C core and asyncio's classes have; return what instances may hide of it."""
    _names[:] = names
    for cls in (*ours, *_STOCK):
        for name in (*names, *_FIELDS):
            holder = _holder(cls, name)
            if holder is not None:
                _noted[holder, name] = vars(holder)[name]
                if cls in _STOCK and name in names:
                    _holders[cls, name] = holder if _is_known(vars(holder)[name]) else type(None)
    return frozenset(names)


def _is_other(cls: type, name: str) -> bool:
    holder = _holder(cls, name)
    return holder is not None and _noted.get((holder, name)) is not vars(holder)[name]


def judge_sync_class(cls: type) -> tuple[int, int]:
    """Return bits of what a class overrides, and of what is patched in asyncio's classes.

    A bit by the place of each name, the next one for the fields, and behind that how a queue keeps its items.
    """
    own = sum(1 << index for index, name in enumerate(_names) if _is_other(cls, name))
    if any(_is_other(cls, name) for name in _FIELDS):
        own |= 1 << len(_names)
    holders = {_holder(cls, name) for name in ("_init", "_put", "_get")}
    store = next((index for index, base in enumerate(_STORES) if holders == {base}), len(_STORES))
    own |= store << len(_names) + 1
    patched = 0
    for (stock, name), holder in _holders.items():
        if _holder(stock, name) is not holder or _is_other(stock, name):
            patched |= 1 << _names.index(name)
    return own, patched


def sync_state(thing: Any, attributes: dict[str, Any]) -> Any:
    """Return what copy and pickle keep: the instance's dict, and what it has in C and in slots."""
    cls = type(thing)
    slots = {}
    for name in (*_MEMBERS, *copyreg._slotnames(cls)):  # type: ignore[attr-defined]
        if hasattr(thing, name):
            slots[name] = getattr(thing, name)
    if thing._loop is not None:
        slots["_loop"] = thing._loop
    return attributes or None, slots


def coroutine_marks() -> tuple[Any, Any]:
    """Return the marks by which inspect and asyncio know a coroutine function that is not Python, or None."""
    return getattr(inspect, "_is_coroutine_mark", None), getattr(coroutines, "_is_coroutine", None)


def semaphore_loops() -> bool:
    """Return whether a semaphore's waiter that ends wakes as many others as it can, as from 3.13 on."""
    return "done" in locks.Semaphore.acquire.__code__.co_names


def register_coroutine(cls: type) -> None:
    """Make the C core's coroutine object one to collections.abc, and so to asyncio."""
    from collections.abc import Coroutine

    Coroutine.register(cls)
