"""What a block of cycles leaves behind, and when that is a leak.

The process runs with PYTHONMALLOC=malloc and without glibc's caches of free blocks, so that `mallinfo2` counts every
byte of Python's and ours exactly. Lists of free instances are full before, or cut to what they keep in any case: how
full they are depends on what happened to live at the same time, and each new record would look like a leak. A debug
CPython counts all references besides. A leak shows in each block; what the interpreter keeps (a dict that grew, an
interned name) does not.
"""

import array
import asyncio
import gc
import itertools
import json
import os
import sys

import leaks_cycles
from leaks_place import Place, forget_names, libc_bytes

ENVIRONMENT = {
    "PYTHONMALLOC": "malloc",
    "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1",
    "PYTHONHASHSEED": "0",
}
FREE = 400
WARM_UP, MEASURED = 2, 4
NAMES = ["references", "types", "bytes", "objects", "descriptors"]


def our_types():
    """All that the module made: an instance, tracked or not, holds a reference to its type."""
    module = sys.modules.get("loopmod._loopmod")
    return [thing for thing in vars(module).values() if isinstance(thing, type)] if module else []


async def fill():
    """The lists of free instances, with more than they keep when a loop is closed."""
    loop = asyncio.get_running_loop()
    waiting = [loop.create_future() for _ in range(FREE)]
    tasks = [asyncio.ensure_future(asyncio.wait([future])) for future in waiting]
    handles = [call(id, None) for _ in range(FREE) for call in (loop.call_soon, loop.call_soon_threadsafe)]
    handles += [loop.call_later(1000, id, None) for _ in range(FREE)]
    await asyncio.sleep(0)
    for future in waiting:
        future.set_result(None)
    for handle in handles:
        handle.cancel()
    await asyncio.wait(tasks)


def measure(factory, types, into):
    """Fill in the figures of NAMES, where they can be had."""
    factory().close()
    forget_names()
    for _ in range(4):
        gc.collect()
    into[3] = len(gc.get_objects())
    into[4] = len(os.listdir("/proc/self/fd"))
    into[1] = sum(map(sys.getrefcount, types))
    into[2] = libc_bytes()[0]
    into[0] = sys.gettotalrefcount() if hasattr(sys, "gettotalrefcount") else 0


def deltas(factory, function, count):
    """By name of the figure: how much each measured block of so many cycles added."""
    loop = factory()
    place = Place(loop)
    loop.run_until_complete(place.open())
    loop.run_until_complete(fill())
    types = our_types()
    figures = [array.array("q", [0] * len(NAMES)) for _ in range(WARM_UP + MEASURED)]

    async def block():
        await function(place, count)
        await place.at_rest()

    for figure in figures:
        loop.run_until_complete(block())
        place.books.counts.clear()
        measure(factory, types, figure)
    loop.run_until_complete(place.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    kept = figures[WARM_UP - 1 :]
    return {
        name: [after[n] - before[n] for before, after in itertools.pairwise(kept)] for n, name in enumerate(NAMES)
    }


# The smallest block that libc gives, for each second cycle; of what is counted, one for two cycles.
LEAST = dict.fromkeys(NAMES, 0.5) | {"bytes": 16}


def leaks(found, count):
    """What grew in every block by at least that for each cycle."""
    return {name: least for name, added in found.items() if (least := min(added)) >= LEAST[name] * count}


def in_child(factory, name, count):
    """The deltas of a case, measured in a process of its own; None where it ended badly."""
    function = leaks_cycles.CYCLES.get(name) or leaks_cycles.PLANTS[name]
    near, far = os.pipe()
    if not (child := os.fork()):
        try:
            os.write(far, json.dumps(deltas(factory, function, count)).encode())
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    os.close(far)
    with open(near) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else None
