"""A Task subclass's step starts an eager task: the slot keeps the subclass task and the next native task is refused."""

import asyncio
import sys
from asyncio import Future as StdFuture
from asyncio import Task as StdTask

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Future = StdFuture if STOCK else loopmod.Future
Task = StdTask if STOCK else loopmod.Task

if sys.version_info < (3, 12):
    print("ok (no eager)")
    raise SystemExit


class T(Task):
    pass


async def quick():
    return 1


async def outer(loop):
    Task(quick(), loop=loop, eager_start=True)
    await asyncio.sleep(0)
    return 5


async def other():
    for _ in range(3):
        await asyncio.sleep(0)
    return 6


async def main(loop):
    errors = []
    loop.set_exception_handler(lambda l, c: errors.append(c))
    o = T(outer(loop), loop=loop)
    p = Task(other(), loop=loop)
    done, pending = await asyncio.wait([o, p], timeout=2)
    assert not pending and not errors, (pending, errors)


loop = new()


def run():
    t = loop.create_task(main(loop))
    loop.call_later(5, loop.stop)
    t.add_done_callback(lambda f: loop.stop())
    loop.run_forever()
    assert t.done()
    t.result()


run()
loop.close()
print("ok")
