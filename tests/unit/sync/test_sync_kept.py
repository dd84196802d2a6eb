"""Copies and pickles of locks and events, their dicts and weak references."""

import asyncio
import copy
import pickle
import weakref

import pytest

import loopmod


class Named(loopmod.Lock):
    """A subclass with an attribute and a slot's worth of its own."""

    def __init__(self):
        super().__init__()
        self.name = "mine"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles(sync, protocol):
    lock = pickle.loads(pickle.dumps(sync.Lock(), protocol))
    assert type(lock) is sync.Lock and lock._locked is False and lock._waiters is None
    event = sync.Event()
    event.set()
    event = pickle.loads(pickle.dumps(event, protocol))
    assert type(event) is sync.Event and event.is_set() and not event._waiters
    named = pickle.loads(pickle.dumps(Named(), protocol))
    assert named.name == "mine" and not named.locked()


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy])
def test_copies(sync, how):
    event = sync.Event()
    event.extra = [1]
    event.set()
    twin = how(event)
    assert type(twin) is sync.Event and twin.is_set() and twin.extra == [1]
    assert (twin._waiters is event._waiters) is (how is copy.copy)


def test_what_belongs_to_a_loop_is_not_pickled(run, sync):
    async def main():
        event = sync.Event()
        task = asyncio.create_task(event.wait())
        await asyncio.sleep(0)
        with pytest.raises(TypeError):
            pickle.dumps(event)
        event.set()
        await task
        twin = copy.copy(event)
        assert twin._loop is event._loop is asyncio.get_running_loop()

    run(main())


def test_weak_references(sync):
    lock = sync.Lock()
    ref = weakref.ref(lock)
    assert ref() is lock
    del lock
    assert ref() is None


def test_attributes_of_its_own(sync):
    lock = sync.Lock()
    lock.extra = 1
    assert lock.extra == 1 and vars(lock)["extra"] == 1
    del lock.extra
    with pytest.raises(AttributeError):
        lock.extra
    lock.__dict__ = {"other": 2}
    assert lock.other == 2


def test_kinds(sync):
    assert issubclass(sync.Lock, asyncio.Lock) and issubclass(sync.Event, asyncio.Event)
    assert sync.Lock.__name__ == "Lock" and sync.Lock.__qualname__ == "Lock"
    with pytest.raises(TypeError, match=r"^(object Lock|'Lock' object) can't be (used|awaited)"):

        async def main():
            await sync.Lock()

        main().send(None)


@pytest.mark.parametrize("method", ["acquire", "release"])
def test_methods_are_pickled_by_name(sync, method):
    function = getattr(sync.Lock, method)
    assert pickle.loads(pickle.dumps(function)) is function
    assert copy.deepcopy(function) is function
    bound = getattr(sync.Lock(), method)
    assert pickle.loads(pickle.dumps(bound)).__name__ == method
