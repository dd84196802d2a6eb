"""Done callbacks of futures: when they run, in what order and context.

Covers task/waiters.c. Everything happens within a few turns of a loop that the test stops itself (`turn`).
"""

import asyncio
import contextvars
import functools
import gc
import traceback
import weakref

import pytest

var = contextvars.ContextVar("var", default="unset")


def test_callbacks_wait_for_a_turn_and_get_the_future(loop, turn):
    seen = []
    fut = loop.create_future()
    assert fut.add_done_callback(seen.append) is None
    turn()
    assert seen == []
    fut.set_result(1)
    assert seen == []
    turn()
    assert seen == [fut]
    turn()
    assert seen == [fut]


@pytest.mark.parametrize("finish", ["set_result", "set_exception", "cancel"])
def test_every_ending_runs_the_callbacks(loop, turn, finish):
    seen = []
    fut = loop.create_future()
    fut.add_done_callback(lambda f: seen.append(f._state))
    getattr(fut, finish)(*([] if finish == "cancel" else [ValueError()]))
    turn()
    assert seen == ["CANCELLED" if finish == "cancel" else "FINISHED"]
    fut._log_traceback = False


def test_callbacks_of_a_done_future_still_wait_for_a_turn(loop, turn):
    seen = []
    fut = loop.create_future()
    fut.set_result(1)
    fut.add_done_callback(seen.append)
    assert seen == []
    assert fut._callbacks is None
    turn()
    assert seen == [fut]


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_callbacks_run_in_order_among_other_handles(loop, turn, count):
    seen = []
    fut = loop.create_future()
    for i in range(count):
        fut.add_done_callback(lambda f, i=i: seen.append(i))
    loop.call_soon(seen.append, "before")
    fut.set_result(None)
    loop.call_soon(seen.append, "after")
    turn()
    assert seen == ["before", *range(count), "after"]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_waiting_task_keeps_its_place_among_callbacks(loop, turn, place):
    seen = []
    fut = loop.create_future()

    async def waits():
        await fut
        seen.append("task")

    tasks = []
    expected = []
    for i in range(3):
        if i == place:
            tasks.append(loop.create_task(waits()))
            turn()
            expected.append("task")
        fut.add_done_callback(lambda f, i=i: seen.append(i))
        expected.append(i)
    fut.set_result(None)
    loop.call_soon(seen.append, "after")
    turn()
    assert seen == [*expected, "after"]


def test_waiting_tasks_wake_in_the_order_they_came(loop, turn):
    seen = []
    fut = loop.create_future()

    async def waits(i):
        await fut
        seen.append(i)

    tasks = [loop.create_task(waits(i)) for i in range(5)]
    turn()
    assert len(fut._callbacks) == 5
    fut.set_result(None)
    turn()
    assert seen == [0, 1, 2, 3, 4]
    assert all(task.done() for task in tasks)


def test_same_callback_twice_runs_twice(loop, turn):
    seen = []
    fut = loop.create_future()
    fut.add_done_callback(seen.append)
    fut.add_done_callback(seen.append)
    fut.set_result(None)
    turn()
    assert seen == [fut, fut]


@pytest.mark.parametrize("others", [0, 1, 2, 3])
def test_remove_returns_how_many_it_removed(loop, turn, others):
    seen = []

    def gone(fut):
        seen.append("gone")

    fut = loop.create_future()
    assert fut.remove_done_callback(gone) == 0
    fut.add_done_callback(gone)
    for i in range(others):
        fut.add_done_callback(lambda f, i=i: seen.append(i))
        fut.add_done_callback(gone)
    assert fut.remove_done_callback(gone) == others + 1
    assert fut.remove_done_callback(gone) == 0
    assert (fut._callbacks is None) is (others == 0)
    fut.set_result(None)
    turn()
    assert seen == list(range(others))


def test_remove_compares_by_equality(loop):
    class Owner:
        def method(self, fut):
            pass

    owner = Owner()
    fut = loop.create_future()
    fut.add_done_callback(owner.method)
    assert fut.remove_done_callback(Owner().method) == 0
    assert fut.remove_done_callback(owner.method) == 1
    partial = functools.partial(print)
    fut.add_done_callback(partial)
    assert fut.remove_done_callback(functools.partial(print)) == 0
    assert fut.remove_done_callback(partial) == 1


def test_scheduled_callbacks_cannot_be_removed(loop, turn):
    seen = []
    fut = loop.create_future()
    fut.add_done_callback(seen.append)
    fut.set_result(None)
    assert fut._callbacks is None
    assert fut.remove_done_callback(seen.append) == 0
    turn()
    assert seen == [fut]


def test_callback_may_add_remove_and_cancel(loop, turn):
    seen = []
    fut = loop.create_future()

    def second(fut):
        seen.append("second")

    def first(fut):
        seen.append("first")
        fut.add_done_callback(second)
        assert fut.remove_done_callback(third) == 0
        assert fut.cancel() is False

    def third(fut):
        seen.append("third")

    fut.add_done_callback(first)
    fut.add_done_callback(third)
    fut.set_result(None)
    turn()
    assert seen == ["first", "third"]
    turn()
    assert seen == ["first", "third", "second"]


def test_future_freed_by_its_own_callback(loop, turn, errors):
    cell = [loop.create_future()]
    ref = weakref.ref(cell[0])
    seen = []

    def forget(fut):
        cell.clear()
        del fut
        gc.collect()
        seen.append(1)

    for _ in range(3):
        cell[0].add_done_callback(forget)
    cell[0].set_result(None)
    turn()
    gc.collect()
    assert seen == [1, 1, 1]
    assert ref() is None
    assert errors == []


def test_callback_of_a_closed_loop(loop):
    fut = loop.create_future()
    fut.add_done_callback(print)
    quiet = loop.create_future()
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        fut.set_result(1)
    assert fut.result() == 1
    quiet.set_result(2)
    assert quiet.result() == 2
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        quiet.add_done_callback(print)


def test_failing_callback_is_reported_and_the_rest_runs(loop, turn, errors):
    seen = []
    fut = loop.create_future()

    def broken(fut):
        raise ValueError("broken callback")

    fut.add_done_callback(broken)
    fut.add_done_callback(seen.append)
    fut.set_result(None)
    turn()
    assert seen == [fut]
    assert len(errors) == 1
    assert errors[0]["message"].startswith("Exception in callback ")
    assert "broken" in errors[0]["message"]
    assert str(errors[0]["exception"]) == "broken callback"
    assert isinstance(errors[0]["handle"], asyncio.Handle)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_callback_that_ends_the_program(loop, turn, errors, error):
    seen = []
    fut = loop.create_future()

    def leaves(fut):
        raise error("leave")

    fut.add_done_callback(leaves)
    fut.add_done_callback(seen.append)
    fut.set_result(None)
    with pytest.raises(error, match="leave"):
        turn()
    turn()
    assert seen == [fut]
    assert errors == []


def test_callback_runs_in_the_context_of_its_registration(loop, turn):
    seen = []
    fut = loop.create_future()

    def look(fut):
        seen.append(var.get())
        var.set("changed by the callback")

    def add(value):
        var.set(value)
        fut.add_done_callback(look)

    contextvars.copy_context().run(add, "one")
    contextvars.copy_context().run(add, "two")
    fut.add_done_callback(look)
    fut.set_result(None)
    fut.add_done_callback(look)
    turn()
    assert seen == ["one", "two", "unset", "unset"]
    assert var.get() == "unset"


def test_callback_runs_in_the_very_context_that_was_given(loop, turn):
    fut = loop.create_future()
    context = contextvars.Context()
    context.run(var.set, "given")
    seen = []

    def look(fut):
        seen.append(var.get())
        var.set("seen")

    fut.add_done_callback(look, context=context)
    fut.add_done_callback(look, context=context)
    assert fut._callbacks == [(look, context), (look, context)]
    fut.set_result(None)
    turn()
    assert seen == ["given", "seen"]
    assert context[var] == "seen"


@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("due", [False, True])
def test_callbacks_that_hold_their_future_are_collected(loop, turn, count, due):
    fut = loop.create_future()
    for i in range(count):
        fut.add_done_callback(lambda told, fut=fut, i=i: None)
    if due:
        fut.set_result(None)
        turn()
    ref = weakref.ref(fut)
    del fut
    gc.collect()
    assert ref() is None


@pytest.mark.parametrize("count", [2, 3, 4, 20])
def test_callbacks_between_waiting_tasks(loop, turn, count):
    seen = []
    fut = loop.create_future()

    async def waits(i):
        await fut
        seen.append(i)

    tasks = []
    for i in range(count):
        tasks.append(loop.create_task(waits(2 * i)))
        turn()
        fut.add_done_callback(lambda told, i=i: seen.append(2 * i + 1))
    assert len(fut._callbacks) == 2 * count
    fut.set_result(None)
    assert fut._callbacks is None
    turn()
    assert seen == [*range(2 * count)]


def test_callbacks_attribute_is_a_list_of_pairs(loop):
    fut = loop.create_future()
    fut.add_done_callback(print)
    [(fn, context)] = fut._callbacks
    assert fn is print
    assert isinstance(context, contextvars.Context)
    fut.add_done_callback(len)
    assert [fn for fn, _ in fut._callbacks] == [print, len]
    fut.cancel()
    assert fut._callbacks is None


def test_overridden_call_soon_of_a_loop_subclass_is_used(kind, debug):
    # Some harnesses count or trace what is scheduled this way; futures and tasks must not step around it.
    if kind == "asyncio":
        base = asyncio.SelectorEventLoop
    else:
        from loopmod import Loop as base
    calls = []

    class Tracing(base):
        def call_soon(self, callback, *args, context=None):
            calls.append(callback)
            return super().call_soon(callback, *args, context=context)

    loop = Tracing()
    loop.set_debug(debug)
    try:
        fut = loop.create_future()
        fut.add_done_callback(print)
        fut.remove_done_callback(print)
        callback = calls.append
        fut.add_done_callback(callback)
        fut.set_result(None)
        assert calls == [callback]
        calls.clear()
        task = loop.create_task(asyncio.sleep(0))
        assert len(calls) == 1
        loop.run_until_complete(task)
        assert len(calls) >= 3
    finally:
        loop.close()


@pytest.mark.parametrize("is_task", [False, True])
def test_context_none_is_that_of_who_makes_it_done(loop, turn, is_task):
    """asyncio's C keeps None until then; a callback of a future that is done has the context of here."""
    seen = []

    def note(fut):
        seen.append(var.get())

    async def body():
        var.set("inside")

    fut = loop.create_task(body()) if is_task else loop.create_future()
    added = contextvars.copy_context()
    added.run(var.set, "added")
    added.run(fut.add_done_callback, note, context=None)
    added.run(fut.add_done_callback, note)
    assert [context is None for _, context in fut._callbacks] == [True, False]
    if not is_task:
        contextvars.copy_context().run(lambda: (var.set("inside"), fut.set_result(1)))
    turn()
    turn()
    assert seen == ["inside", "added"]
    added.run(fut.add_done_callback, note, context=None)
    turn()
    assert seen.pop() == "added"


def test_context_none_beside_tasks_that_wait(loop):
    seen = []

    async def waits(fut):
        seen.append(await fut)

    async def main():
        fut = loop.create_future()
        tasks = [loop.create_task(waits(fut))]
        await asyncio.sleep(0)
        fut.add_done_callback(lambda fut: seen.append(var.get()), context=None)
        tasks.append(loop.create_task(waits(fut)))
        await asyncio.sleep(0)
        var.set("main")
        fut.set_result("result")
        assert fut._callbacks is None
        await asyncio.gather(*tasks)

    loop.run_until_complete(main())
    assert seen == ["result", "main", "result"]


def test_context_none_is_removed_as_any(loop, turn):
    fut = loop.create_future()
    seen = []
    fut.add_done_callback(seen.append, context=None)
    fut.add_done_callback(seen.append, context=None)
    assert fut.remove_done_callback(seen.append) == 2
    fut.set_result(1)
    turn()
    assert seen == []


def test_an_interruption_in_debug_mode_loses_no_callback(loop, turn, kind, monkeypatch):
    """Each handle notes where it was made, in Python: there a signal handler may raise."""
    if kind == "asyncio":
        pytest.skip("drops the callbacks that were not scheduled yet")
    loop.set_debug(True)
    seen, calls = [], []
    fut = loop.create_future()
    for number in range(4):
        fut.add_done_callback(lambda fut, number=number: seen.append(number))
    original = traceback.StackSummary.extract

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*args, **kwargs)

    monkeypatch.setattr(traceback.StackSummary, "extract", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fut.set_result(1)
    assert fut.result() == 1
    turn()
    assert seen == [0, 1, 2, 3]
