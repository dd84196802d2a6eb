"""Tasks and context variables: what a task copies, what it shares, what its callbacks see.

Covers task/task_make.c and task/step.c.
"""

import asyncio
import contextvars
import sys

import pytest
from task_support import gives

V312 = sys.version_info >= (3, 12)

var = contextvars.ContextVar("var", default="unset")


def test_task_copies_its_context_when_made(loop, turn):
    seen = []

    async def looks():
        seen.append(var.get())
        var.set("set by the task")
        await asyncio.sleep(0)
        seen.append(var.get())

    def start():
        var.set("outer")
        task = loop.create_task(looks())
        var.set("too late")
        return task

    context = contextvars.copy_context()
    task = context.run(start)
    turn(3)
    assert task.done()
    assert seen == ["outer", "set by the task"]
    assert context[var] == "too late"
    assert var.get() == "unset"


def test_given_context_is_used_itself(loop, turn, make_task):
    context = contextvars.Context()
    context.run(var.set, "given")

    async def changes():
        assert var.get() == "given"
        var.set("changed")
        await asyncio.sleep(0)
        assert var.get() == "changed"
        fut = loop.create_future()
        loop.call_soon(fut.set_result, None)
        await fut
        var.set("changed again")

    task = make_task(loop, changes(), context=context)
    assert var.get() == "unset"
    turn(4)
    task.result()
    assert context[var] == "changed again"
    assert var.get() == "unset"


@pytest.mark.skipif(not V312, reason="get_context came with 3.12")
def test_get_context(loop, turn, make_task):
    context = contextvars.Context()
    task = make_task(loop, gives(), context=context)
    assert task.get_context() is context
    other = make_task(loop, gives())
    assert isinstance(other.get_context(), contextvars.Context)
    assert other.get_context() is not contextvars.copy_context()
    turn()
    assert task.get_context() is context


def test_two_tasks_in_one_context(loop, run):
    async def appends(value):
        await asyncio.sleep(0)
        var.set(var.get() + value)

    async def main():
        context = contextvars.copy_context()
        context.run(var.set, "")
        await asyncio.gather(*[loop.create_task(appends(c), context=context) for c in "abc"])
        assert context[var] == "abc"
        assert var.get() == "unset"

    run(main())


def test_callbacks_of_a_task_run_in_the_context_of_their_registration(loop, run):
    seen = []

    async def sets():
        var.set("inside the task")

    async def main():
        var.set("outside")
        task = loop.create_task(sets())
        task.add_done_callback(lambda task: seen.append(var.get()))
        await task
        await asyncio.sleep(0)
        assert seen == ["outside"]

    run(main())


def test_interleaved_tasks_keep_their_own_values(loop, run, make_task, make_other_task):
    async def counts(start, seen):
        var.set(start)
        for i in range(5):
            await asyncio.sleep(0)
            var.set(var.get() + 1)
            seen.append(var.get() - i - 1 == start)

    async def main():
        seen = []
        await asyncio.gather(make_task(loop, counts(0, seen)), make_other_task(loop, counts(100, seen)))
        assert seen == [True] * 10
        assert var.get() == "unset"

    run(main())


def test_thrown_errors_and_cancellation_arrive_in_the_context(loop, run):
    async def waits(fut):
        var.set("mine")
        try:
            await fut
        finally:
            assert var.get() == "mine"
            var.set("unwound")

    async def main():
        for end in ("set_exception", "cancel"):
            fut = loop.create_future()
            context = contextvars.Context()
            task = loop.create_task(waits(fut), context=context)
            await asyncio.sleep(0)
            fut.set_exception(ValueError()) if end == "set_exception" else task.cancel()
            with pytest.raises((ValueError, asyncio.CancelledError)):
                await task
            assert context[var] == "unwound"
            assert var.get() == "unset"

    run(main())


def test_context_that_is_entered_already(loop, errors, turn):
    context = contextvars.Context()
    seen = []

    async def runs():
        seen.append("ran")

    def inside():
        task = loop.create_task(runs(), context=context)
        turn()
        return task

    # The loop cannot enter it a second time; what becomes of the step is a report, not a crash.
    task = context.run(inside)
    assert seen == []
    assert not task.done()
    loop.call_soon(seen.append, "loop goes on")
    turn()
    assert seen == ["loop goes on"]
    task._log_destroy_pending = False
    task.get_coro().close()
