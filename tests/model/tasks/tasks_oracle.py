"""asyncio's loop, as the programs are compared with it.

asyncio promises no order of timers with equal deadlines, and what its heap makes of them nobody could write down;
loopmod promises the order in which they were set (docs/differences.md). So here deadlines that are equal know which
of them was first. Nothing else of the loop is changed.
"""

import asyncio
import itertools

NUMBERS = itertools.count()


class Deadline(float):
    """A deadline that is before each equal one that was set later."""

    def __new__(cls, when):
        deadline = super().__new__(cls, when)
        deadline.number = next(NUMBERS)
        return deadline

    def __lt__(self, other):
        if float.__eq__(self, other) and isinstance(other, Deadline):
            return self.number < other.number
        return float.__lt__(self, other)


class OracleLoop(asyncio.SelectorEventLoop):
    def call_at(self, when, callback, *args, context=None):
        return super().call_at(Deadline(when), callback, *args, context=context)
