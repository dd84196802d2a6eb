"""A callback or task has a context of its own, whatever became of those that ran before.

Covers core/context.h and the entering of contexts in core/handle.c and task/step.c. An empty context that nobody
looked at may serve again; these tests look for a way to notice.
"""

import asyncio
import contextvars
import functools
import gc
import socket
import sys
import threading
import weakref

import pytest

V312 = sys.version_info >= (3, 12)

var = contextvars.ContextVar("var", default="unset")


def in_empty_context(test):
    """Run the test where nothing is set; pytest sets variables of its own."""

    @functools.wraps(test)
    def wrapper(*args, **kwargs):
        return contextvars.Context().run(test, *args, **kwargs)

    return wrapper


@in_empty_context
def test_what_one_callback_sets_no_other_sees(loop, turn):
    seen = []

    def look(name):
        seen.append(var.get())
        var.set(name)

    for name in "abc":
        loop.call_soon(look, name)
        loop.call_soon_threadsafe(look, name)
        loop.call_later(0, look, name)
    turn(3)
    assert seen == ["unset"] * 9


@in_empty_context
def test_threadsafe_calls_take_the_context_of_their_thread(loop, run):
    seen = []

    def look():
        seen.append(var.get())
        var.set("set by the callback")

    def work():
        loop.call_soon_threadsafe(look)
        var.set("of the thread")
        loop.call_soon_threadsafe(look)
        loop.call_soon_threadsafe(look)

    async def main():
        thread = threading.Thread(target=contextvars.Context().run, args=(work,))
        thread.start()
        await asyncio.to_thread(thread.join)
        await asyncio.sleep(0)

    run(main())
    assert seen == ["unset", "of the thread", "of the thread"]


@in_empty_context
def test_a_context_that_was_shown_is_its_handles_own(loop, turn):
    contexts = []

    def show():
        context = handles.pop(0)._context
        with pytest.raises(RuntimeError):
            context.run(lambda: None)  # it is the one that runs
        contexts.append(id(context))

    handles = [loop.call_soon(show) for _ in range(3)]
    kept = list(handles)
    turn(2)
    assert not handles
    assert len(set(contexts)) == 3
    assert [id(handle._context) for handle in kept] == contexts


@in_empty_context
def test_the_context_of_a_waiting_handle_can_be_run_and_set(loop, turn):
    seen = []
    first = loop.call_soon(lambda: seen.append(var.get()))
    second = loop.call_soon(lambda: seen.append(var.get()))
    first._context.run(var.set, "from outside")
    assert first._context is first._context
    assert first._context is not second._context
    turn(2)
    assert seen == ["from outside", "unset"]


@in_empty_context
def test_a_token_outlives_its_callback(loop, turn):
    tokens = []
    loop.call_soon(lambda: tokens.append(var.set("kept")))
    seen = []
    loop.call_soon(lambda: seen.append(var.get()))
    turn(2)

    def reset():
        with pytest.raises(ValueError, match="different Context"):
            var.reset(tokens[0])

    loop.call_soon(reset)
    turn(2)
    assert seen == ["unset"]
    assert tokens[0].old_value is contextvars.Token.MISSING


@in_empty_context
def test_set_and_reset_leaves_nothing(loop, turn):
    seen = []

    def around():
        token = var.set("for a while")
        seen.append(var.get())
        var.reset(token)
        seen.append(len(contextvars.copy_context()))

    for _ in range(3):
        loop.call_soon(around)
    turn(2)
    assert seen == ["for a while", 0] * 3


@in_empty_context
def test_a_failing_callback_keeps_its_variables_to_itself(loop, turn, errors):
    def fail():
        var.set("set before it failed")
        raise ZeroDivisionError

    seen = []
    loop.call_soon(fail)
    loop.call_soon(lambda: seen.append(var.get()))
    turn(2)
    assert seen == ["unset"]
    assert len(errors) == 1


@in_empty_context
def test_what_a_context_holds_goes_with_its_callback(loop, turn):
    class Value:
        pass

    gone = []

    def hold():
        value = Value()
        weakref.finalize(value, gone.append, True)
        var.set(value)

    loop.call_soon(hold)
    turn(2)
    gc.collect()
    assert gone == [True]


@in_empty_context
def test_handle_run_by_hand_within_a_callback(loop, turn):
    seen = []

    def inner():
        seen.append(var.get())
        var.set("inner")

    def outer():
        var.set("outer")
        contextvars.Context().run(handle._run)
        seen.append(var.get())

    handle = loop.call_later(3600, inner)
    loop.call_soon(outer)
    turn(2)
    handle.cancel()
    assert seen == ["unset", "outer"]


@in_empty_context
def test_tasks_in_turn_keep_their_variables(loop, run):
    async def count(name):
        seen = []
        for i in range(3):
            seen.append(var.get())
            var.set(f"{name}{i}")
            await asyncio.sleep(0)
        return [*seen, var.get()]

    async def reads():
        seen = []
        for _ in range(4):
            seen.append(var.get())
            await asyncio.sleep(0)
        return seen

    async def main():
        return await asyncio.gather(count("a"), reads(), count("b"), reads())

    a, nothing, b, nothing_again = run(main())
    assert a == ["unset", "a0", "a1", "a2"]
    assert b == ["unset", "b0", "b1", "b2"]
    assert nothing == nothing_again == ["unset"] * 4


@in_empty_context
def test_callbacks_between_the_steps_of_a_task(loop, run):
    async def main():
        seen = []

        async def steps():
            for i in range(3):
                loop.call_soon(lambda: seen.append(var.get()))
                await asyncio.sleep(0)
                var.set(i)

        await loop.create_task(steps(), context=contextvars.Context())
        await asyncio.sleep(0)
        return seen

    assert run(main()) == ["unset", 0, 1]


@in_empty_context
def test_done_callbacks_of_a_task_see_its_makers_context(loop, run):
    seen = []

    async def sets():
        await asyncio.sleep(0)
        var.set("by the task")

    async def main():
        task = loop.create_task(sets())
        task.add_done_callback(lambda _: seen.append(var.get()))
        await task
        await asyncio.sleep(0)

    run(main())
    assert seen == ["unset"]


@in_empty_context
def test_done_callbacks_keep_their_variables_to_themselves(loop, turn):
    future, seen = loop.create_future(), []

    def look(name):
        seen.append(var.get())
        var.set(name)

    for name in "ab":
        future.add_done_callback(lambda _, name=name: look(name))
    for _, context in future._callbacks:
        assert len(context) == 0
    future.set_result(None)
    future.add_done_callback(lambda _: look("c"))
    turn(2)
    assert seen == ["unset"] * 3


@in_empty_context
def test_the_context_of_a_waiting_done_callback_can_be_set(loop, turn):
    future, seen = loop.create_future(), []
    for _ in range(2):
        future.add_done_callback(lambda _: seen.append(var.get()))
    for i, (_, context) in enumerate(future._callbacks):
        context.run(var.set, i)
    future.set_result(None)
    turn(2)
    assert seen == [0, 1]


@in_empty_context
def test_call_soon_of_a_program_gets_a_context_with_a_done_callback(loop, turn, monkeypatch):
    contexts, call_soon = [], loop.call_soon

    def noted(callback, *args, context=None):
        contexts.append(context)
        return call_soon(callback, *args, context=context)

    monkeypatch.setattr(loop, "call_soon", noted)
    future, seen = loop.create_future(), []
    future.add_done_callback(lambda _: seen.append(var.get()))
    contextvars.Context().run(var.set, "not this one")
    future.set_result(None)
    turn(2)
    assert seen == ["unset"]
    assert type(contexts[0]) is contextvars.Context


@in_empty_context
def test_reads_of_a_connection_share_variables_with_no_other(run):
    seen = asyncio.Queue()

    class Reader(asyncio.Protocol):
        def data_received(self, data):
            seen.put_nowait(var.get())
            if data == b"set":
                self.token = var.set("by a read")
            if data == b"reset":
                var.reset(self.token)

    async def main():
        loop = asyncio.get_running_loop()
        pairs = [socket.socketpair() for _ in range(2)]
        transports = [(await loop.create_connection(Reader, sock=near))[0] for near, _ in pairs]

        async def read(index, data):
            pairs[index][1].send(data)
            return await seen.get()

        assert await read(0, b"set") == "unset"
        assert await read(1, b"look") == "unset"
        assert await read(0, b"look") == "by a read"
        assert await read(0, b"reset") == "by a read"
        assert await read(1, b"set") == "unset"
        assert await read(0, b"look") == "unset"
        assert await read(1, b"look") == "by a read"
        for transport, (_, far) in zip(transports, pairs, strict=True):
            transport.abort()
            far.close()
        await asyncio.sleep(0)

    run(main())


@pytest.mark.skipif(not V312, reason="get_context() came with 3.12")
@in_empty_context
def test_get_context_is_one_object_for_each_task(loop, run):
    async def looks(peers):
        me = asyncio.current_task()
        first = me.get_context()
        await asyncio.sleep(0)
        var.set("mine")
        await asyncio.sleep(0)
        assert me.get_context() is first
        assert first[var] == "mine"
        assert all(first is not peer.get_context() for peer in peers if peer is not me)

    async def main():
        tasks = []
        tasks += [loop.create_task(looks(tasks)) for _ in range(3)]
        before = [task.get_context() for task in tasks[:2]]
        await asyncio.gather(*tasks)
        assert [task.get_context() for task in tasks[:2]] == before
        assert [id(c) for c in before] == [id(task.get_context()) for task in tasks[:2]]

    run(main())


@pytest.mark.skipif(not V312, reason="get_context() came with 3.12")
@in_empty_context
def test_a_context_shown_between_steps_is_the_one_it_runs_in(loop, run):
    seen = []

    async def looks():
        await asyncio.sleep(0)
        seen.append(var.get())

    async def main():
        task = loop.create_task(looks())
        await asyncio.sleep(0)
        task.get_context().run(var.set, "from outside")
        await task

    run(main())
    assert seen == ["from outside"]


@in_empty_context
def test_a_task_that_waits_for_a_look_alike_keeps_its_context(loop, run):
    async def main():
        future = asyncio.futures._PyFuture(loop=loop)
        seen = []

        async def waits():
            var.set("before")
            await future
            seen.append(var.get())

        async def only_waits():
            await future
            seen.append(var.get())

        tasks = [loop.create_task(waits()), loop.create_task(only_waits())]
        await asyncio.sleep(0)
        loop.call_soon(future.set_result, None)
        await asyncio.gather(*tasks)
        return seen

    assert run(main()) == ["before", "unset"]


@in_empty_context
def test_no_current_task_after_one_is_over(loop, run):
    seen = []

    async def nothing():
        pass

    async def main():
        task = loop.create_task(nothing())
        task.add_done_callback(lambda _: seen.append(asyncio.current_task(loop)))
        await task
        assert asyncio.current_task() is not None
        await asyncio.sleep(0)

    run(main())
    assert seen == [None]
    assert asyncio.current_task(loop) is None


@in_empty_context
def test_stdlib_tasks_between_ours(loop, run):
    order = []

    async def step(name):
        assert asyncio.current_task() is tasks[name]
        order.append(name)
        await asyncio.sleep(0)
        assert asyncio.current_task() is tasks[name]
        order.append(name)

    tasks = {}

    async def main():
        for name in range(6):
            make = loop.create_task if name % 2 else (lambda coro: asyncio.Task(coro, loop=loop))
            tasks[name] = make(step(name))
        await asyncio.gather(*tasks.values())

    run(main())
    assert order == [*range(6), *range(6)]


@in_empty_context
def test_await_of_none_ends_as_any(loop, turn):
    """The iterator gives None by an end without a value; send() has to raise for it."""
    for value in (None, 1, (1, 2), ValueError("a value")):
        future = loop.create_future()
        future.set_result(value)
        with pytest.raises(StopIteration) as stop:
            future.__await__().send(None)
        assert stop.value.value is value
        future = loop.create_future()
        future.set_result(value)
        with pytest.raises(StopIteration) as stop:
            next(future.__await__())
        assert stop.value.value is value
        assert list(future.__await__()) == []


@in_empty_context
def test_a_burst_of_callbacks_and_what_follows(loop, turn):
    """More handles than are kept for reuse, each with arguments of its own."""
    got = []
    count = 40_000
    for i in range(count):
        loop.call_soon(got.append, i)
    kept = [loop.call_soon(got.append, i) for i in (count, count + 1)]
    turn(1)
    assert got == list(range(count + 2))
    assert [handle.cancelled() for handle in kept] == [False, False]
    loop.call_soon(got.append, "after")
    turn(1)
    assert got[-1] == "after"
