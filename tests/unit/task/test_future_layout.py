"""Where the fields of futures and tasks stand: behind asyncio's own, found through the type by each kind of subclass.

Covers `lm_future`, and the word that the value and the struct of rare fields share. Relies on the fixtures
`future_type`, `loop` and `run`.
"""

import abc
import asyncio
import gc

import pytest

import loopmod


async def _answer():
    return 42


class _Callable:
    def __call__(self):
        return "called"


class _Slotted:
    __slots__ = ()


def _subclasses(base):
    class Plain(base):
        pass

    class Slots(base):
        __slots__ = ("extra", "more")

    class Called(_Callable, base):
        pass

    class OwnCall(base):
        def __call__(self):
            return "called"

    class Abstract(_Slotted, base, metaclass=abc.ABCMeta):
        pass

    class Deeper(Slots, Called):
        __slots__ = ("third",)

    return [Plain, Slots, Called, OwnCall, Abstract, Deeper]


@pytest.mark.parametrize("place", range(6))
def test_subclasses_of_futures_find_their_fields(loop, run, future_type, place):
    kind = _subclasses(future_type)[place]

    async def main():
        future = kind(loop=loop)
        told = []
        future.add_done_callback(told.append)
        loop.call_soon(future.set_result, "value")
        assert await future == "value"
        await asyncio.sleep(0)
        assert told == [future]
        if callable(future):
            assert future() == "called"
        gc.collect()
        assert future.result() == "value"

    run(main())


@pytest.mark.parametrize("place", range(6))
def test_subclasses_of_tasks_find_their_fields(loop, run, place):
    async def main():
        kind = _subclasses(type(asyncio.current_task()))[place]
        task = kind(_answer(), loop=loop, name="named")
        assert await task == 42
        assert task.get_name() == "named" and isinstance(task, asyncio.Task)
        gc.collect()
        assert asyncio.isfuture(task) and task.result() == 42

    run(main())


def test_class_assignment_keeps_the_fields(loop, run, future_type):
    class One(future_type):
        pass

    class Other(future_type):
        pass

    future = One(loop=loop)
    future.set_result("value")
    future.__class__ = Other
    assert future.result() == "value"


def test_futures_and_tasks_do_not_mix():
    for bases in ((loopmod.Future, loopmod.Task), (loopmod.Task, loopmod.Future), (loopmod.Future, asyncio.Task)):
        with pytest.raises(TypeError):
            type("Both", bases, {})


def test_a_future_pays_for_no_task():
    """The class attribute says what an instance takes without what precedes it."""
    assert loopmod.Future.__basicsize__ <= asyncio.Future.__basicsize__ + 48
    assert loopmod.Task.__basicsize__ <= asyncio.Task.__basicsize__ + 104


def test_the_value_survives_what_few_futures_have(loop, run, future_type):
    value = object()
    future = future_type(loop=loop)
    future.set_result(value)
    future._cancel_message = "later"
    assert future.result() is value and future._cancel_message == "later"
    gc.collect()
    assert future.result() is value and future._result is value

    pending = future_type(loop=loop)
    told = []
    for _ in range(9):
        pending.add_done_callback(told.append)
    pending.set_result(value)

    async def main():
        assert await pending is value
        await asyncio.sleep(0)

    run(main())
    assert told == [pending] * 9 and pending.result() is value


def test_an_exception_survives_what_few_futures_have(loop, future_type):
    failure = ValueError("failed")
    future = future_type(loop=loop)
    future.set_exception(failure)
    future._cancel_message = "later"
    assert future.exception() is failure
    with pytest.raises(ValueError, match="failed"):
        future.result()


def test_begun_anew_with_what_few_futures_have(loop, future_type):
    future = future_type(loop=loop)
    future.set_result([])
    future._cancel_message = "message"
    try:
        future.__init__(loop=loop)
    except RuntimeError:
        return  # 3.15
    assert not future.done()
    future.set_result("second")
    assert future.result() == "second"
