"""Who patches, overrides or hides a method is heard, as with asyncio's classes, and C works again afterwards."""

import asyncio
from asyncio import mixins
from unittest import mock

import pytest


def is_native(coro):
    coro.close()
    return type(coro).__module__ == "loopmod"


@pytest.fixture
def natively(sync, kind, debug):
    """Whether the class under test is ours, on a loop on which C does the work."""
    return sync.Lock.__module__ == "loopmod" and kind == "loopmod" and not debug


async def use(lock):
    """All of a lock's methods, also those that others call."""
    async with lock:
        lock.locked()
        waiting = asyncio.create_task(lock.acquire())
        cancelled = asyncio.create_task(lock.acquire())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.sleep(0)
        waiting.cancel()
        lock.release()
        await asyncio.sleep(0)
        await lock.acquire()


COMMON = ["acquire", "release", "locked", "__aenter__", "__aexit__", "_get_loop"]
CALLED = [
    *(("Lock", name) for name in (*COMMON, "_wake_up_first")),
    *(("Semaphore", name) for name in (*COMMON, "_wake_up_next")),
    *(("BoundedSemaphore", name) for name in (*COMMON, "_wake_up_next")),
]


def counting(function, calls):
    def method(self, *args):
        calls.append(function.__name__)
        return function(self, *args)

    return method


async def count(cls, patched, name):
    """How often a method is called that was patched in a class."""
    calls = []
    with mock.patch.object(patched, name, counting(getattr(patched, name), calls)):
        await use(cls())
    return len(calls)


async def count_stock(kind, name):
    calls = await count(getattr(asyncio, kind), getattr(asyncio, kind), name)
    assert calls > 0
    return calls


@pytest.mark.parametrize(("kind_", "name"), CALLED)
@pytest.mark.parametrize("place", ["base", "class", "mixin"])
def test_patched_classes(run, sync, natively, kind_, name, place):
    async def main():
        stock, cls = getattr(asyncio, kind_), getattr(sync, kind_)
        patched = {"base": stock, "class": cls, "mixin": mixins._LoopBoundMixin}[place]
        if hasattr(patched, name):
            assert await count(cls, patched, name) == await count_stock(kind_, name)
        assert is_native(cls().acquire()) is natively

    run(main())


@pytest.mark.parametrize(("kind_", "name"), CALLED)
def test_overridden_in_a_subclass(run, sync, kind_, name):
    async def main():
        calls = []
        cls = getattr(sync, kind_)
        cls = type("Own", (cls,), {name: counting(getattr(cls, name), calls)})
        await use(cls())
        assert len(calls) == await count_stock(kind_, name)

    run(main())


def test_a_subclass_that_overrides_nothing_is_native(run, sync, natively):
    class Own(sync.Lock):
        def __init__(self):
            super().__init__()
            self.extra = 1

    async def main():
        await use(Own())
        return is_native(Own().acquire())

    assert run(main()) is natively


@pytest.mark.parametrize(("kind_", "name"), CALLED)
@pytest.mark.parametrize("how", ["setattr", "dict"])
def test_hidden_in_the_instance(run, sync, kind_, name, how):
    async def main():
        calls = []
        thing = getattr(sync, kind_)()
        replaced = counting(getattr(type(thing), name), calls).__get__(thing)
        if how == "setattr":
            setattr(thing, name, replaced)
        else:
            vars(thing)[name] = replaced
        await use(thing)
        # The interpreter asks the class for two of them.
        is_special = name in ("__aenter__", "__aexit__")
        assert len(calls) == (0 if is_special else await count_stock(kind_, name))

    run(main())


@pytest.mark.parametrize("name", ["acquire", "_wake_up_first"])
def test_exchanged_code(run, sync, natively, name):
    def replacement(self):
        raise KeyError("exchanged")

    async def coroutine(self):
        raise KeyError("exchanged")

    async def main():
        function = getattr(asyncio.Lock, name)
        code = function.__code__
        function.__code__ = (coroutine if name == "acquire" else replacement).__code__
        try:
            lock = sync.Lock()
            with pytest.raises(KeyError, match="exchanged"):
                if name == "acquire":
                    await lock.acquire()
                lock._locked = True
                lock.release()
        finally:
            function.__code__ = code
        return is_native(sync.Lock().acquire())

    assert run(main()) is natively


def test_a_property_in_place_of_a_field(run, sync):
    class Own(sync.Lock):
        looks = 0

        @property
        def _locked(self):
            self.looks += 1
            return self.is_locked

        @_locked.setter
        def _locked(self, value):
            self.is_locked = value

    async def main():
        lock = Own()
        await use(lock)
        return lock.looks, lock.is_locked

    looks, is_locked = run(main())
    assert looks >= 7 and not is_locked


def test_every_attribute_is_asked_for(run, sync):
    class Own(sync.Event):
        def __getattribute__(self, name):
            asked.append(name)
            return super().__getattribute__(name)

    async def main():
        event = Own()
        waiting = asyncio.create_task(event.wait())
        await asyncio.sleep(0)
        event.set()
        return await waiting

    asked = []
    assert run(main())
    assert {"_value", "_waiters", "_get_loop"} <= set(asked)


def test_patched_between_call_and_await(run, sync):
    async def main():
        calls = []
        lock = sync.Lock()
        await lock.acquire()
        coro = lock.acquire()
        with mock.patch.object(asyncio.Lock, "_get_loop", counting(asyncio.Lock._get_loop, calls)):
            task = asyncio.create_task(coro)
            await asyncio.sleep(0)
        lock.release()
        return await task, calls

    assert run(main()) == (True, ["_get_loop"])


def test_a_loop_with_futures_of_its_own(run, loop, sync):
    made = []
    create = loop.create_future

    def create_future():
        made.append(create())
        return made[-1]

    async def main():
        lock = sync.Lock()
        await lock.acquire()
        loop.create_future = create_future
        try:
            task = asyncio.create_task(lock.acquire())
            await asyncio.sleep(0)
            waiters = list(lock._waiters)
        finally:
            del loop.create_future
        lock.release()
        await task
        return waiters

    assert run(main()) == made and len(made) == 1


def test_what_a_patch_returns_is_returned(run, sync):
    async def main():
        lock = sync.Lock()
        with mock.patch.object(asyncio.Lock, "locked", return_value=5):
            assert lock.locked() == 5
        with mock.patch.object(asyncio.Lock, "acquire", lambda self: 7):
            assert lock.acquire() == 7

    run(main())
