"""Cancelling tasks: requests, messages, counts, and the places where a task can be when it is cancelled.

Covers task/task.c and task/step.c. `cancel()` either cancels what the task waits for, or marks the task so that its
next step raises; a task that has ended answers False.
"""

import asyncio

import pytest
from task_support import cancelled_args, forever


def test_cancel_before_the_start(loop, turn, make_task):
    seen = []

    async def runs():
        seen.append("ran")

    task = make_task(loop, runs())
    assert task.cancel("early") is True
    assert task._must_cancel is True
    assert task.cancelling() == 1
    assert not task.done()
    turn()
    assert task.cancelled()
    assert seen == []
    assert cancelled_args(task) == ("early",)
    assert task._must_cancel is False


def test_cancel_while_waiting_for_a_future(loop, turn, make_task, make_future):
    seen = []
    fut = make_future(loop)

    async def waits():
        try:
            await fut
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    task = make_task(loop, waits())
    turn()
    assert task.cancel("msg") is True
    assert task._must_cancel is False
    assert fut.done()
    assert not task.done()
    turn(2)
    assert seen == [("msg",)]
    assert task.cancelled()
    assert cancelled_args(task) == ("msg",)


def test_cancel_asks_a_future_with_a_cancel_of_its_own(loop, turn, make_task, make_future):
    seen = []
    fut = make_future(loop)

    def cancel(msg=None):
        seen.append(msg)
        return True

    async def waits():
        return await fut

    task = make_task(loop, waits())
    turn()
    fut.cancel = cancel
    assert task.cancel("msg") is True
    assert seen == ["msg"]
    assert not fut.done()
    fut.set_result("result")
    turn(2)
    assert task.result() == "result"


def test_cancel_goes_down_a_chain_of_tasks(loop, turn, make_task, make_other_task):
    fut = loop.create_future()
    seen = []

    async def waits(what, name):
        try:
            await what
        finally:
            seen.append(name)

    inner = make_task(loop, waits(fut, "inner"))
    middle = make_other_task(loop, waits(inner, "middle"))
    outer = make_task(loop, waits(middle, "outer"))
    turn(3)
    assert outer.cancel("down") is True
    assert fut.cancelled()
    turn(4)
    assert seen == ["inner", "middle", "outer"]
    assert [task.cancelled() for task in (inner, middle, outer)] == [True] * 3
    assert [task.cancelling() for task in (inner, middle, outer)] == [1, 1, 1]
    assert cancelled_args(outer) == ("down",)


def test_cancel_between_two_steps(loop, turn):
    seen = []

    async def yields():
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    task = loop.create_task(yields())
    turn()
    assert task._fut_waiter is None
    task.cancel("between")
    assert task._must_cancel is True
    turn()
    assert seen == [("between",)]
    assert task.cancelled()


def test_cancel_after_the_future_is_done(loop, turn, make_future):
    fut = make_future(loop)
    seen = []

    async def waits():
        try:
            await fut
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    task = loop.create_task(waits())
    turn()
    fut.set_result("lost")
    assert task.cancel("too late for the future") is True
    assert task._must_cancel is True
    turn()
    assert seen == [("too late for the future",)]
    assert task.cancelled()


def test_cancel_a_done_task(loop, turn):
    async def gives():
        return 1

    task = loop.create_task(gives())
    turn()
    assert task.cancel("late") is False
    assert task.cancelling() == 0
    assert task.result() == 1
    assert not task.cancelled()


def test_swallowed_cancellation(loop, turn):
    async def swallows():
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            return "swallowed"

    task = loop.create_task(swallows())
    turn()
    task.cancel()
    turn(2)
    assert task.done()
    assert not task.cancelled()
    assert task.result() == "swallowed"
    assert task.cancelling() == 1


def test_task_goes_on_after_swallowing(loop, turn):
    async def insists():
        for _ in range(3):
            try:
                await loop.create_future()
            except asyncio.CancelledError:
                await asyncio.sleep(0)
        return "in the end"

    task = loop.create_task(insists())
    turn()
    for i in range(3):
        assert task.cancel(i) is True
        turn(4)
    assert task.result() == "in the end"
    assert task.cancelling() == 3


def test_cancel_twice_counts_and_keeps_going(loop, turn):
    seen = []

    async def waits():
        try:
            await loop.create_future()
        except asyncio.CancelledError as error:
            seen.append(error.args)
            raise

    task = loop.create_task(waits())
    turn()
    assert task.cancel("one") is True
    assert task.cancel("two") is True
    assert task.cancelling() == 2
    turn()
    assert task.cancelled()
    # The future took the first message, and its error is on the way already when the second comes.
    assert seen == [("one",)]
    assert task._must_cancel is False


def test_error_while_cancelled(loop, turn):
    async def breaks():
        try:
            await loop.create_future()
        finally:
            raise LookupError("in finally")

    task = loop.create_task(breaks())
    turn()
    task.cancel()
    turn(2)
    assert not task.cancelled()
    error = task.exception()
    assert isinstance(error, LookupError)
    assert isinstance(error.__context__, asyncio.CancelledError)


@pytest.mark.parametrize("msg", [None, "text", 5, ("a",)])
def test_message_reaches_whoever_awaits(loop, run, make_task, make_other_task, msg):
    async def joins(task):
        await task

    async def main():
        inner = make_task(loop, forever(loop))
        outer = make_other_task(loop, joins(inner))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        inner.cancel(msg) if msg is not None else inner.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await outer
        assert caught.value.args == (() if msg is None else (msg,))

    run(main())


def test_the_same_error_object_is_raised_once_and_made_anew_later(loop, run):
    raised = []

    async def waits():
        try:
            await loop.create_future()
        except asyncio.CancelledError as error:
            raised.append(error)
            raise

    async def main():
        task = loop.create_task(waits())
        await asyncio.sleep(0)
        task.cancel("m")
        with pytest.raises(asyncio.CancelledError) as first:
            await task
        assert first.value is raised[0]
        with pytest.raises(asyncio.CancelledError) as second:
            task.result()
        assert second.value is not raised[0]
        with pytest.raises(asyncio.CancelledError):
            task.exception()

    run(main())
