"""What of queues CPython's own suite does not ask: patches and overrides, what is kept alive, pickles."""

import asyncio
import copy
import gc
import inspect
import pickle
import weakref
from unittest import mock

import pytest

KINDS = ("Queue", "PriorityQueue", "LifoQueue")
CALLED = ["put", "get", "put_nowait", "get_nowait", "empty", "full", "qsize", "task_done", "_get_loop"]
CALLED += ["_put", "_get", "_wakeup_next"]


def is_native(coro):
    coro.close()
    return type(coro).__module__ == "loopmod"


@pytest.fixture
def natively(sync, kind, debug):
    """Whether the class under test is ours, on a loop on which C does the work."""
    return sync.Queue.__module__ == "loopmod" and kind == "loopmod" and not debug


@pytest.fixture(params=KINDS)
def name(request):
    """Which of the queues."""
    return request.param


async def use(queue):
    """All of a queue's methods, also those that others call; return what came out."""
    got = []

    async def take():
        got.append(await queue.get())
        queue.task_done()

    async def give(item):
        await queue.put(item)

    taking = asyncio.create_task(take())
    cancelled = asyncio.create_task(take())
    await asyncio.sleep(0)
    await queue.put(3)
    queue.put_nowait(1)
    cancelled.cancel()
    await asyncio.sleep(0)
    giving = [asyncio.create_task(give(item)) for item in (5, 4, 2)]
    await asyncio.sleep(0)
    giving[0].cancel()
    await asyncio.sleep(0)
    while not queue.empty():
        got += (queue.full(), queue.qsize(), queue.get_nowait(), await queue.get())
        queue.task_done()
        await asyncio.sleep(0)
    await asyncio.gather(taking, cancelled, *giving, return_exceptions=True)
    return got


def counting(function, calls):
    def method(self, *args):
        calls.append(function.__name__)
        return function(self, *args)

    return method


async def count(cls, patched, method):
    calls = []
    with mock.patch.object(patched, method, counting(getattr(patched, method), calls)):
        got = await use(cls(2))
    return len(calls), got


# A class has at most a thousand versions from 3.12 on, and each patch takes two.
counted = {}


async def count_stock(name, method):
    """The same of asyncio's class, on whatever loop it is asked for first."""
    if (name, method) not in counted:
        stock = getattr(asyncio, name)
        counted[name, method] = await count(stock, stock, method)
    assert counted[name, method][0] > 0
    return counted[name, method]


@pytest.mark.parametrize("method", CALLED)
@pytest.mark.parametrize("place", ["base", "class"])
def test_patched_classes(run, sync, natively, name, method, place):
    async def main():
        stock, cls = getattr(asyncio, name), getattr(sync, name)
        expected = await count_stock(name, method)
        assert await count(cls, stock if place == "base" else cls, method) == expected
        assert is_native(cls().get()) is natively
        return await use(cls(2)) == expected[1]

    assert run(main())


@pytest.mark.parametrize("method", CALLED)
@pytest.mark.parametrize("how", ["subclass", "instance"])
def test_overridden(run, sync, name, method, how):
    async def main():
        cls = getattr(sync, name)
        expected = await count_stock(name, method)
        calls = []
        replaced = counting(getattr(cls, method), calls)
        if how == "subclass":
            queue = type("Own", (cls,), {method: replaced})(2)
        else:
            queue = cls(2)
            setattr(queue, method, replaced.__get__(queue))
        assert (await use(queue), len(calls)) == expected[::-1]

    run(main())


def test_stores_of_a_program(run, sync):
    class Unique(sync.Queue):
        def _init(self, maxsize):
            self._queue = set()

        def _put(self, item):
            self._queue.add(item)

        def _get(self):
            return self._queue.pop()

    async def main():
        queue = Unique(maxsize=2)
        await queue.put(1)
        await queue.put(1)
        assert queue.qsize() == 1 and not queue.full()
        assert await queue.get() == 1
        return queue.empty()

    assert run(main())


def test_a_mixed_store(run, sync):
    """Puts of one kind and gets of another."""

    class Mixed(sync.PriorityQueue):
        _get = asyncio.LifoQueue._get

    async def main():
        queue = Mixed()
        for item in (2, 1, 3):
            await queue.put(item)
        return [await queue.get() for _ in range(3)]

    assert run(main()) == [3, 2, 1]


def test_a_subclass_that_overrides_nothing_is_native(run, sync, natively, name):
    async def main():
        queue = type("Own", (getattr(sync, name),), {"extra": 1})()
        queue.attribute = 2
        await queue.put(1)
        return is_native(queue.get())

    assert run(main()) is natively


class Payload:
    """Something to be kept alive, or not."""


@pytest.mark.parametrize("how", ["await", "next", "send"])
def test_nothing_keeps_an_item(run, sync, how):
    async def main():
        queue = sync.Queue()
        payload = Payload()
        ref = weakref.ref(payload)
        await queue.put(payload)
        del payload
        if how == "await":
            await queue.get()
        else:
            coro = queue.get()
            try:
                next(coro.__await__()) if how == "next" else coro.send(None)
            except StopIteration as exc:
                assert exc.value is ref()
            del coro
        gc.collect()
        return ref()

    assert run(main()) is None


def test_a_kept_end_keeps_its_item(run, sync):
    """Who holds the exception of one end finds it unchanged by the next."""

    async def main():
        queue = sync.Queue()
        ends = []
        for item in "abc":
            queue.put_nowait(item)
            try:
                next(queue.get().__await__())
            except StopIteration as exc:
                ends.append(exc)
        queue.put_nowait("d")
        assert await queue.get() == "d"
        return [end.value for end in ends]

    assert run(main()) == ["a", "b", "c"]


@pytest.mark.parametrize("item", [StopIteration(1), (1, 2), (), None, KeyError, KeyError("x")], ids=repr)
def test_items_of_any_kind(run, sync, item):
    async def main():
        queue = sync.Queue()
        await queue.put(item)
        return await queue.get()

    assert run(main()) is item


def test_started_and_cancelled_takes_nothing(run, sync):
    async def main():
        queue = sync.Queue()
        queue.put_nowait(1)
        task = asyncio.create_task(queue.get())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return queue.qsize()

    with mock.patch("warnings.warn_explicit"):
        assert run(main()) == 1


def test_by_keyword(run, sync, name):
    async def main():
        queue = getattr(sync, name)(maxsize=1)
        await queue.put(item=1)
        assert queue.full() and queue.maxsize == 1
        with pytest.raises(asyncio.QueueFull):
            queue.put_nowait(item=2)
        with pytest.raises(TypeError, match=r"Queue.put\(\) missing 1 required positional argument: 'item'"):
            await queue.put()
        return await queue.get()

    assert run(main()) == 1


@pytest.mark.parametrize("size", [0, -1, 2.5, True, 10**30, -(10**30)])
def test_sizes_of_any_kind(run, sync, size):
    async def main():
        queue = sync.Queue(size)
        full = []
        for item in range(4):
            full.append(queue.full())
            if not full[-1]:
                await queue.put(item)
        return full, queue.maxsize

    full, kept = run(main())
    assert kept == size and full == [0 < size <= item for item in range(3)] + [0 < size <= 3]


def test_items_that_compare_and_change_the_queue(run, sync):
    class Item:
        def __lt__(self, other):
            queue._queue = []
            queue._getters = []
            return False

    async def main():
        for _ in range(3):
            await queue.put(Item())
        return queue.qsize()

    queue = sync.PriorityQueue()
    assert run(main()) == 1


def test_items_that_do_not_compare(run, sync):
    async def main():
        queue = sync.PriorityQueue()
        await queue.put(1)
        with pytest.raises(TypeError):
            await queue.put("a")

    run(main())


@pytest.mark.parametrize("protocol", [0, 2, pickle.HIGHEST_PROTOCOL])
def test_pickles(sync, name, protocol):
    queue = getattr(sync, name)(5)
    queue.put_nowait(1)
    twin = pickle.loads(pickle.dumps(queue, protocol))
    assert type(twin) is type(queue) and twin.maxsize == 5 and twin.get_nowait() == 1
    assert queue.qsize() == 1
    twin = copy.deepcopy(queue)
    assert twin.get_nowait() == 1 and queue.qsize() == 1


def test_shown_as_in_asyncio(sync, name):
    queue = getattr(sync, name)(3)
    queue.put_nowait(1)
    assert str(queue) == f"<{name} maxsize=3 _queue=[1] tasks=1>"
    assert repr(queue).startswith(f"<{name} at 0x")
    assert isinstance(queue, asyncio.Queue) and isinstance(queue, getattr(asyncio, name))
    assert str(inspect.signature(getattr(sync, name))) == "(maxsize=0)"
    assert str(inspect.signature(queue.put)) == "(item)"
    assert getattr(sync, name)[int]().empty()
