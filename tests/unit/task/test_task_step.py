"""One step of a task: what a coroutine may yield, what is refused and in which words, depth, exits.

Covers task/step.c.
"""

import asyncio
import re
import sys
import types

import pytest

V312 = sys.version_info >= (3, 12)


@types.coroutine
def yields(value):
    return (yield value)


def outcome(loop, make_task, coro):
    """Run a task to its end and return its exception."""
    task = make_task(loop, coro)
    loop.run_until_complete(asyncio.wait([task]))
    return task.exception()


def test_bare_yield_waits_one_turn(loop, turn, make_task):
    seen = []

    async def steps():
        for i in range(3):
            seen.append(i)
            assert await yields(None) is None

    task = make_task(loop, steps())
    for i in range(3):
        turn()
        assert seen == list(range(i + 1))
        assert not task.done()
    turn()
    assert task.done()


@pytest.mark.parametrize("value", [1, "text", object(), True, [], int], ids=lambda value: type(value).__name__)
def test_bad_yields(loop, make_task, value):
    async def misbehaves():
        await yields(value)

    error = outcome(loop, make_task, misbehaves())
    assert type(error) is RuntimeError
    assert str(error) == f"Task got bad yield: {value!r}"


def test_bad_yield_can_be_caught(loop, make_task):
    async def misbehaves():
        with pytest.raises(RuntimeError, match="Task got bad yield: 1"):
            await yields(1)
        await asyncio.sleep(0)
        return "recovered"

    assert loop.run_until_complete(make_task(loop, misbehaves())) == "recovered"


def test_yield_instead_of_yield_from(loop, make_task, make_future):
    fut = make_future(loop)

    async def misbehaves():
        await yields(fut)

    task = make_task(loop, misbehaves())
    loop.run_until_complete(asyncio.wait([task]))
    text = str(task.exception())
    assert type(task.exception()) is RuntimeError
    assert text.startswith("yield was used instead of yield from ")
    assert "<Task pending" in text
    assert repr(fut) in text
    assert not fut.done()


def test_yielding_a_generator(loop, make_task):
    generator = (i for i in ())

    async def misbehaves():
        await yields(generator)

    error = outcome(loop, make_task, misbehaves())
    assert type(error) is RuntimeError
    assert str(error).startswith("yield was used instead of yield from for generator in task <Task pending ")
    assert str(error).endswith(f"> with {generator!r}")


def test_awaiting_itself(loop, make_task):
    async def misbehaves():
        await make_task.current_task()

    task = make_task(loop, misbehaves())
    loop.run_until_complete(asyncio.wait([task]))
    assert type(task.exception()) is RuntimeError
    assert re.match(r"^Task cannot await on itself: <Task pending name='Task-\d+' ", str(task.exception()))


def test_future_of_another_loop(loop, new_loop, make_task, make_future):
    fut = make_future(new_loop())

    async def misbehaves():
        await fut

    task = make_task(loop, misbehaves())
    loop.run_until_complete(asyncio.wait([task]))
    text = str(task.exception())
    assert type(task.exception()) is RuntimeError
    assert re.match(r"^Task <Task pending name='Task-\d+' .*> got Future <.*> attached to a different loop$", text)
    assert repr(fut)[:10] in text


def test_done_future_of_another_loop_is_welcome(loop, new_loop, make_task, make_future):
    fut = make_future(new_loop())
    fut.set_result("anywhere")

    async def waits():
        return await fut

    assert loop.run_until_complete(make_task(loop, waits())) == "anywhere"


@pytest.mark.parametrize("part", ["get_loop", "add_done_callback"])
def test_foreign_future_whose_parts_fail(loop, turn, errors, make_task, part):
    class Broken:
        _asyncio_future_blocking = True

        def get_loop(self):
            if part == "get_loop":
                raise LookupError(part)
            return loop

        def add_done_callback(self, fn, *, context=None):
            raise LookupError(part)

        def __await__(self):
            yield self

    async def waits():
        await Broken()

    task = make_task(loop, waits())
    turn(3)
    # The step breaks down, which the loop reports; nobody is left to go on with the task.
    assert [str(report["exception"]) for report in errors] == [f"{part}"]
    assert not task.done()
    assert make_task.current_task(loop) is None
    task._log_destroy_pending = False
    task.get_coro().close()


def test_generator_based_coroutines(loop, make_task):
    @types.coroutine
    def generator():
        yield
        fut = loop.create_future()
        loop.call_soon(fut.set_result, "from a generator")
        return (yield from fut)

    if V312:
        unused = generator()
        with pytest.raises(TypeError, match="a coroutine was expected, got <generator object"):
            make_task(loop, unused)
    else:
        assert loop.run_until_complete(make_task(loop, generator())) == "from a generator"

    async def wraps():
        return await generator()

    assert loop.run_until_complete(make_task(loop, wraps())) == "from a generator"


def test_hand_written_awaitables(loop, make_task):
    class Iterator:
        def __init__(self):
            self.left = 3

        def __iter__(self):
            return self

        def __next__(self):
            self.left -= 1
            if self.left < 0:
                raise StopIteration("iterated")

    class Awaitable:
        def __await__(self):
            return Iterator()

    async def waits():
        return await Awaitable()

    assert loop.run_until_complete(make_task(loop, waits())) == "iterated"


def test_async_generators(loop, run):
    closed = []

    async def counts(n):
        try:
            for i in range(n):
                await asyncio.sleep(0)
                sent = yield i
                assert sent is None
        finally:
            await asyncio.sleep(0)
            closed.append(n)

    async def main():
        assert [i async for i in counts(5)] == list(range(5))
        async for i in counts(7):
            if i == 2:
                break
        generator = counts(9)
        assert await anext(generator) == 0
        await generator.aclose()
        with pytest.raises(ValueError):
            await counts(3).athrow(ValueError())

    run(main())
    assert sorted(closed) == [5, 7, 9]


def test_deep_awaits(loop, run):
    async def dives(depth):
        if depth:
            return await dives(depth - 1) + 1
        await asyncio.sleep(0)
        return 0

    async def main():
        old = sys.getrecursionlimit()
        sys.setrecursionlimit(10_000)
        try:
            assert await dives(1_000) == 1_000
        finally:
            sys.setrecursionlimit(old)

    run(main())


def test_deep_chain_of_tasks(loop, run, make_task, make_other_task):
    async def joins(task):
        return await task + 1

    async def starts(fut):
        return await fut

    async def main():
        fut = loop.create_future()
        task = make_task(loop, starts(fut))
        for i in range(1_000):
            task = (make_other_task if i % 2 else make_task)(loop, joins(task))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        fut.set_result(0)
        assert await task == 1_000

    run(main())


def test_recursion_error_is_an_ordinary_error(loop, make_task):
    async def dives():
        await dives()

    assert isinstance(outcome(loop, make_task, dives()), RecursionError)


def test_ten_thousand_tasks(loop, run):
    async def works(i, gate):
        await gate
        await asyncio.sleep(0)
        return i

    async def main():
        gate = loop.create_future()
        tasks = [loop.create_task(works(i, gate)) for i in range(10_000)]
        await asyncio.sleep(0)
        assert len(gate._callbacks) == 10_000
        gate.set_result(None)
        assert await asyncio.gather(*tasks) == list(range(10_000))

    run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("waits", [True, False])
def test_exits_are_stored_and_leave_the_loop(loop, turn, make_task, error, waits):
    async def leaves():
        if waits:
            await asyncio.sleep(0)
        raise error("leave")

    task = make_task(loop, leaves())
    with pytest.raises(error, match="leave"):
        loop.run_until_complete(task)
    assert task.done()
    assert isinstance(task.exception(), error)
    turn()


@pytest.mark.parametrize("error", [GeneratorExit, BaseExceptionGroup("g", [GeneratorExit()])], ids=["one", "group"])
def test_other_base_exceptions_are_stored_only(loop, turn, make_task, error):
    async def raises():
        raise error

    task = make_task(loop, raises())
    turn(2)
    assert task.done()
    assert isinstance(task.exception(), (GeneratorExit, BaseExceptionGroup))


def test_exit_thrown_by_an_awaited_future(loop, turn, make_task):
    fut = loop.create_future()

    async def waits():
        await fut

    task = make_task(loop, waits())
    turn()
    fut.set_exception(SystemExit(3))
    with pytest.raises(SystemExit):
        turn()
    assert isinstance(task.exception(), SystemExit)


def test_exception_state_does_not_leak_between_tasks(loop, run):
    async def handles(seen):
        try:
            raise ValueError("handled")
        except ValueError:
            await asyncio.sleep(0)
            seen.append(sys.exc_info()[0])
            await asyncio.sleep(0)
        seen.append(sys.exc_info()[0])

    async def looks(seen):
        for _ in range(3):
            seen.append(sys.exc_info()[0])
            await asyncio.sleep(0)

    async def main():
        one, two = [], []
        await asyncio.gather(handles(one), looks(two))
        assert one == [ValueError, None]
        assert two == [None] * 3

    run(main())


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="nothing begins anew there")
@pytest.mark.parametrize("is_task", [False, True])
def test_what_began_anew_before_the_wake_up_has_no_result(loop, is_task):
    async def body():
        await asyncio.sleep(0)

    async def main():
        waited = loop.create_task(body()) if is_task else loop.create_future()

        async def waits():
            await waited

        def begin_anew(fut):
            more = (body(),) if is_task else ()
            waited.__init__(*more, loop=loop)

        waited.add_done_callback(begin_anew)
        task = loop.create_task(waits())
        await asyncio.sleep(0)
        if not is_task:
            waited.set_result(1)
        with pytest.raises(asyncio.InvalidStateError, match="Result is not set"):
            await task
        if is_task:
            await waited

    loop.run_until_complete(main())


def test_a_task_that_is_done_takes_no_step(loop, turn, make_task):
    """Its wake-up, kept from what it awaited, is refused, and the result stays."""
    future = loop.create_future()

    async def wait():
        return await future

    task = make_task(loop, wait())
    turn()
    wake_up = future._callbacks[0][0]
    future.set_result("first")
    assert loop.run_until_complete(task) == "first"
    refused = []

    def call():
        with pytest.raises(asyncio.InvalidStateError, match="already done"):
            wake_up(future)
        refused.append(True)

    loop.call_soon(call)  # newer versions ask first whether the loop runs
    turn()
    assert refused and task.result() == "first"
