"""asyncio's own combinators (gather, wait, shield, timeouts, bridges to threads) over our futures.

Covers task/future_methods.c and task/waiters.c. They are the stdlib's code: what is tested is that our futures and
tasks offer all that it asks for. Fixtures named `make_task` and `make_future` mix in the stdlib's kinds.
"""

import asyncio
import concurrent.futures
import sys
import threading

import pytest
from task_support import later


async def forever(ended=None):
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        if ended is not None:
            ended.append("ended")


def test_gather_keeps_the_order(loop, run, make_future, make_task):
    async def main():
        fut = make_future(loop)
        loop.call_soon(fut.set_result, "future")
        task = make_task(loop, later("task", 3))
        coro = later("coroutine", 2)
        parts = [fut, task, coro] if asyncio.isfuture(fut) and hasattr(fut, "cancelled") else [task, coro]
        results = await asyncio.gather(*parts)
        assert results[-2:] == ["task", "coroutine"]
        assert await asyncio.gather() == []
        assert await asyncio.gather(task, task) == ["task", "task"]

    run(main())


def test_gather_fails_with_the_first_error(loop, run):
    async def main():
        slow = loop.create_task(later("slow", 5))
        outer = asyncio.gather(slow, later(ValueError("first"), 1), later(KeyError("second"), 2))
        assert isinstance(outer, asyncio.Future)
        with pytest.raises(ValueError, match="first"):
            await outer
        assert not slow.done()
        assert await slow == "slow"

    run(main())


def test_gather_can_return_errors(loop, run):
    async def main():
        gone = loop.create_task(forever())
        loop.call_soon(gone.cancel, "why")
        results = await asyncio.gather(later(1), later(KeyError("k")), gone, return_exceptions=True)
        assert results[0] == 1
        assert isinstance(results[1], KeyError)
        assert isinstance(results[2], asyncio.CancelledError)
        # The message went to the future that the task waited for; gather asks the task for its own.
        assert gone._cancel_message is None
        assert results[2].args == ("",)

    run(main())


@pytest.mark.parametrize("return_exceptions", [True, False])
def test_cancelling_gather_cancels_its_children(loop, run, make_task, return_exceptions):
    async def main():
        ended = []
        tasks = [make_task(loop, forever(ended)) for _ in range(3)]
        outer = asyncio.gather(*tasks, return_exceptions=return_exceptions)
        await asyncio.sleep(0)
        assert outer.cancel("message") is True
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert all(task.cancelled() for task in tasks)
        assert len(ended) == 3

    run(main())


def test_cancelling_a_child_of_gather(loop, run):
    async def main():
        child = loop.create_task(forever())
        other = loop.create_task(forever())
        outer = asyncio.gather(child, other)
        await asyncio.sleep(0)
        child.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert not other.done()
        other.cancel()

    run(main())


def test_nested_gather(loop, run):
    async def main():
        inner = [asyncio.gather(*[later((i, j), j) for j in range(4)]) for i in range(4)]
        assert await asyncio.gather(*inner) == [[(i, j) for j in range(4)] for i in range(4)]
        ended = []
        outer = asyncio.gather(asyncio.gather(forever(ended), forever(ended)), forever(ended))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert len(ended) == 3

    run(main())


def test_wait_for_all_and_first_completed(loop, run, make_task):
    async def main():
        quick = make_task(loop, later("quick", 1))
        slow = make_task(loop, forever())
        done, pending = await asyncio.wait([quick, slow], return_when=asyncio.FIRST_COMPLETED)
        assert done == {quick}
        assert pending == {slow}
        assert not slow._callbacks
        slow.cancel()
        done, pending = await asyncio.wait([quick, slow])
        assert done == {quick, slow}
        assert pending == set()

    run(main())


def test_wait_first_exception(loop, run):
    async def main():
        good = loop.create_task(later("good", 1))
        bad = loop.create_task(later(ValueError("bad"), 3))
        slow = loop.create_task(forever())
        done, pending = await asyncio.wait([good, bad, slow], return_when=asyncio.FIRST_EXCEPTION)
        assert done == {good, bad}
        assert pending == {slow}
        assert isinstance(bad.exception(), ValueError)
        slow.cancel()

    run(main())


def test_wait_with_a_timeout(loop, run):
    async def main():
        slow = loop.create_task(forever())
        fut = loop.create_future()
        done, pending = await asyncio.wait([slow, fut], timeout=0.01)
        assert done == set()
        assert pending == {slow, fut}
        assert fut._callbacks is None
        slow.cancel()

    run(main())


def test_wait_for(loop, run, make_task):
    async def main():
        fut = loop.create_future()
        loop.call_soon(fut.set_result, 1)
        assert await asyncio.wait_for(fut, 30) == 1
        assert await asyncio.wait_for(make_task(loop, later("task", 2)), 30) == "task"
        assert await asyncio.wait_for(later("coroutine"), None) == "coroutine"
        assert await asyncio.wait_for(fut, 0) == 1
        with pytest.raises(ValueError):
            await asyncio.wait_for(later(ValueError()), 30)

    run(main())


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_wait_for_runs_out_of_time(loop, run, make_task, timeout):
    async def main():
        ended = []
        task = make_task(loop, forever(ended))
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, timeout)
        assert task.cancelled()
        assert ended == ["ended"]
        assert asyncio.current_task().cancelling() == 0

    run(main())


def test_cancelling_wait_for(loop, run):
    async def main():
        inner = loop.create_task(forever())
        outer = loop.create_task(asyncio.wait_for(inner, 30))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        outer.cancel("m")
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert inner.cancelled()

    run(main())


def test_shield(loop, run, make_task):
    async def main():
        inner = make_task(loop, later("inner", 5))

        async def waits():
            return await asyncio.shield(inner)

        outer = make_task(loop, waits())
        await asyncio.sleep(0)
        outer.cancel("outer only")
        with pytest.raises(asyncio.CancelledError) as caught:
            await outer
        assert caught.value.args == ("outer only",)
        assert not inner.done()
        assert await asyncio.shield(inner) == "inner"
        assert asyncio.shield(inner) is inner

    run(main())


def test_shield_passes_on_errors_and_cancellation_from_inside(loop, run):
    async def main():
        with pytest.raises(ValueError, match="inside"):
            await asyncio.shield(later(ValueError("inside")))
        inner = loop.create_task(forever())
        shielded = asyncio.shield(inner)
        await asyncio.sleep(0)
        inner.cancel()
        with pytest.raises(asyncio.CancelledError):
            await shielded

    run(main())


def test_as_completed(loop, run, make_task):
    async def main():
        tasks = [make_task(loop, later(i, 1 + 2 * i)) for i in (2, 0, 1)]
        assert [await part for part in asyncio.as_completed(tasks)] == [0, 1, 2]
        with pytest.raises(TimeoutError):
            for part in asyncio.as_completed([forever()], timeout=0.01):
                await part

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="asynchronous iteration came with 3.13")
def test_as_completed_yields_the_tasks_themselves(loop, run):
    async def main():
        tasks = {loop.create_task(later(i, 1 + i)) for i in range(3)}
        seen = [task async for task in asyncio.as_completed(tasks)]
        assert set(seen) == tasks
        assert [task.result() for task in seen] == [0, 1, 2]

    run(main())


def test_timeout(loop, run):
    async def main():
        with pytest.raises(TimeoutError) as caught:
            async with asyncio.timeout(0.01) as scope:
                await loop.create_future()
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)
        assert scope.expired()
        assert asyncio.current_task().cancelling() == 0
        async with asyncio.timeout(30) as scope:
            assert await later("in time") == "in time"
        assert not scope.expired()
        async with asyncio.timeout(None) as scope:
            scope.reschedule(loop.time() + 30)
            await asyncio.sleep(0)

    run(main())


def test_nested_timeouts(loop, run):
    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01) as outer:
                async with asyncio.timeout(30) as inner:
                    await loop.create_future()
        assert outer.expired()
        assert not inner.expired()
        assert asyncio.current_task().cancelling() == 0

    run(main())


def test_timeout_lets_a_cancellation_through(loop, run):
    async def works():
        async with asyncio.timeout(30):
            await loop.create_future()

    async def main():
        task = loop.create_task(works())
        await asyncio.sleep(0)
        task.cancel("outside")
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        assert caught.value.args == ("outside",)
        assert task.cancelling() == 1

    run(main())


def test_wrap_future_both_ways(loop, run):
    async def main():
        remote = concurrent.futures.Future()
        local = asyncio.wrap_future(remote)
        assert isinstance(local, asyncio.Future)
        assert local.get_loop() is loop
        thread = threading.Thread(target=remote.set_result, args=("threaded",))
        thread.start()
        assert await local == "threaded"
        thread.join()
        remote = concurrent.futures.Future()
        local = asyncio.wrap_future(remote)
        remote.set_exception(ValueError("threaded"))
        with pytest.raises(ValueError, match="threaded"):
            await local
        remote = concurrent.futures.Future()
        local = asyncio.wrap_future(remote)
        local.cancel()
        await asyncio.sleep(0)
        assert remote.cancelled()
        assert asyncio.wrap_future(local) is local

    run(main())


def test_ensure_future(loop, run, make_future, future_type, task_type):
    class Awaitable:
        def __await__(self):
            yield
            return "awaited"

    async def main():
        fut = make_future(loop)
        assert asyncio.ensure_future(fut) is fut
        with pytest.raises(ValueError, match="The future belongs to a different loop"):
            asyncio.ensure_future(fut, loop=asyncio.AbstractEventLoop())
        task = asyncio.ensure_future(later(1))
        assert type(task) is task_type
        assert await task == 1
        assert await asyncio.ensure_future(Awaitable()) == "awaited"
        with pytest.raises(TypeError):
            asyncio.ensure_future(42)

    run(main())
