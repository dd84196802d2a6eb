"""Members that were deleted or are anything, objects that were never initialised: what asyncio's classes raise, ours
raise, and nothing crashes. tests/unit/whole/test_hostile_types.py has the types, too.
"""

import asyncio
import contextlib
import gc
import sys
import threading

import pytest

import loopmod

MEMBERS = {
    "Event": ("_waiters", "_value", "_loop"),
    "Lock": ("_waiters", "_locked", "_loop"),
    "Semaphore": ("_waiters", "_value", "_loop"),
    "BoundedSemaphore": ("_waiters", "_value", "_bound_value", "_loop"),
    "Queue": (
        "_maxsize",
        "_getters",
        "_putters",
        "_unfinished_tasks",
        "_finished",
        "_queue",
        "_is_shutdown",
        "_loop",
    ),
    "PriorityQueue": ("_maxsize", "_getters", "_queue", "_loop"),
    "LifoQueue": ("_maxsize", "_putters", "_queue", "_loop"),
}
QUEUE_METHODS = ("put", "put_nowait", "get", "get_nowait", "task_done", "qsize", "empty", "full", "join", "__str__")
METHODS = {
    "Event": ("is_set", "set", "clear", "wait"),
    "Lock": ("locked", "acquire", "release", "__aenter__", "__aexit__"),
    "Semaphore": ("locked", "acquire", "release", "__aenter__", "__aexit__"),
    "BoundedSemaphore": ("locked", "acquire", "release", "__aenter__", "__aexit__"),
    "Queue": QUEUE_METHODS,
    "PriorityQueue": QUEUE_METHODS,
    "LifoQueue": QUEUE_METHODS,
}
ODD = [None, 5, -1, 2.5, "text", (), [], [1], {}, object(), asyncio.Lock, True, False]


async def call(thing, name):
    """What a method gives or raises; a coroutine is run for a turn and then cancelled."""
    args = (None, None, None) if name == "__aexit__" else ()
    if name in ("put", "put_nowait"):
        args = ("item",)
    try:
        result = getattr(thing, name)(*args)
        if asyncio.iscoroutine(result):
            task = asyncio.create_task(result)
            for _ in range(3):
                await asyncio.sleep(0)
            if not task.done():
                task.cancel()
                return "waited", (await asyncio.gather(task, return_exceptions=True))[0].__class__
            result = await task
    except BaseException as exc:
        return type(exc)
    return result


def members_of(name):
    """Those that a new object has."""
    return [member for member in MEMBERS[name][:-1] if member != "_is_shutdown" or sys.version_info >= (3, 13)]


async def outcomes(new, names):
    return [(name, await call(new(), name)) for name in names]


def new_like(cls, member=None, value=None):
    thing = cls()
    if member is not None:
        setattr(thing, member, value[:] if type(value) is list else value)
    return thing


def run_all(main, *args):
    """On a plain loop of each kind."""
    found = []
    for factory in (asyncio.SelectorEventLoop, loopmod.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            found.append(runner.run(main(*args)))
    return found


def compare(main, makers, name):
    found = [run_all(main, getattr(makers[maker], name)) for maker in ("ours", "stock")]
    for ours, stock in zip(*found, strict=True):
        assert [(a, b) for a, b in zip(ours, stock, strict=True) if a != b] == []


@pytest.mark.parametrize("name", METHODS)
def test_never_initialised(makers, name):
    async def main(cls):
        return await outcomes(lambda: cls.__new__(cls), METHODS[name])

    found = [run_all(main, getattr(makers[maker], name)) for maker in ("stock", "ours")]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", METHODS)
def test_deleted_members(makers, name):
    async def main(cls):
        found = []
        for member in members_of(name):

            def new(member=member):
                thing = cls()
                delattr(thing, member)
                with pytest.raises(AttributeError):
                    delattr(thing, member)
                return thing

            found += await outcomes(new, METHODS[name])
        return found

    compare(main, makers, name)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("value", ODD, ids=repr)
def test_odd_members(makers, name, value):
    async def main(cls):
        found = []
        for member in MEMBERS[name]:
            ends = await outcomes(lambda member=member: new_like(cls, member, value), METHODS[name])
            found += [(member, *end) for end in ends]
        return found

    compare(main, makers, name)


@pytest.mark.parametrize("name", METHODS)
def test_members_that_change_while_it_waits(makers, name):
    """Each is replaced or deleted under a waiter, which is then woken or cancelled."""

    async def main(cls):
        found = []
        for member in members_of(name):
            for value in ("deleted", *ODD):
                for ends in ("woken", "cancelled"):
                    thing = cls()
                    if name.endswith("Queue"):
                        waits = thing.get()
                    else:
                        if name != "Event":
                            await thing.acquire()
                        waits = thing.wait() if name == "Event" else thing.acquire()
                    task = asyncio.create_task(waits)
                    await asyncio.sleep(0)
                    (future,) = thing._getters if name.endswith("Queue") else thing._waiters
                    if value == "deleted":
                        delattr(thing, member)
                    else:
                        setattr(thing, member, value[:] if type(value) is list else value)
                    task.cancel() if ends == "cancelled" else future.set_result(True)
                    for _ in range(3):
                        await asyncio.sleep(0)
                    if not task.done():
                        task.cancel()
                    (end,) = await asyncio.gather(task, return_exceptions=True)
                    context = getattr(end, "__context__", None)
                    found.append((member, repr(value), ends, end if end is True else type(end), type(context)))
        return found

    compare(main, makers, name)


def test_initialised_again(run, sync):
    async def main():
        lock = sync.Lock()
        await lock.acquire()
        task = asyncio.create_task(lock.acquire())
        await asyncio.sleep(0)
        lock.__init__()
        assert not lock.locked() and lock._waiters is None
        task.cancel()
        with pytest.raises(AttributeError):
            await task
        event = sync.Event()
        task = asyncio.create_task(event.wait())
        await asyncio.sleep(0)
        (future,) = event._waiters
        event.__init__()
        future.set_result(None)
        with pytest.raises(ValueError):
            await task

    run(main())


@pytest.mark.parametrize("args", [((1,), {}), ((), {"loop": None}), ((1, 2), {"x": 1})], ids=repr)
def test_arguments_that_are_refused(makers, args):
    texts = []
    names = ("Event", "Lock")
    for maker in ("stock", "ours"):
        for name in names:
            with pytest.raises(TypeError) as caught:
                getattr(makers[maker], name)(*args[0], **args[1])
            texts.append(str(caught.value))
    assert texts[:2] == texts[2:]


def test_methods_refuse_arguments_alike(makers):
    texts = {"stock": [], "ours": []}
    for maker, cls in ((maker, makers[maker].Lock) for maker in texts):
        for use in (
            lambda cls=cls: cls().release(1),
            lambda cls=cls: cls().release(x=1),
            lambda cls=cls: cls().acquire(1),
            lambda cls=cls: cls.release(),
            lambda cls=cls: cls.release(5),
            lambda cls=cls: cls().__aexit__(1),
            lambda cls=cls: cls().release(),
        ):
            with pytest.raises((TypeError, AttributeError, RuntimeError)) as caught:
                use()
            texts[maker].append((type(caught.value), str(caught.value)))
    assert texts["ours"] == texts["stock"]


def test_loop_bound_to_another(run, sync):
    lock = sync.Lock()

    async def bind():
        await lock.acquire()
        task = asyncio.create_task(lock.acquire())
        await asyncio.sleep(0)
        task.cancel()

    run(bind())
    for factory in (loopmod.new_event_loop, asyncio.SelectorEventLoop):
        with asyncio.Runner(loop_factory=factory) as runner:
            with pytest.raises(RuntimeError, match="is bound to a different event loop"):
                runner.run(lock.acquire())


def test_loop_may_be_set_and_deleted(sync):
    lock = sync.Lock()
    assert lock._loop is None
    with pytest.raises(AttributeError):
        del lock._loop
    lock._loop = 5
    assert lock._loop == 5
    del lock._loop
    assert lock._loop is None


def test_a_deque_that_changes_while_it_is_walked(run, sync):
    """What set() wakes may run code only through futures that are not asyncio's."""

    class Future:
        def done(self):
            event._waiters.append(5)
            return True

    async def main():
        event._waiters.append(Future())
        with pytest.raises(RuntimeError, match="mutated during iteration"):
            event.set()

    event = sync.Event()
    run(main())


def test_circles_are_collected(run, sync):
    async def main():
        lock = sync.Lock()
        lock.me = lock
        event = sync.Event()
        event._waiters.append(event)
        things = [id(lock), id(event)]
        del lock, event
        gc.collect()
        return [id(found) in things for found in gc.get_objects() if isinstance(found, (sync.Lock, sync.Event))]

    assert not any(run(main()))


def test_used_by_other_threads(sync):
    """No order is promised; nothing breaks."""

    def use():
        async def main():
            for _ in range(200):
                for name in ("_locked", "_waiters"):
                    setattr(lock, name, getattr(lock, name))
                try:
                    async with asyncio.timeout(0.001):
                        async with lock:
                            await asyncio.sleep(0)
                except (RuntimeError, TimeoutError, ValueError, AttributeError):
                    pass
                event.clear()
                for use in (event.set, lambda: queue.put_nowait(1), queue.get_nowait, queue.task_done, gate.release):
                    with contextlib.suppress(RuntimeError, ValueError, asyncio.QueueEmpty, IndexError):
                        use()
                for wait in (queue.get, gate.acquire):
                    with contextlib.suppress(RuntimeError, TimeoutError, ValueError, IndexError):
                        await asyncio.wait_for(wait(), 0.001)

        loopmod.run(main())

    lock, event, queue, gate = sync.Lock(), sync.Event(), sync.Queue(), sync.Semaphore()
    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
