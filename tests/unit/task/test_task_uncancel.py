"""Tasks that cancel themselves, take requests back, are cancelled from callbacks, or override `cancel`.

Covers task/task.c and task/step.c.
"""

import asyncio
import sys

import pytest
from task_support import cancelled_args, forever

V313 = sys.version_info >= (3, 13)


def test_task_that_cancels_itself(loop, run, make_task):
    async def suicidal():
        task = make_task.current_task()
        assert task.cancel("self") is True
        assert task._must_cancel is True
        try:
            await loop.create_future()
        except asyncio.CancelledError as error:
            assert error.args == ("self",)
            assert task._must_cancel is False
            raise

    async def main():
        task = make_task(loop, suicidal())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(main())


def test_task_that_cancels_itself_and_returns(loop, turn, make_task):
    async def returns():
        make_task.current_task().cancel("late")
        return "ignored"

    task = make_task(loop, returns())
    turn()
    assert task.cancelled()
    assert cancelled_args(task) == ("late",)
    assert task._must_cancel is False


def test_task_that_cancels_itself_and_fails(loop, turn, make_task):
    async def fails():
        make_task.current_task().cancel()
        raise ValueError("mine")

    task = make_task(loop, fails())
    turn()
    assert not task.cancelled()
    assert isinstance(task.exception(), ValueError)


def test_self_cancelled_task_cancels_what_it_waits_for_next(loop, turn, make_task, make_future):
    fut = make_future(loop)

    async def waits():
        make_task.current_task().cancel("next wait")
        await fut

    task = make_task(loop, waits())
    turn()
    assert fut.done()
    turn(2)
    assert task.cancelled()


def test_coroutine_may_raise_the_error_itself(loop, turn, make_task):
    async def raises():
        raise asyncio.CancelledError("raised")

    task = make_task(loop, raises())
    turn()
    assert task.cancelled()
    assert task.cancelling() == 0
    assert cancelled_args(task) == ("raised",)


def test_subclass_of_cancelled_error(loop, turn):
    class Special(asyncio.CancelledError):
        pass

    async def raises():
        raise Special("special")

    task = loop.create_task(raises())
    turn()
    assert task.cancelled()
    with pytest.raises(Special):
        task.result()


def test_uncancel_counts_down_to_zero(loop, turn):
    task = loop.create_task(forever(loop))
    turn()
    assert task.uncancel() == 0
    task.cancel()
    task.cancel()
    assert task.cancelling() == 2
    assert task.uncancel() == 1
    assert task.uncancel() == 0
    assert task.uncancel() == 0
    assert task.cancelling() == 0
    turn(2)
    assert task.cancelled()


@pytest.mark.parametrize("requests", [1, 2])
def test_uncancel_of_a_pending_request(loop, turn, make_task, requests):
    async def runs():
        return "ran"

    task = make_task(loop, runs())
    for _ in range(requests):
        task.cancel("pending")
    assert task._must_cancel is True
    assert task.uncancel() == requests - 1
    dropped = V313 and requests == 1
    assert task._must_cancel is not dropped
    turn()
    assert task.cancelled() is not dropped
    if dropped:
        assert task.result() == "ran"


def test_cancelling_inside_its_own_done_callback(loop, turn):
    seen = []

    async def gives():
        return 1

    task = loop.create_task(gives())
    task.add_done_callback(lambda task: seen.append(task.cancel()))
    turn(2)
    assert seen == [False]
    assert task.result() == 1


def test_callback_of_the_awaited_future_cancels_the_waiter(loop, turn):
    # The waiter is behind the callback in the ready queue and must still get the message.
    fut = loop.create_future()
    cell = []
    seen = []

    async def waits():
        try:
            await fut
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    fut.add_done_callback(lambda fut: cell[0].cancel("by the callback"))
    cell.append(loop.create_task(waits()))
    turn()
    fut.set_result(None)
    turn()
    assert seen == [("by the callback",)]
    assert cell[0].cancelled()


def test_overridden_cancel_of_a_task_subclass(loop, run, task_type):
    calls = []

    class Watched(task_type):
        def cancel(self, msg=None):
            calls.append(msg)
            return super().cancel(msg)

    async def joins(task):
        await task

    async def main():
        inner = Watched(forever(loop), loop=loop)
        outer = loop.create_task(joins(inner))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        outer.cancel("through")
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert calls == ["through"]

    run(main())


def test_shielded_wait_ends_alone(loop, run):
    async def main():
        inner = loop.create_task(asyncio.sleep(0, "inner"))

        async def waits():
            await asyncio.shield(inner)

        task = loop.create_task(waits())
        await asyncio.sleep(0)
        task.cancel("outer")
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await inner == "inner"
        assert inner.cancelling() == 0

    run(main())
