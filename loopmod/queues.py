"""QueuesMixin: a loop's queues as asyncio's own code, and tools beside it, use them.

What is behind them is in C: the ready ring and the heap of timers (src/face/loop_sight.c). While a loop takes
asyncio's own way (src/core/patched.h), these are what `BaseEventLoop._run_once` and its like work on.
"""

import asyncio
import collections
import contextvars
import functools
import heapq
from asyncio import events
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import cached_property
from typing import Any

from . import _loopmod
from .base import BaseLoop


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


def make_handle(loop: "QueuesMixin", obj: object, due: object) -> asyncio.Handle:
    """Return the handle of an item of the ready queue, which enters its context by itself."""
    return events.Handle(Due(obj, due), (), loop, contextvars.Context())


if hasattr(_loopmod, "_ThreadSafeHandle"):
    # What asyncio's own methods take; ours has its own way to keep threads apart.
    _loopmod._ThreadSafeHandle._lock = nullcontext()


class _Gone:
    """What is popped where a run within this one has taken everything."""

    _cancelled = True


class Ready:
    """`_ready`: what runs next, in its order.

    Tasks, transports and futures whose callbacks are due have no handle: each is the `__self__` of a callback.
    """

    __slots__ = ("_loop",)

    def __init__(self, loop: "QueuesMixin") -> None:
        self._loop = loop

    def __len__(self) -> int:
        return self._loop._ready_count or 0  # another thread's, without a GIL: nothing is seen

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
    def __init__(self, loop: "QueuesMixin", handle: Any, fd: int = -1) -> None:
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


def hold_timers(loop: "QueuesMixin", held: list[Any]) -> list[Any]:
    """Move what C waits for into asyncio's own heap of timers."""
    handle: Any
    for handle in loop._take_timers() or ():
        stock = stock_of(handle)
        if stock is not handle:
            loop._stock_timers.pop(id(stock), None)
            handle._scheduled = False
        heapq.heappush(held, stock)
    return held


def release_timers(loop: "QueuesMixin", held: list[Any]) -> None:
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


class QueuesMixin(BaseLoop):
    """The queues under the names of asyncio's.

    For those who look whether there is work or what is due, and for asyncio's own code where that is patched
    (loopmod/patched.py). What asyncio's __init__ would put in their place is not taken.
    """

    @property
    def _ready(self) -> Ready:
        return Ready(self)

    @_ready.setter
    def _ready(self, value: object) -> None:
        pass

    @property
    def _scheduled(self) -> Any:
        """The timers: a list of the soonest first; the heap itself, to be changed, while asyncio's own code runs."""
        if self._is_patched:
            return hold_timers(self, self._held_timers)
        return Timers(sorted(self._timers, key=asyncio.TimerHandle.when))

    @_scheduled.setter
    def _scheduled(self, value: list[asyncio.TimerHandle]) -> None:
        if self._is_patched:
            self._held_timers[:] = value

    @cached_property
    def _held_timers(self) -> list[asyncio.TimerHandle]:
        return []

    @cached_property
    def _stock_timers(self) -> dict[int, _loopmod.TimerHandle]:
        """Timers of asyncio's own class that C waits for, by their id: ours in their place."""
        return {}

    def _take_back_timers(self) -> None:
        """Leave asyncio's own way: C waits again."""
        if "_held_timers" in self.__dict__:
            release_timers(self, self._held_timers)

    def _timer_handle_cancelled(self, handle: Any) -> None:
        proxy = self._stock_timers.pop(id(handle), None) if "_stock_timers" in self.__dict__ else None
        if proxy is not None:
            proxy.cancel()
            handle._scheduled = False
        super()._timer_handle_cancelled(handle)  # type: ignore[misc]
