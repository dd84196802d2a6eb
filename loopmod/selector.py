"""SelectorMixin: a loop's selector and self-pipe as asyncio's own code, and tools beside it, use them.

What is behind them is in C: the poll and its watches (src/face/loop_sight.c). Who waits for a descriptor is a handle;
those of asyncio's own class are found behind ours (loopmod/queues.py).
"""

import selectors
import signal
import threading
import weakref
from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVarTuple

from . import _loopmod, gil, queues
from .queues import QueuesMixin

_Event = tuple[selectors.SelectorKey, int]
_Ts = TypeVarTuple("_Ts")


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

    def __init__(self, loop: QueuesMixin) -> None:
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
        data = reader and queues.stock_of(reader), writer and queues.stock_of(writer)
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
            add(self._loop, fileobj, queues.Stock(self._loop, handle, fd))

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
    if type(callback) is queues.Stock:
        return selectors.SelectorKey(callback.fd, callback.fd, selectors.EVENT_READ, (callback.handle, None))
    return selectors.SelectorKey(-1, -1, selectors.EVENT_READ, (handle, None))


class Transports(weakref.WeakValueDictionary[int, Any]):
    """`_transports`: those of asyncio's own classes. What it does with them, it may do with ours, which C knows."""

    def __delitem__(self, key: int) -> None:
        self.pop(key, None)


class SelfPipe:
    """`_ssock` and `_csock`: asyncio's way to wake its loop. Ours wakes by itself, and has a pipe for signals."""

    __slots__ = ("_is_written", "_loop")

    def __init__(self, loop: QueuesMixin, is_written: bool) -> None:
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


class SelectorMixin(QueuesMixin):
    """The selector of a loop under the names of asyncio's."""

    @cached_property
    def _transports(self) -> Transports:
        return Transports()

    @cached_property
    def _selector(self) -> WatchView:
        return WatchView(self)

    @property
    def _ssock(self) -> SelfPipe:
        return SelfPipe(self, is_written=False)

    @_ssock.setter
    def _ssock(self, value: object) -> None:
        pass

    @property
    def _csock(self) -> SelfPipe:
        return SelfPipe(self, is_written=True)

    @_csock.setter
    def _csock(self, value: object) -> None:
        pass

    def _make_self_pipe(self) -> None:
        """Do nothing: C wakes the loop by its own means."""

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        """Raise RuntimeError if a transport that is not closing owns the descriptor."""
        try:
            fileno = fd if isinstance(fd, int) else int(fd.fileno())
        except (AttributeError, TypeError, ValueError):
            raise ValueError(f"Invalid file object: {fd!r}") from None
        owner = self._watched(fileno)[2] if fileno >= 0 else None
        if owner is None and "_transports" in self.__dict__:
            owner = self._transports.get(fileno)
        # While a file is sent over a transport its descriptor is sendfile's to watch.
        is_lent = getattr(owner, "_empty_waiter", None) is not None
        if owner is not None and not owner.is_closing() and not is_lent:
            raise RuntimeError(f"File descriptor {fd!r} is used by transport {owner!r}")

    if gil.IS_FREE_THREADED:
        # Tornado, and so ipykernel, watch descriptors on a loop that another thread runs. The loop does it in its
        # next turn. It does not so with remove_reader(): that has an answer, and a caller who closes the descriptor
        # next could have its number removed when it is another's.

        def add_reader(self, fd: Any, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None:
            """As asyncio's, from any thread."""
            self._watch_anywhere(super().add_reader, fd, callback, *args)

        def add_writer(self, fd: Any, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None:
            """As asyncio's, from any thread."""
            self._watch_anywhere(super().add_writer, fd, callback, *args)

        def _watch_anywhere(self, add: Callable[..., None], *args: Any) -> None:
            if self._thread_id in (None, threading.get_ident()):
                add(*args)
            else:
                self.call_soon_threadsafe(add, *args)
