"""What tasks tell people: repr, stacks, tracebacks, tasks that die pending or with an unread exception.

Covers task/task_type.c. The texts are CPython's word for word. Also here: that tasks die at all, cycles included.
"""

import asyncio
import gc
import io
import re
import weakref

import pytest
from task_support import functions_of


async def waits(fut):
    return await fut


async def relays(fut):
    return await waits(fut)


async def gives(value=None):
    return value


async def fails(error):
    raise error


def plain(task):
    """The repr without the place of creation that debug mode adds, lines as a word."""
    text = re.sub(r",? created at [^ >]+:\d+", "", repr(task))
    text = re.sub(r"(\S+):\d+", r"\1:N", text)
    return text.replace(__file__, "HERE")


def test_repr_of_each_state(loop, turn, task_type):
    fut = loop.create_future()
    task = loop.create_task(waits(fut), name="t")
    assert plain(task) == "<Task pending name='t' coro=<waits() running at HERE:N>>"
    turn()
    waiting = "<Task {} name='t' coro=<waits() running at HERE:N> wait_for=<Future {} cb=["
    assert plain(task).startswith(waiting.format("pending", "pending"))
    task.cancel()
    waiting = "<Task cancelling name='t' coro=<waits() running at HERE:N> wait_for=<Future cancelled>>"
    assert plain(task) == waiting
    turn()
    assert plain(task) == "<Task cancelled name='t' coro=<waits() done, defined at HERE:N>>"


def test_repr_before_cancelling_starts(loop, turn):
    task = loop.create_task(gives(), name="t")
    task.cancel()
    assert plain(task) == "<Task cancelling name='t' coro=<gives() running at HERE:N>>"
    turn()
    assert plain(task) == "<Task cancelled name='t' coro=<gives() done, defined at HERE:N>>"


def test_repr_of_finished_tasks(loop, turn):
    good = loop.create_task(gives([1]), name="good")
    bad = loop.create_task(fails(ValueError("x")), name="bad")
    turn()
    assert plain(good) == "<Task finished name='good' coro=<gives() done, defined at HERE:N> result=[1]>"
    assert plain(bad) == (
        "<Task finished name='bad' coro=<fails() done, defined at HERE:N> exception=ValueError('x')>"
    )
    bad.exception()


def test_repr_with_a_callback(loop, turn):
    def called(task):
        pass

    task = loop.create_task(gives(), name="t")
    task.add_done_callback(called)
    name = "test_repr_with_a_callback.<locals>.called()"
    assert plain(task) == f"<Task pending name='t' coro=<gives() running at HERE:N> cb=[{name} at HERE:N]>"
    turn(2)


def test_repr_of_a_subclass(loop, turn, task_type):
    class Special(task_type):
        pass

    task = Special(gives(), loop=loop, name="s")
    assert repr(task).startswith("<Special pending name='s' coro=<gives() running at ")
    turn()


def test_repr_in_debug_names_the_place(loop, turn, task_type, debug):
    task = task_type(gives(), loop=loop)
    assert bool(re.search(f" created at {re.escape(__file__)}:\\d+>$", repr(task))) is debug
    turn()


def test_source_traceback_ends_at_the_caller(loop, turn, debug):
    def makes():
        return loop.create_task(gives())

    task = makes()
    if debug:
        assert isinstance(task._source_traceback, list)
        last = [frame for frame in task._source_traceback if frame.filename == __file__][-1]
        assert last.name == "makes"
        assert last.line == "return loop.create_task(gives())"
    else:
        assert task._source_traceback is None
    turn()


def names(frames):
    return [frame.f_code.co_name for frame in frames]


def test_stack_of_a_suspended_task(loop, turn):
    fut = loop.create_future()
    task = loop.create_task(relays(fut))
    assert names(task.get_stack()) == ["relays"]
    turn()
    # Only the outermost coroutine's frame is known for a suspended task.
    assert names(task.get_stack()) == ["relays"]
    assert names(task.get_stack(limit=1)) == ["relays"]
    fut.set_result(None)
    turn(2)
    assert task.get_stack() == []


def test_stack_of_a_running_task(loop, run):
    async def outer():
        return await inner()

    async def inner():
        return names(asyncio.current_task().get_stack()), names(asyncio.current_task().get_stack(limit=1))

    all_frames, one = loop.run_until_complete(loop.create_task(outer()))
    # A running task's stack goes from its frame to whoever steps it.
    assert "outer" in all_frames
    assert one == all_frames[-1:]


def test_stack_of_a_failed_task(loop, turn):
    async def outer():
        await inner()

    async def inner():
        raise ValueError("deep")

    task = loop.create_task(outer())
    turn()
    assert names(task.get_stack()) == ["outer", "inner"]
    assert names(task.get_stack(limit=1)) == ["outer"]
    task.exception()


def printed(task, **kwargs):
    out = io.StringIO()
    assert task.print_stack(file=out, **kwargs) is None
    return out.getvalue()


def test_print_stack(loop, turn):
    fut = loop.create_future()
    task = loop.create_task(waits(fut), name="t")
    turn()
    text = printed(task)
    assert text.startswith("Stack for <Task pending name='t' ")
    assert f'File "{__file__}"' in text
    assert "return await fut" in text
    assert printed(task, limit=1) == text
    fut.set_result(None)
    turn()
    assert printed(task).startswith("No stack for <Task finished")
    bad = loop.create_task(fails(ValueError("printed")))
    turn()
    text = printed(bad)
    assert text.startswith("Traceback for <Task finished")
    assert text.rstrip().endswith("ValueError: printed")
    bad.exception()


def test_print_stack_without_a_file(loop, turn, capsys):
    task = loop.create_task(gives())
    task.print_stack()
    written = capsys.readouterr()
    # CPython sends the headline to the one and the frames to the other.
    assert written.out.startswith("Stack for <Task pending")
    assert "async def gives" in written.err
    turn()


def test_traceback_has_the_coroutines_and_nothing_else(loop, turn):
    async def outer():
        await middle()

    async def middle():
        await asyncio.sleep(0)
        await inner()

    async def inner():
        raise ValueError("deep")

    task = loop.create_task(outer())
    turn(2)
    assert functions_of(task.exception()) == ["outer", "middle", "inner"]


def test_traceback_through_a_future_and_a_task(loop, turn):
    fut = loop.create_future()
    inner = loop.create_task(waits(fut))

    async def joins():
        await inner

    outer = loop.create_task(joins())
    turn(2)
    fut.set_exception(ValueError("set"))
    turn(2)
    assert inner.exception() is outer.exception()
    assert functions_of(outer.exception()) == ["joins", "waits"]


def test_traceback_out_of_run_until_complete(loop):
    with pytest.raises(ValueError) as caught:
        loop.run_until_complete(relays_failure())
    names = functions_of(caught.value)
    assert names[0] == "test_traceback_out_of_run_until_complete"
    assert names[-2:] == ["relays_failure", "fails"]


async def relays_failure():
    await fails(ValueError("out"))


def test_traceback_of_a_cancellation(loop, turn):
    task = loop.create_task(relays(loop.create_future()))
    turn()
    task.cancel()
    turn()
    with pytest.raises(asyncio.CancelledError) as caught:
        task.result()
    assert functions_of(caught.value)[1:] == ["relays", "waits"]


def test_destroyed_pending_task_is_reported(loop, turn, errors, debug):
    task = loop.create_task(waits(loop.create_future()), name="lost")
    turn()
    # The future is held by the coroutine only, so that nothing outside of the cycle knows the task.
    del task
    gc.collect()
    [context] = errors
    assert context["message"] == "Task was destroyed but it is pending!"
    assert set(context) == {"message", "task"} | ({"source_traceback"} if debug else set())
    assert plain(context["task"]).startswith("<Task pending name='lost' coro=<waits() ")
    errors.clear()
    del context
    gc.collect()


def test_destroyed_pending_task_is_silent_when_told(loop, turn, errors):
    task = loop.create_task(waits(loop.create_future()))
    task._log_destroy_pending = False
    assert task._log_destroy_pending is False
    turn()
    del task
    gc.collect()
    assert errors == []


def test_log_destroy_pending_is_a_bool(loop, turn):
    task = loop.create_task(gives())
    task._log_destroy_pending = 0
    assert task._log_destroy_pending is False
    task._log_destroy_pending = "yes"
    assert task._log_destroy_pending is True
    with pytest.raises(AttributeError):
        del task._log_destroy_pending
    turn()


@pytest.mark.parametrize("read", [True, False])
def test_unread_exception_of_a_task(loop, turn, errors, debug, read):
    error = ValueError("unread")
    task = loop.create_task(fails(error), name="t")
    turn()
    if read:
        assert task.exception() is error
    del task
    gc.collect()
    if read:
        assert errors == []
        return
    [context] = errors
    assert context["message"] == "Task exception was never retrieved"
    assert context["exception"] is error
    assert context["future"].get_name() == "t"
    assert set(context) == {"message", "exception", "future"} | ({"source_traceback"} if debug else set())


def test_finished_task_in_a_cycle_with_its_exception(loop, turn):
    async def catches():
        me = asyncio.current_task()
        try:
            raise ValueError(me)
        except ValueError as error:
            me.note = error
            raise

    task = loop.create_task(catches())
    turn()
    task.exception()
    ref = weakref.ref(task)
    del task
    gc.collect()
    assert ref() is None


def test_finished_chain_is_freed_without_the_collector(loop, turn):
    gc.collect()
    gc.disable()
    try:
        fut = loop.create_future()
        inner = loop.create_task(waits(fut))
        outer = loop.create_task(waits(inner))
        turn(2)
        fut.set_result(1)
        turn(3)
        refs = [weakref.ref(item) for item in (fut, inner, outer)]
        del fut, inner, outer
        assert [ref() for ref in refs] == [None] * 3
    finally:
        gc.enable()
