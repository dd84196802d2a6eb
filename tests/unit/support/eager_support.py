"""What tests of eager tasks share: a constructor, a coroutine, and programs compared with asyncio's own loop."""

import asyncio
import contextlib
import re
import sys

PASSES_ON = sys.version_info >= (3, 13, 3)  # create_task's keywords, to the factory


class OwnTask(asyncio.Task):
    """A program's constructor."""


async def waits():
    await asyncio.sleep(0)
    return "waited"


@contextlib.contextmanager
def another_loop():
    """asyncio's own, in the place of the one that runs."""
    loop = asyncio.SelectorEventLoop()
    try:
        yield loop
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def shown(value):
    """What is compared of a value: the text, without what differs from run to run."""
    return re.sub(r"Task-\d+", "Task-N", re.sub(r"0x[0-9a-f]+", "0x", repr(value)))


def same_as_on_asyncio(loop, program):
    """Run program(loop) with asyncio's eager factory on the loop and on asyncio's; return what both gave."""
    found = []
    with another_loop() as stock:
        stock.set_debug(loop.get_debug())
        for each in (loop, stock):
            each.set_task_factory(asyncio.eager_task_factory)
            each.set_exception_handler(lambda loop, context: None)
            found.append(each.run_until_complete(program(each)))
            each.set_task_factory(None)
    assert shown(found[0]) == shown(found[1])
    return found[0]
