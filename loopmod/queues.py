"""A loop's queues and selector as asyncio's own code, and tools beside it, use them.

What is behind them is in C: the ready ring, the heap of timers, the poll. While a loop takes asyncio's own way
(src/core/patched.h), these are what `BaseEventLoop._run_once` and its like work on.
"""

import asyncio
import collections
import contextvars
import functools
import heapq
import selectors
import signal
import weakref
from asyncio import events
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from . import _loopmod

if TYPE_CHECKING:
    from .loop import Loop

_Event = tuple[selectors.SelectorKey, int]


class Due:
    """The callback of a handle that stands for something that has none: a transport, a future with callbacks."""

    __slots__ = ("__self__", "_due")

    def __init__(self, obj: object, due: object) -> None:
        self.__self__ = obj
        self._due = due

    def __call__(self) -> None:
        _loopmod._run_due(self._due)

    def __repr__(self) -> str:
        return f"<due: {self.__self__!r}>"


def make_handle(loop: "Loop", obj: object, due: object) -> asyncio.Handle:
    """Return the handle of an item of the ready queue, which enters its context by itself."""
    return events.Handle(Due(obj, due), (), loop, contextvars.Context())


class _Gone:
    """What is popped where a run within this one has taken everything."""

    _cancelled = True


class Ready:
    """`_ready`: what runs next, in its order.

    Tasks, transports and futures whose callbacks are due have no handle: each is the `__self__` of a callback.
    """

    __slots__ = ("_loop",)

    def __init__(self, loop: "Loop") -> None:
        self._loop = loop

    def __len__(self) -> int:
        return self._loop._ready_count

    def __iter__(self) -> Iterator[asyncio.Handle]:
        loop = self._loop
        return iter(
            [
                item if isinstance(item, asyncio.Handle) else asyncio.Handle(item.__repr__, (), loop)
                for item in loop._ready_items
            ]
        )

    def __getitem__(self, index: int) -> asyncio.Handle:
        found: asyncio.Handle = [*self][index]
        return found

    def __repr__(self) -> str:
        return f"Ready({[*self]!r})"

    def append(self, handle: Any) -> None:
        """Let a handle of any class run; any thread."""
        self._loop._push_ready(handle)

    def popleft(self) -> Any:
        """Take out what runs first, as a handle."""
        handle = self._loop._pop_ready()
        if handle is None:
            return _Gone
        stock = stock_of(handle)
        if stock is not handle:
            handle._callback.expire()
        return stock

    def clear(self) -> None:
        """Forget everything."""
        while self._loop._pop_ready() is not None:
            pass

    def __getattr__(self, name: str) -> Any:
        """Return what a deque has besides: it works on a copy, which is then what is ready."""
        method = getattr(collections.deque, name)
        return functools.partial(self._change, method)

    def _change(self, method: Callable[..., Any], *args: Any) -> Any:
        queue = collections.deque(iter(self._loop._pop_ready, None))
        try:
            return method(queue, *args)
        finally:
            for handle in queue:
                self._loop._push_ready(handle)

    def __delitem__(self, index: int) -> None:
        self._change(collections.deque.__delitem__, index)

    def __setitem__(self, index: int, handle: Any) -> None:
        self._change(collections.deque.__setitem__, index, handle)


class Timers(tuple[asyncio.TimerHandle, ...]):
    """`_scheduled` while C waits for the timers: a snapshot, the soonest first."""

    __slots__ = ()

    def clear(self) -> None:
        """Do nothing: asyncio's own close() forgets the timers before it calls this."""


class Stock:
    """The callback of a handle of ours that stands for one of asyncio's: where C waits for that."""

    __slots__ = ("fd", "handle", "loop")

    # fd: what the handle reads or writes; none for a timer
    def __init__(self, loop: "Loop", handle: Any, fd: int = -1) -> None:
        self.loop = loop
        self.handle = handle
        self.fd = fd

    def __call__(self) -> None:
        self.expire()
        if not self.handle._cancelled:
            self.handle._run()
        elif self.fd >= 0:
            self.loop._remove_reader(self.fd)
            self.loop._remove_writer(self.fd)

    def expire(self) -> None:
        """Forget that C waits, if it is a timer."""
        if self.fd < 0:
            self.loop._stock_timers.pop(id(self.handle), None)
            self.handle._scheduled = False


def stock_of(handle: Any) -> Any:
    """Return the handle of asyncio's that one of ours stands for, or that itself."""
    callback = handle._callback
    return callback.handle if type(callback) is Stock else handle


def hold_timers(loop: "Loop", held: list[Any]) -> list[Any]:
    """Move what C waits for into asyncio's own heap of timers."""
    handle: Any
    for handle in loop._take_timers() or ():
        stock = stock_of(handle)
        if stock is not handle:
            loop._stock_timers.pop(id(stock), None)
            handle._scheduled = False
        heapq.heappush(held, stock)
    return held


def release_timers(loop: "Loop", held: list[Any]) -> None:
    """Let C wait for what asyncio's own heap of timers holds."""
    for handle in sorted(held):
        if type(handle) is _loopmod.TimerHandle:
            loop._put_timer(handle)
        elif handle._cancelled:
            handle._scheduled = False
        else:
            proxy = _loopmod.Loop.call_at(loop, handle._when, Stock(loop, handle), context=contextvars.Context())
            loop._stock_timers[id(handle)] = proxy
    held.clear()


class _KeyMap:
    """`get_map()`: the keys of watched descriptors, which can be asked for one by one."""

    __slots__ = ("_view",)

    def __init__(self, view: "WatchView") -> None:
        self._view = view

    def get(self, fileobj: Any, default: Any = None) -> Any:
        try:
            return self._view.get_key(fileobj)
        except KeyError:
            return default

    __getitem__ = property(lambda self: self._view.get_key)

    def __contains__(self, fileobj: Any) -> bool:
        return self.get(fileobj) is not None


class WatchView:
    """`_selector`: which descriptors are watched, and for what; the wait for them."""

    def __init__(self, loop: "Loop") -> None:
        self._loop = loop

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "select":
            self._loop._has_own_select = True

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        if name == "select":
            self._loop._has_own_select = False

    def get_map(self) -> _KeyMap:
        """Return a mapping from descriptors to keys."""
        return _KeyMap(self)

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        """Return the key of a watched descriptor; KeyError for any other."""
        reader, writer, _ = self._loop._watched(fileobj)
        events = (selectors.EVENT_READ if reader else 0) | (selectors.EVENT_WRITE if writer else 0)
        if not events:
            raise KeyError(fileobj)
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        data = reader and stock_of(reader), writer and stock_of(writer)
        return selectors.SelectorKey(fileobj, fd, events, data)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a descriptor; `data` are the handles of its reader and writer. KeyError if it is watched."""
        if fileobj in self.get_map():
            raise KeyError(f"{fileobj!r} is already registered")
        return self.modify(fileobj, events, data)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Change what is watched."""
        found = self.get_map().get(fileobj)
        before = found.data if found else (None, None)
        self._set(fileobj, events & selectors.EVENT_READ, before[0], data[0], _READER)
        self._set(fileobj, events & selectors.EVENT_WRITE, before[1], data[1], _WRITER)
        return self.get_key(fileobj)

    def _set(self, fileobj: Any, wanted: int, before: Any, handle: Any, calls: tuple[Any, Any]) -> None:
        add, remove = calls
        if not wanted:
            if before is not None:
                remove(self._loop, fileobj)
        elif handle is not before:
            fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
            add(self._loop, fileobj, Stock(self._loop, handle, fd))

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Stop watching a descriptor and return its key; KeyError if it was not watched."""
        key = self.get_key(fileobj)
        _READER[1](self._loop, fileobj)
        _WRITER[1](self._loop, fileobj)
        return key

    def select(self, timeout: float | None = None) -> list[_Event]:
        """Wait; return an event for each item that became ready, its handle as that of a reader.

        Whatever C watches is among them, so the keys name no descriptor where it is none of a reader or writer.
        """
        return [(_key_of(handle), selectors.EVENT_READ) for handle in self._loop._poll(timeout)]

    def close(self) -> None:
        """Do nothing: the loop closes what is behind."""


_READER: tuple[Callable[..., Any], Any] = (_loopmod.Loop._add_reader, _loopmod.Loop._remove_reader)
_WRITER: tuple[Callable[..., Any], Any] = (_loopmod.Loop._add_writer, _loopmod.Loop._remove_writer)


def _key_of(handle: Any) -> selectors.SelectorKey:
    callback = handle._callback
    if type(callback) is Stock:
        return selectors.SelectorKey(callback.fd, callback.fd, selectors.EVENT_READ, (callback.handle, None))
    return selectors.SelectorKey(-1, -1, selectors.EVENT_READ, (handle, None))


class Transports(weakref.WeakValueDictionary[int, Any]):
    """`_transports`: those of asyncio's own classes. What it does with them, it may do with ours, which C knows."""

    def __delitem__(self, key: int) -> None:
        self.pop(key, None)


class SelfPipe:
    """`_ssock` and `_csock`: asyncio's way to wake its loop. Ours wakes by itself, and has a pipe for signals."""

    __slots__ = ("_is_written", "_loop")

    def __init__(self, loop: "Loop", is_written: bool) -> None:
        self._loop = loop
        self._is_written = is_written

    def fileno(self) -> int:
        """Return the descriptor to which signals are written, asked for in the main thread; else one of nothing."""
        if not self._is_written or self._loop.is_closed():
            return 2**31 - 1
        self._loop._unwatch_signals()  # who set another one meanwhile, or none
        self._loop._watch_signals()
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
        return fd

    def send(self, data: bytes) -> int:
        """Do nothing: what is appended to what is ready wakes the loop."""
        return len(data)

    def close(self) -> None:
        """Do nothing."""
