"""Awaiting futures: the iterator's protocol by hand, and coroutines that wait, alone and in pairs.

Covers task/future_iter.c and task/waiters.c. `make_future` brings the foreign kinds of future in where a task of
the loop under test waits for them.
"""

import asyncio
import sys
import sysconfig
import types

import pytest

V314 = sys.version_info >= (3, 14)
VALUES = [None, 0, (), (1, 2), ValueError("a value"), StopIteration(7), KeyError]


@pytest.fixture
def loop_of_lasting_iterators(loop, kind):
    """The loop, where iterators of its futures may be asked again after their end: asyncio's crash then on
    free-threaded builds, whose FutureIter_am_send locks the future that an ended iterator has not any more."""
    if kind == "asyncio" and sysconfig.get_config_var("Py_GIL_DISABLED"):
        pytest.skip("asyncio's own iterator crashes here")
    return loop


def start(fut):
    """An iterator that has yielded the future once, with the flag lowered as a stepping task does."""
    it = iter(fut)
    assert next(it) is fut
    fut._asyncio_future_blocking = False
    return it


def test_iterator_yields_the_future_and_raises_the_flag(loop):
    fut = loop.create_future()
    it = fut.__await__()
    assert iter(it) is it
    assert fut._asyncio_future_blocking is False
    assert next(it) is fut
    assert fut._asyncio_future_blocking is True


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("early", [True, False], ids=["done before", "done while waiting"])
@pytest.mark.parametrize("step", [next, lambda it: it.send(None)], ids=["next", "send"])
def test_iterator_returns_the_result(loop, value, early, step):
    fut = loop.create_future()
    if early:
        fut.set_result(value)
        it = iter(fut)
    else:
        it = start(fut)
        fut.set_result(value)
    with pytest.raises(StopIteration) as caught:
        step(it)
    assert caught.value.value is value


def test_finished_iterator_stays_finished(loop):
    fut = loop.create_future()
    it = start(fut)
    fut.set_result(5)
    with pytest.raises(StopIteration):
        next(it)
    for _ in range(2):
        with pytest.raises(StopIteration) as caught:
            next(it)
        # Since 3.14 it keeps its future and answers again.
        assert caught.value.value == (5 if V314 else None)


def test_failed_iterator_stays_finished(loop):
    fut = loop.create_future()
    it = start(fut)
    fut.set_exception(LookupError("kept"))
    with pytest.raises(LookupError):
        next(it)
    for _ in range(2):
        with pytest.raises(LookupError if V314 else StopIteration):
            next(it)


def test_iterator_raises_the_exception(loop):
    fut = loop.create_future()
    it = start(fut)
    error = LookupError("kept")
    fut.set_exception(error)
    with pytest.raises(LookupError) as caught:
        next(it)
    assert caught.value is error
    assert fut._log_traceback is False


def test_iterator_raises_the_cancellation(loop):
    fut = loop.create_future()
    it = start(fut)
    fut.cancel("msg")
    with pytest.raises(asyncio.CancelledError) as caught:
        next(it)
    assert caught.value.args == ("msg",)


def test_resuming_too_early(loop):
    fut = loop.create_future()
    it = iter(fut)
    next(it)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="^await wasn't used with future$"):
            next(it)
    with pytest.raises(RuntimeError, match="^await wasn't used with future$"):
        next(iter(fut))


def test_resuming_too_early_after_a_task_took_the_future(loop):
    fut = loop.create_future()
    it = start(fut)
    assert next(it) is fut
    assert fut._asyncio_future_blocking is True


def test_each_iterator_is_its_own(loop):
    fut = loop.create_future()
    first, second = start(fut), start(fut)
    assert first is not second
    fut.set_result(1)
    for it in (first, second):
        with pytest.raises(StopIteration) as caught:
            next(it)
        assert caught.value.value == 1


@pytest.mark.parametrize("started", [True, False])
def test_throw(loop_of_lasting_iterators, started):
    fut = loop_of_lasting_iterators.create_future()
    it = start(fut) if started else iter(fut)
    error = ValueError("thrown")
    with pytest.raises(ValueError) as caught:
        it.throw(error)
    assert caught.value is error
    with pytest.raises(StopIteration):
        next(it)
    assert not fut.done()


def test_throw_a_class_and_a_non_exception(loop):
    fut = loop.create_future()
    with pytest.raises(KeyError):
        iter(fut).throw(KeyError)
    for bad in (1, int, "text", None):
        with pytest.raises(TypeError):
            iter(fut).throw(bad)
    with pytest.raises(TypeError):
        iter(fut).throw()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_throw_of_three_arguments(loop):
    fut = loop.create_future()
    error = ValueError("one")
    with pytest.raises(ValueError) as caught:
        iter(fut).throw(ValueError, error, None)
    assert caught.value is error
    with pytest.raises(KeyError) as caught:
        iter(fut).throw(KeyError, "key")
    assert caught.value.args == ("key",)
    with pytest.raises(TypeError):
        iter(fut).throw(ValueError("a"), ValueError("b"))
    with pytest.raises(TypeError):
        iter(fut).throw(ValueError, ValueError("a"), "no traceback")


def test_close(loop_of_lasting_iterators):
    fut = loop_of_lasting_iterators.create_future()
    it = start(fut)
    assert it.close() is None
    assert it.close() is None
    with pytest.raises(StopIteration):
        next(it)
    assert not fut.done()


def test_await_outside_a_task(loop):
    fut = loop.create_future()

    async def waits():
        return await fut

    coro = waits()
    assert coro.send(None) is fut
    with pytest.raises(RuntimeError, match="^await wasn't used with future$"):
        coro.send(None)
    coro = waits()
    fut._asyncio_future_blocking = False
    coro.send(None)
    fut.set_result("by hand")
    with pytest.raises(StopIteration) as caught:
        coro.send(None)
    assert caught.value.value == "by hand"


def test_throwing_into_and_closing_a_suspended_coroutine(loop):
    fut = loop.create_future()
    seen = []

    async def waits():
        try:
            await fut
        except ValueError as error:
            seen.append(error.args)
            await fut
        finally:
            seen.append("finally")

    coro = waits()
    assert coro.send(None) is fut
    fut._asyncio_future_blocking = False
    assert coro.throw(ValueError("thrown")) is fut
    coro.close()
    assert seen == [("thrown",), "finally"]
    assert not fut.done()


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_task_gets_the_result(loop, run, make_future, value):
    async def waits(fut):
        return await fut

    async def main():
        fut = make_future(loop)
        task = loop.create_task(waits(fut))
        await asyncio.sleep(0)
        assert task._fut_waiter is fut
        assert fut._asyncio_future_blocking is False
        fut.set_result(value)
        assert await task is value
        assert task._fut_waiter is None
        assert await waits(fut) is value
        assert await waits(fut) is value

    run(main())


def test_task_gets_the_exception(loop, run, make_future):
    error = LookupError("kept")

    async def waits(fut):
        with pytest.raises(LookupError) as caught:
            await fut
        return caught.value

    async def main():
        fut = make_future(loop)
        task = loop.create_task(waits(fut))
        await asyncio.sleep(0)
        fut.set_exception(error)
        assert await task is error
        assert await waits(fut) is error

    run(main())


def test_task_gets_the_cancellation_of_the_future(loop, run, make_future):
    async def waits(fut):
        await fut

    async def main():
        fut = make_future(loop)
        task = loop.create_task(waits(fut))
        await asyncio.sleep(0)
        assert fut.cancel("from the future") is True
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("from the future",)
        assert task.cancelled()
        assert task.cancelling() == 0

    run(main())


@pytest.mark.parametrize("count", [2, 3, 20])
def test_many_tasks_wait_for_one_future(loop, run, make_future, count):
    async def waits(fut):
        return await fut

    async def main():
        fut = make_future(loop)
        tasks = [loop.create_task(waits(fut)) for _ in range(count)]
        await asyncio.sleep(0)
        value = object()
        fut.set_result(value)
        assert all([await task is value for task in tasks])

    run(main())


def test_cancelling_one_waiter_cancels_the_shared_future(loop, run):
    async def waits(fut):
        await fut

    async def main():
        fut = loop.create_future()
        tasks = [loop.create_task(waits(fut)) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel("one")
        assert fut.cancelled()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 3
        assert [task.cancelling() for task in tasks] == [0, 1, 0]

    run(main())


def test_yield_from_in_a_generator_coroutine(loop, run, make_future):
    @types.coroutine
    def waits(fut):
        first = yield from fut.__await__()
        second = yield from fut.__await__()
        return first, second

    async def wraps(fut):
        return await waits(fut)

    async def main():
        fut = make_future(loop)
        task = loop.create_task(wraps(fut))
        await asyncio.sleep(0)
        fut.set_result("x")
        assert await task == ("x", "x")

    run(main())


def test_plain_yield_from_a_future(loop, run):
    @types.coroutine
    def waits(fut):
        return (yield from fut)

    async def main():
        fut = loop.create_future()
        loop.call_soon(fut.set_result, 3)
        assert await waits(fut) == 3

    run(main())


def test_one_future_after_the_other(loop, run, make_future):
    async def main():
        total = 0
        for i in range(50):
            fut = make_future(loop)
            loop.call_soon(fut.set_result, i)
            total += await fut
        assert total == sum(range(50))

    run(main())


def test_run_until_complete_of_a_future(loop):
    fut = loop.create_future()
    loop.call_soon(fut.set_result, "done")
    assert loop.run_until_complete(fut) == "done"
    failing = loop.create_future()
    loop.call_soon(failing.set_exception, KeyError("k"))
    with pytest.raises(KeyError):
        loop.run_until_complete(failing)
    pending = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match="^Event loop stopped before Future completed.$"):
        loop.run_until_complete(pending)
    assert pending._callbacks is None


def test_run_until_complete_of_a_future_of_another_loop(loop, new_loop):
    fut = new_loop().create_future()
    with pytest.raises(ValueError, match="The future belongs to a different loop"):
        loop.run_until_complete(fut)


def test_await_that_ends_with_none(run):
    async def main():
        loop = asyncio.get_running_loop()
        for value in (None, 5, (1, 2), StopIteration):
            future = loop.create_future()
            waiting = future.__await__()
            assert next(waiting) is future
            future.set_result(value)
            with pytest.raises(StopIteration) as caught:
                next(waiting)
            assert caught.value.value is value
            if sys.version_info[:2] != (3, 14):  # asyncio says (None,) there, loopmod ()
                assert caught.value.args == ((value,) if value is not None or sys.version_info >= (3, 15) else ())
            again = loop.create_future()
            again.set_result(value)
            with pytest.raises(StopIteration) as caught:
                again.__await__().send(None)
            assert caught.value.value is value
            assert list(again.__await__()) == [] and await again is value

    run(main())


def test_what_is_thrown_in_has_no_context_of_the_caller(loop):
    it = start(loop.create_future())
    try:
        raise KeyError("handled")
    except KeyError:
        with pytest.raises(ValueError) as caught:
            it.throw(ValueError("thrown"))
    assert caught.value.__context__ is None


@pytest.mark.parametrize("value", [None, 5])
def test_the_end_by_send_has_the_context_that_asyncio_gives(loop, value):
    fut = loop.create_future()
    it = start(fut)
    fut.set_result(value)
    try:
        raise KeyError("handled")
    except KeyError:
        with pytest.raises(StopIteration) as caught:
            it.send(None)
    assert caught.value.value == value
    assert isinstance(caught.value.__context__, type(None) if V314 else KeyError)


def test_cancelling_in_the_midst_of_a_fault_has_no_context(loop):
    """A task of asyncio's Python code steps within an except clause."""
    seen = []

    async def main():
        fut = loop.create_future()

        async def waits():
            try:
                await fut
            except asyncio.CancelledError as exc:
                seen.append(exc.__context__)

        task = asyncio.tasks._PyTask(waits(), loop=loop)
        await asyncio.sleep(0)
        fut.set_exception(KeyError("the fault"))
        task.cancel()
        await task

    loop.run_until_complete(main())
    assert seen == [None]
