"""A task that is being freed while it is listed: a subclass's __eq__ must not get to keep it."""

import asyncio
import gc
import sys

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
Base = asyncio.Task if STOCK else loopmod.Task
saved = []
armed = False


class Task(Base):
    def __hash__(self):
        return 1

    def __eq__(self, other):
        if armed:
            saved.extend((self, other))
        return self is other

    def __del__(self):
        pass


async def nothing():
    pass


loop = new()
others = [Task(nothing(), loop=loop) for _ in range(3)]
freed = Task(nothing(), loop=loop)
armed = True
del freed
loop.close()
armed = False
junk = [bytearray(b"\xee" * n) for n in range(100, 600) for _ in range(20)]
for task in saved:
    task.get_name()
assert all(task in others for task in saved)
del saved[:], others, junk
gc.collect()
assert not asyncio.all_tasks(loop)
print("ok")
