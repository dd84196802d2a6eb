"""Coroutines that tests of tasks make tasks of, and what they ask of those."""

import asyncio
import sys
import traceback

import pytest

needs_eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks came with 3.12")


async def gives(value=None):
    return value


async def fails(error):
    raise error


async def waits(what):
    return await what


async def forever(loop):
    await loop.create_future()


async def later(value, turns=1):
    """The value after some turns, raised if it is an exception."""
    for _ in range(turns):
        await asyncio.sleep(0)
    if isinstance(value, BaseException):
        raise value
    return value


def cancelled_args(task):
    """What the cancelled task's CancelledError is made with."""
    with pytest.raises(asyncio.CancelledError) as caught:
        task.result()
    return caught.value.args


def functions_of(error):
    """The names of the functions in the traceback, outermost first."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]
