"""What the tests of a loop share that nothing but the loop is needed for: turns, a coroutine, a thing to hold."""

import asyncio
import sys


def spin(loop, turns=1):
    """Run exactly `turns` turns, each in a run of its own."""
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()


def in_a_step(function):
    """Call it in a callback of its own; return a future of its result, which is set when the callback is over."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def call():
        try:
            result = function()
        except Exception as exc:
            loop.call_soon(done.set_exception, exc)
        else:
            loop.call_soon(done.set_result, result)

    loop.call_soon(call)
    return done


async def give(value):
    """The value, a turn later."""
    await asyncio.sleep(0)
    return value


async def until(condition):
    """Return once condition() holds, whatever makes it hold."""
    while not condition():
        await asyncio.sleep(0.001)


class Thing:
    """Something that takes weak references."""

    def method(self, *args):
        pass


def nested_run_breaks_the_outer(kind):
    """Whether a refused run_forever resets the loop that runs (stock asyncio, early 3.13)."""
    return kind == "asyncio" and (3, 13) <= sys.version_info < (3, 13, 3)
