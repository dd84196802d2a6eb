"""Guests on the loop that enter, leave, swap and register tasks through the stdlib's own functions.

Nested loops, tracers and other schedulers do this; the books must be right whenever foreign code can look. Covers
task/registry.c.
"""

import asyncio
import contextvars
import sys

import pytest
from task_support import gives, needs_eager

enter_task = asyncio.tasks._enter_task
leave_task = asyncio.tasks._leave_task


def refused_leaving(make_task, current):
    """The words with which leaving a task that is not entered is refused; the C books speak anew since 3.14."""
    if sys.version_info >= (3, 14) and not make_task.has_own_books:
        return f"^Invalid attempt to leave task <Task pending .* while task {current} is entered"
    return f"^Leaving task <Task pending .* does not match the current task {current}"


def test_entering_while_a_task_is_entered_is_an_error(loop, run, make_task):
    async def guest():
        me = make_task.current_task()
        assert me is not None
        other = loop.create_task(gives())
        with pytest.raises(RuntimeError, match="^Cannot enter into task .* while another task .* is being executed"):
            make_task.enter_task(loop, other)
        with pytest.raises(RuntimeError, match=refused_leaving(make_task, "<Task pending .*")):
            make_task.leave_task(loop, other)
        assert make_task.current_task() is me
        await other

    async def main():
        await make_task(loop, guest())

    run(main())


def test_guest_leaves_and_enters_for_a_while(loop, run, make_task):
    async def guest():
        me = make_task.current_task()
        make_task.leave_task(loop, me)
        try:
            assert make_task.current_task() is None
            with pytest.raises(RuntimeError, match=refused_leaving(make_task, "None")):
                make_task.leave_task(loop, me)
            other = loop.create_task(gives())
            make_task.enter_task(loop, other)
            assert make_task.current_task() is other
            make_task.leave_task(loop, other)
        finally:
            make_task.enter_task(loop, me)
        assert make_task.current_task() is me
        await other
        assert make_task.current_task() is me

    async def main():
        await make_task(loop, guest())

    run(main())


def test_guest_enters_inside_a_callback(loop, run):
    seen = []

    def callback(task, done):
        assert asyncio.current_task() is None
        enter_task(loop, task)
        seen.append(asyncio.current_task())
        leave_task(loop, task)
        seen.append(asyncio.current_task())
        done.set_result(None)

    async def main():
        done = loop.create_future()
        task = loop.create_task(asyncio.sleep(0))
        loop.call_soon(callback, task, done)
        await done
        assert seen == [task, None]
        await task

    run(main())


@needs_eager
def test_guest_swaps_the_current_task(loop, run, make_task):
    swap = make_task.swap_current_task

    async def guest():
        me = make_task.current_task()
        assert me is not None
        other = loop.create_task(gives())
        assert swap(loop, other) is me
        assert make_task.current_task() is other
        assert swap(loop, None) is other
        assert make_task.current_task() is None
        assert swap(loop, me) is None
        await other

    async def main():
        await make_task(loop, guest())

    run(main())


def test_guest_task_that_steps_a_coroutine_itself(loop, run):
    class Guest:
        """A scheduler of its own: no asyncio task, but entered like one while its coroutine runs."""

        def __init__(self, coro):
            self.coro = coro
            self.ended = loop.create_future()
            self.context = contextvars.copy_context()
            loop.call_soon(self.step, context=self.context)

        def get_loop(self):
            return loop

        def done(self):
            return self.ended.done()

        def step(self, fut=None):
            enter_task(loop, self)
            try:
                fut = self.coro.send(None)
            except StopIteration as stop:
                self.ended.set_result(stop.value)
            else:
                fut._asyncio_future_blocking = False
                fut.add_done_callback(self.step, context=self.context)
            finally:
                leave_task(loop, self)

    async def inside(fut):
        me = asyncio.current_task()
        value = await fut
        assert asyncio.current_task() is me
        return me, value, await loop.create_task(gives("task"))

    async def main():
        fut = loop.create_future()
        guest = Guest(inside(fut))
        loop.call_later(0.001, fut.set_result, "future")
        assert await guest.ended == (guest, "future", "task")

    run(main())


def test_registering_a_task_by_hand(loop, run):
    async def main():
        class Guest:
            def get_loop(self):
                return loop

            def done(self):
                return False

        guest = Guest()
        asyncio.tasks._register_task(guest)
        assert guest in asyncio.all_tasks()
        asyncio.tasks._unregister_task(guest)
        assert guest not in asyncio.all_tasks()

    run(main())


def test_unregistering_a_running_task_by_hand(loop, run, make_task):
    async def main():
        task = make_task(loop, asyncio.sleep(0))
        make_task.unregister_task(task)
        assert task not in make_task.all_tasks()
        make_task.register_task(task)
        assert task in make_task.all_tasks()
        await task

    run(main())


def test_guest_runs_another_loop_inside_a_task(loop, run, new_loop):
    other = new_loop()

    async def looks():
        return asyncio.current_task(), asyncio.get_running_loop()

    async def main():
        me = asyncio.current_task()
        leave_task(loop, me)
        asyncio._set_running_loop(None)
        try:
            task = other.create_task(looks())
            assert other.run_until_complete(task) == (task, other)
        finally:
            asyncio._set_running_loop(loop)
            enter_task(loop, me)
        assert asyncio.current_task() is me
        await asyncio.sleep(0)
        assert asyncio.current_task() is me

    run(main())


def test_loop_cannot_run_inside_another(loop, run, new_loop):
    other = new_loop()

    async def main():
        coro = gives()
        with pytest.raises(RuntimeError, match="Cannot run the event loop while another loop is running"):
            other.run_until_complete(coro)
        coro.close()
        coro = gives()
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_until_complete(coro)
        coro.close()
        assert asyncio.current_task() is not None
        await asyncio.sleep(0)

    run(main())
