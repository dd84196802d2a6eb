"""Tasks: creation, names, attributes, outcomes. Contexts, cancelling, stepping have files of their own.

Covers task/task.c, task/task_make.c and task/task_type.c.
"""

import asyncio
import collections.abc
import contextvars
import copy
import gc
import pickle
import re
import sys
import types
import weakref

import pytest
from task_support import fails, gives

V312 = sys.version_info >= (3, 12)
V314 = sys.version_info >= (3, 14)


def test_new_task(loop, task_type, turn, debug):
    coro = gives("value")
    task = loop.create_task(coro)
    assert type(task) is task_type
    assert isinstance(task, asyncio.Task)
    assert isinstance(task, asyncio.Future)
    assert asyncio.isfuture(task)
    assert task.get_loop() is loop
    assert task._loop is loop
    assert task.get_coro() is coro
    assert task._coro is coro
    assert task._state == "PENDING"
    assert task._fut_waiter is None
    assert task._must_cancel is False
    assert task._callbacks is None
    assert task._log_destroy_pending is True
    assert task.cancelling() == 0
    assert not task.done()
    assert (task._source_traceback is not None) is debug
    turn()
    assert task.done()
    assert task.result() == "value"
    assert task.exception() is None
    assert not task.cancelled()


def test_type_is_one_task_type(task_type, future_type):
    assert issubclass(task_type, asyncio.Task)
    assert issubclass(task_type, asyncio.Future)
    assert task_type.__name__ == "Task"


def test_failed_task(loop, turn):
    error = ValueError("no")
    task = loop.create_task(fails(error))
    turn()
    assert task.done()
    assert task._log_traceback is True
    assert task.exception() is error
    with pytest.raises(ValueError) as caught:
        task.result()
    assert caught.value is error


@pytest.mark.parametrize("value", [(), (1, 2), StopIteration(5), ValueError("a value"), asyncio.CancelledError()])
def test_any_object_can_be_returned(loop, value):
    async def relays():
        return await gives(value)

    async def joins():
        return await loop.create_task(relays())

    assert loop.run_until_complete(joins()) is value


def test_stop_iteration_cannot_leave_a_coroutine(loop, turn):
    task = loop.create_task(fails(StopIteration(5)))
    turn()
    assert isinstance(task.exception(), RuntimeError)
    assert isinstance(task.exception().__cause__, StopIteration)


def test_tasks_do_not_start_before_their_turn(loop, turn):
    seen = []

    async def appends(i):
        seen.append(i)

    tasks = [loop.create_task(appends(i)) for i in range(3)]
    loop.call_soon(seen.append, "handle")
    tasks.append(loop.create_task(appends(3)))
    assert seen == []
    turn()
    assert seen == [0, 1, 2, "handle", 3]


def test_default_names_count_up(loop, task_type):
    # The stdlib's own tasks count for themselves: their counter is private to C.
    made = [
        loop.create_task(gives()),
        task_type(gives(), loop=loop),
        loop.create_task(gives(), name="named"),
        task_type(gives(), loop=loop),
        loop.create_task(gives(), name=None),
    ]
    names = [task.get_name() for task in made]
    assert names[2] == "named"
    numbers = [int(re.fullmatch(r"Task-(\d+)", name)[1]) for name in names if name != "named"]
    assert numbers == list(range(numbers[0], numbers[0] + 4))
    assert made[0].get_name() == names[0]
    loop.run_until_complete(asyncio.wait(made))


@pytest.mark.parametrize("name, expected", [("text", "text"), (7, "7"), (("a",), "('a',)"), ("", "")])
def test_names_become_text(loop, turn, name, expected):
    task = loop.create_task(gives(), name=name)
    assert task.get_name() == expected
    task.set_name("other")
    assert task.get_name() == "other"
    assert task.set_name(name) is None
    assert task.get_name() == expected
    assert type(task.get_name()) is str
    turn()
    task.set_name(None)
    assert task.get_name() == "None"


def test_name_that_fails_to_become_text(loop, turn):
    class Broken:
        def __str__(self):
            raise LookupError("no text")

    task = loop.create_task(gives(), name="kept")
    with pytest.raises(LookupError):
        task.set_name(Broken())
    assert task.get_name() == "kept"
    turn()


def test_subclass_of_str_as_name(loop, turn):
    class Text(str):
        pass

    task = loop.create_task(gives(), name=Text("x"))
    assert task.get_name() == "x"
    assert isinstance(task.get_name(), str)
    turn()


@pytest.mark.parametrize("bad", [None, 1, gives, object(), iter(()), (i for i in ())], ids=type)
def test_only_coroutines(loop, task_type, bad):
    text = "^" + re.escape(f"a coroutine was expected, got {bad!r}") + "$"
    if isinstance(bad, types.GeneratorType) and not V312:
        pytest.skip("generators were coroutines before 3.12")
    with pytest.raises(TypeError, match=text):
        loop.create_task(bad)
    with pytest.raises(TypeError, match=text):
        task_type(bad, loop=loop)


def test_awaitables_and_futures_are_not_coroutines(loop):
    class Awaitable:
        def __await__(self):
            yield

    for bad in (Awaitable(), loop.create_future()):
        with pytest.raises(TypeError, match="^a coroutine was expected, got "):
            loop.create_task(bad)


def test_constructor_arguments(loop, task_type, turn):
    coro = gives()
    with pytest.raises(TypeError):
        task_type()
    with pytest.raises(TypeError):
        task_type(coro, loop)
    with pytest.raises(TypeError):
        task_type(coro, loop=loop, colour="red")
    with pytest.raises(AttributeError):
        task_type(coro, loop=object())
    task = task_type(coro=coro, loop=loop, name="direct", context=contextvars.Context())
    assert type(task) is task_type
    assert task.get_name() == "direct"
    turn()
    assert task.done()


def test_constructor_uses_the_running_loop(loop, run, task_type):
    async def main():
        task = task_type(gives(3))
        assert task.get_loop() is loop
        assert await task == 3

    run(main())


def test_outcome_cannot_be_set_from_outside(loop, turn):
    task = loop.create_task(gives(1))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="^Task does not support set_result operation$"):
            task.set_result(2)
        with pytest.raises(RuntimeError, match="^Task does not support set_exception operation$"):
            task.set_exception(ValueError())
        turn()
    assert task.result() == 1


@pytest.mark.parametrize("name", ["_fut_waiter", "_must_cancel", "_state", "_result", "_exception", "_loop"])
def test_read_only_attributes(loop, turn, name):
    task = loop.create_task(gives())
    before = getattr(task, name)
    with pytest.raises(AttributeError):
        setattr(task, name, None)
    assert getattr(task, name) is before
    turn()


def test_coroutine_after_the_end(loop, turn):
    coro = gives()
    task = loop.create_task(coro)
    turn()
    assert task.get_coro() is coro
    assert task._fut_waiter is None
    assert coro.cr_frame is None


def test_waiter_is_visible(loop, turn):
    fut = loop.create_future()

    async def waits():
        return await fut

    async def joins():
        return await inner

    inner = loop.create_task(waits())
    outer = loop.create_task(joins())
    turn(2)
    assert inner._fut_waiter is fut
    assert outer._fut_waiter is inner
    fut.set_result(9)
    # The waiter stays until the task steps, which tells a cancelled task that it is about to go on.
    assert inner._fut_waiter is fut
    turn()
    assert inner._fut_waiter is None
    turn()
    assert outer.result() == 9


def test_generic_alias_weak_references_and_attributes(loop, task_type, turn):
    alias = task_type[int]
    assert isinstance(alias, types.GenericAlias)
    assert alias.__origin__ is task_type
    task = loop.create_task(gives())
    task.note = "kept"
    assert task.note == "kept"
    assert len({task, task}) == 1
    ref = weakref.ref(task)
    turn()
    assert ref() is task
    del task
    gc.collect()
    assert ref() is None


@pytest.mark.parametrize("clone", [copy.copy, pickle.dumps])
def test_tasks_cannot_be_copied(loop, turn, clone):
    task = loop.create_task(gives())
    with pytest.raises(TypeError):
        clone(task)
    turn()


@pytest.mark.skipif(V314, reason="arguments are passed on since 3.13.3")
@pytest.mark.skipif(sys.version_info[:2] == (3, 13) and sys.version_info[2] >= 3, reason="passed on")
def test_create_task_takes_name_and_context_only(loop):
    coro = gives()
    with pytest.raises(TypeError):
        loop.create_task(coro, eager_start=False)
    with pytest.raises(TypeError):
        loop.create_task(coro, "name")
    coro.close()


@pytest.mark.skipif(not V314, reason="arguments are passed on since 3.14")
def test_create_task_passes_eager_start_on(loop, run):
    async def main():
        seen = []

        async def appends():
            seen.append(1)

        task = loop.create_task(appends(), eager_start=True)
        assert seen == [1]
        assert task.done()
        task = loop.create_task(appends(), eager_start=False)
        assert seen == [1]
        await task

    run(main())


def test_coroutine_written_by_hand(loop, make_task):
    class ByHand(collections.abc.Coroutine):
        def __init__(self, fut):
            self.fut = fut
            self.seen = []

        def send(self, value):
            self.seen.append(("send", value))
            if len(self.seen) == 1:
                self.fut._asyncio_future_blocking = True
                return self.fut
            if len(self.seen) == 2:
                return None
            raise StopIteration("by hand")

        def throw(self, *args):
            self.seen.append(("throw", *args))
            raise StopIteration("thrown")

        def close(self):
            pass

        def __await__(self):
            return self

    fut = loop.create_future()
    coro = ByHand(fut)
    loop.call_later(0.001, fut.set_result, "ignored")
    task = make_task(loop, coro)
    assert loop.run_until_complete(task) == "by hand"
    assert coro.seen == [("send", None)] * 3
    fut = loop.create_future()
    coro = ByHand(fut)
    task = make_task(loop, coro)
    error = ValueError("x")
    loop.call_later(0.001, fut.set_exception, error)
    assert loop.run_until_complete(task) == "thrown"
    assert coro.seen == [("send", None), ("throw", error)]


def test_dead_task_whose_finalizer_is_the_users_is_listed_no_more(loop, task_type):
    class Quiet(task_type):
        def __del__(self):
            pass

    coro = gives()
    task = Quiet(coro, loop=loop)
    task._log_destroy_pending = False
    assert asyncio.all_tasks(loop) == {task}
    gone = weakref.ref(task)
    loop.close()  # what is scheduled lets go
    del task
    gc.collect()
    assert gone() is None
    # What takes its memory is not taken for it.
    kept = [bytearray(n) for n in range(200, 1200)]
    assert asyncio.all_tasks(loop) == set()
    coro.close()
    kept.clear()


def test_outcome_set_by_the_future_type(loop, turn, future_type, errors):
    """A task is a future of the same kind to the methods of the future type that it overrides."""
    coro = gives("own")
    task = loop.create_task(coro)
    with pytest.raises(RuntimeError):
        task.set_result("other")
    future_type.set_result(task, "other")
    assert task.result() == "other"
    turn()
    assert [type(error["exception"]) for error in errors] == [asyncio.InvalidStateError]
    coro.close()
    for foreign in (object(), 1, asyncio.futures._PyFuture(loop=loop)):
        with pytest.raises(TypeError):
            future_type.set_result(foreign, None)
        with pytest.raises(TypeError):
            future_type.set_exception(foreign, ValueError())


def test_outcome_of_a_stdlib_future_set_by_the_future_type(loop, kind, future_type):
    foreign = asyncio.Future(loop=loop)
    if kind == "asyncio":
        future_type.set_result(foreign, 1)
        assert foreign.result() == 1
        return
    with pytest.raises(TypeError):
        future_type.set_result(foreign, 1)
    with pytest.raises(TypeError):
        future_type.set_exception(foreign, ValueError())
    assert not foreign.done()
