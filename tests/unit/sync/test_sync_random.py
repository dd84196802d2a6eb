"""Random programs of tasks that share a lock, a semaphore, an event or a queue and are cancelled at any time: with
asyncio's classes and with ours they do the same in the same turns, on either loop.
"""

import asyncio
import contextlib
import random

import pytest

TASKS = 6
TURNS = 60


async def use_lock(lock, rng, log):
    if rng.random() < 0.3:
        log("locked", lock.locked())
    if rng.random() < 0.5:
        async with lock:
            log("inside")
            for _ in range(rng.randrange(3)):
                await asyncio.sleep(0)
        return
    log("acquired", await lock.acquire())
    try:
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
    finally:
        if rng.random() < 0.95:
            lock.release()
        if rng.random() < 0.1:
            lock.release()


async def use_bounded(semaphore, rng, log):
    await use_lock(semaphore, rng, log)
    if rng.random() < 0.1:
        semaphore.release()


async def use_event(event, rng, log):
    if rng.random() < 0.3:
        event.set()
        log("set", event.is_set())
    elif rng.random() < 0.5:
        event.clear()
        log("cleared", event.is_set())
    else:
        log("waited", await event.wait())


async def use_queue(queue, rng, log):
    what = rng.randrange(10)
    if what < 3:
        log("put", await queue.put(rng.randrange(100)))
    elif what < 6:
        log("got", await queue.get(), queue.qsize())
        if rng.random() < 0.8:
            queue.task_done()
    elif what == 6:
        log("put now", queue.put_nowait(rng.randrange(100)))
    elif what == 7:
        log("got now", queue.get_nowait())
    elif what == 8:
        log("joined", await queue.join())
    elif hasattr(queue, "shutdown") and rng.random() < 0.1:
        queue.shutdown(immediate=rng.random() < 0.5)
    else:
        log("looked", queue.empty(), queue.full(), queue.qsize(), queue.maxsize)


USES = {
    "queue": (lambda sync, rng: sync.Queue(rng.randrange(4)), use_queue),
    "priority": (lambda sync, rng: sync.PriorityQueue(maxsize=rng.randrange(4)), use_queue),
    "lifo": (lambda sync, rng: sync.LifoQueue(rng.randrange(4)), use_queue),
    "lock": (lambda sync, rng: sync.Lock(), use_lock),
    "semaphore": (lambda sync, rng: sync.Semaphore(rng.randrange(3)), use_bounded),
    "bounded": (lambda sync, rng: sync.BoundedSemaphore(rng.randrange(1, 4)), use_bounded),
    "event": (lambda sync, rng: sync.Event(), use_event),
}


def play(new_loop, sync, kind, seed):
    """Run the program of the seed; return what it did, and the object's last look."""
    rng = random.Random(seed)
    make, use = USES[kind]
    log = []

    async def worker(name, thing, rng):
        def note(*what):
            log.append((turns[0], name, *what))

        while True:
            try:
                await use(thing, rng, note)
                note("done")
            except asyncio.CancelledError:
                note("cancelled")
                if rng.random() < 0.3:
                    raise
            except Exception as exc:
                note(type(exc).__name__, str(exc))
            await asyncio.sleep(0)

    async def main():
        thing = make(sync, rng)
        tasks = [asyncio.create_task(worker(i, thing, random.Random(seed * 100 + i))) for i in range(TASKS)]
        for _ in range(TURNS):
            await asyncio.sleep(0)
            turns[0] += 1
            for task in tasks:
                if rng.random() < 0.08:
                    task.cancel()
        for task in tasks:
            task.cancel()
            for _ in range(20):
                task.cancel()
                await asyncio.sleep(0)
                if task.done():
                    break
        look = repr(thing).partition(" at ")[2].partition(" ")[2]
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        return look

    turns = [0]
    loop = new_loop()
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        look = runner.run(main())
    return log, look


@pytest.mark.parametrize("kind", USES)
def test_random_programs(new_loop, makers, kind):
    for seed in range(12):
        stock = play(new_loop, makers["stock"], kind, seed)
        assert len(stock[0]) > 10
        assert play(new_loop, makers["ours"], kind, seed) == stock, seed
