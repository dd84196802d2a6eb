"""The old traceback of an exception, let go of when it is raised again, ends the future that holds it."""

import asyncio
import sys

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop


class Evil:
    def __init__(self, act):
        self.act = act

    def __del__(self):
        self.act()


def leave_frame_behind(exc, act):
    evil = Evil(act)
    try:
        raise exc
    except ValueError:
        pass
    evil.act


async def waits(future):
    try:
        await future
    except ValueError:
        pass


async def other():
    pass


async def by_task():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    task = loop.create_task(waits(future))
    await asyncio.sleep(0)
    exc = ValueError("x")
    future.set_exception(exc)
    leave_frame_behind(exc, lambda: task.__init__(other(), loop=loop))
    exc.__context__ = None
    del future, exc
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    if task.done():
        task.exception()


async def by_iterator():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    exc = ValueError("x")
    iterator = future.__await__()
    future.set_exception(exc)
    leave_frame_behind(exc, iterator.close)
    del future
    try:
        next(iterator)
    except (ValueError, StopIteration):
        pass


def main():
    loop = new()
    loop.set_exception_handler(lambda loop, context: None)
    for _ in range(50):
        if sys.version_info < (3, 15):  # a task is initialised once
            loop.run_until_complete(by_task())
        loop.run_until_complete(by_iterator())
    loop.close()


main()
print("ok")
