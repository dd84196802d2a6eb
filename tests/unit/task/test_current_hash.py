"""A loop whose __hash__ fails while a task becomes the current one: nothing is left held.

Covers task/registry.c; asyncio's registers are dicts with the loop as key.
"""

import asyncio
import sys

import pytest

import loopmod
from loopmod import _loopmod


class Loop(loopmod.Loop):
    countdown = 0

    def __hash__(self):
        self.countdown -= 1
        if self.countdown == 0:
            raise MemoryError
        return 1


async def nothing():
    pass


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")
@pytest.mark.parametrize("number", range(1, 8))
def test_an_eager_task_within_another(number):
    loop = Loop()

    async def main():
        outer = asyncio.current_task()
        before = sys.getrefcount(outer)
        coro = nothing()
        loop.countdown = number
        try:
            _loopmod.Task(coro, loop=loop, eager_start=True)
        except MemoryError:
            pass
        finally:
            loop.countdown = 0
        coro.close()
        return sys.getrefcount(outer) - before

    try:
        assert loop.run_until_complete(main()) <= 0
    finally:
        loop.close()
