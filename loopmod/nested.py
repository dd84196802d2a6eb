"""Runs within a running loop, for notebooks and the like: off until the program asks for them.

The recursion itself is in C (src/face/loop_run.c, src/core/run.c).
"""

import asyncio
import functools
import inspect
from asyncio import events, runners
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from . import _loopmod

_plain_run = asyncio.run
_signature = inspect.signature(_plain_run)
_allowed = False


def is_allowed() -> bool:
    """Return whether nested runs were asked for: by `allow_nested_runs` or by `nest_asyncio.apply`."""
    return _allowed or hasattr(asyncio, "_nest_patched")


@functools.wraps(_plain_run)
def _run(main: Coroutine[Any, Any, Any], **kwargs: Any) -> Any:
    running = events._get_running_loop()
    if not issubclass(type(running), _loopmod.Loop):
        return _plain_run(main, **kwargs)
    _signature.bind(main, **kwargs)
    loop: Any = running
    task = asyncio.ensure_future(main, loop=loop)
    try:
        return loop.run_until_complete(task)
    finally:
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)


def allow_nested_runs() -> None:
    """Let `asyncio.run` and `run_until_complete` be called while a loop of ours runs in the thread.

    The inner run shares the running loop: everything else on it goes on meanwhile, and the outer callback waits.
    `asyncio.run` is replaced by one that does so; a program that took the name before keeps the plain one. There is
    no way back. Any thread.
    """
    global _allowed
    _allowed = True
    _loopmod._allow_nested_runs()
    if asyncio.run is _plain_run:
        asyncio.run = _run
        runners.run = _run
