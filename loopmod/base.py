"""BaseLoop: the C loop combined with asyncio's selector loop, and the fields that both rely on.

What runs per event, per byte or per task is overridden in C (src/face/loop_type.c lists it); the rest stays asyncio's
own code. asyncio's `__init__` is not called: what it would set is given here, by class attributes or on first use.
The mixins that Loop is made of derive from this (loopmod/loop.py).
"""

import asyncio
import concurrent.futures
import weakref
from collections.abc import Callable
from functools import cached_property
from typing import Any

from . import _loopmod


class BaseLoop(_loopmod.Loop, asyncio.SelectorEventLoop):
    """What every mixin of Loop may rely on. Not to be made itself."""

    # What BaseEventLoop.__init__ sets, as far as C does not hold it: class attributes cost a new loop nothing.
    slow_callback_duration = 0.1
    _default_executor: concurrent.futures.ThreadPoolExecutor | None = None
    _exception_handler: Callable[..., object] | None = None
    _clock_resolution = 1e-9
    _internal_fds = 0
    _timer_cancelled_count = 0  # a cancelled timer leaves the queue at once
    _coroutine_origin_tracking_enabled = False
    _coroutine_origin_tracking_saved_depth: int | None = None
    _asyncgens_shutdown_called = False
    _executor_shutdown_called = False
    _old_agen_hooks = None
    _calls_base_init = False  # loopmod/patched.py: it is patched
    _own_names: frozenset[str] = frozenset()  # loopmod/patched.py: what stands in the place of asyncio's

    @cached_property
    def _asyncgens(self) -> "weakref.WeakSet[Any]":
        return weakref.WeakSet()

    @cached_property
    def _unix_server_sockets(self) -> dict[Any, int]:
        return {}
