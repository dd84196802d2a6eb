"""What futures tell people: repr, creation tracebacks in debug mode, exception tracebacks, unread exceptions.

Covers task/future.c and task/future_type.c. The texts are CPython's word for word; only addresses and places
differ.
"""

import asyncio
import gc
import re

import pytest
from task_support import functions_of


def plain(fut):
    """The repr without addresses and without the place of creation that debug mode adds."""
    text = re.sub(r" created at [^ >]+:\d+", "", repr(fut))
    return re.sub(r"0x[0-9a-f]+", "0x..", text)


def place(fn):
    code = fn.__code__
    return f"{code.co_filename}:{code.co_firstlineno}"


def first(fut):
    pass


def second(fut):
    pass


def third(fut):
    pass


def test_repr_of_each_state(loop):
    fut = loop.create_future()
    assert plain(fut) == "<Future pending>"
    assert str(fut) == repr(fut)
    fut.set_result([1, "two"])
    assert plain(fut) == "<Future finished result=[1, 'two']>"
    fut = loop.create_future()
    fut.set_exception(ValueError("x"))
    assert plain(fut) == "<Future finished exception=ValueError('x')>"
    assert fut._log_traceback is True
    fut.exception()
    fut = loop.create_future()
    fut.cancel("msg")
    assert plain(fut) == "<Future cancelled>"


def test_repr_of_debug_names_the_place(loop, debug, future_type):
    fut = future_type(loop=loop)
    found = re.search(r" created at (.+):\d+>$", repr(fut))
    assert bool(found) is debug
    if debug:
        assert found[1] == __file__
        fut.set_result(1)
        assert re.match(r"<Future finished result=1 created at .+:\d+>$", repr(fut))


def test_repr_shortens_long_results(loop):
    fut = loop.create_future()
    fut.set_result("x" * 1000)
    assert re.match(r"<Future finished result='x+\.\.\.x+'>$", plain(fut))
    assert len(plain(fut)) < 100


def test_repr_of_a_future_that_holds_itself(loop):
    fut = loop.create_future()
    fut.set_result(fut)
    assert plain(fut) == "<Future finished result=...>"
    box = []
    other = loop.create_future()
    other.set_result(box)
    box.append(other)
    assert plain(other) == "<Future finished result=[...]>"


def test_repr_with_callbacks(loop):
    fut = loop.create_future()
    fut.add_done_callback(first)
    assert plain(fut) == f"<Future pending cb=[first() at {place(first)}]>"
    fut.add_done_callback(second)
    assert plain(fut) == f"<Future pending cb=[first() at {place(first)}, second() at {place(second)}]>"
    for more in (1, 2):
        fut.add_done_callback(third)
        ends = f"first() at {place(first)}, <{more} more>, third() at {place(third)}"
        assert plain(fut) == f"<Future pending cb=[{ends}]>"
    fut.cancel()
    assert plain(fut) == "<Future cancelled>"


def test_repr_with_a_waiting_task(loop, turn):
    fut = loop.create_future()

    async def waits():
        await fut

    task = loop.create_task(waits(), name="waiter")
    turn()
    # C tasks wake up through an anonymous wrapper, so only the frame of the text is the same everywhere.
    assert re.match(r"<Future pending cb=\[.*[Tt]ask.*wakeup.*\]>$", plain(fut), re.S)
    assert len(fut._callbacks) == 1
    fut.set_result(None)
    turn()
    assert task.done()


def test_repr_survives_a_broken_result(loop):
    class Broken:
        def __repr__(self):
            raise LookupError("no repr")

    fut = loop.create_future()
    fut.set_result(Broken())
    assert re.match(r"<Future finished result=<Broken instance at 0x\.\.>>$", plain(fut))


def test_source_traceback_ends_at_the_caller(loop, debug, future_type):
    def makes():
        return loop.create_future(), future_type(loop=loop)

    for fut in makes():
        if not debug:
            assert fut._source_traceback is None
            continue
        assert isinstance(fut._source_traceback, list)
        last = [frame for frame in fut._source_traceback if frame.filename == __file__][-1]
        assert last.name == "makes"
        assert last.line.startswith("return loop.create_future()")
    if debug:
        assert future_type(loop=loop)._source_traceback[-1].filename == __file__


def test_unread_exception_is_reported(loop, errors, debug):
    fut = loop.create_future()
    error = ValueError("unread")
    fut.set_exception(error)
    text = repr(fut)
    del fut
    gc.collect()
    [context] = errors
    assert context["message"] == "Future exception was never retrieved"
    assert context["exception"] is error
    assert set(context) == {"message", "exception", "future"} | ({"source_traceback"} if debug else set())
    assert repr(context["future"]) == text
    assert asyncio.isfuture(context["future"])
    if debug:
        assert isinstance(context["source_traceback"], list)


def test_unread_exception_names_the_type_of_the_future(loop, errors, future_type):
    class Special(future_type):
        pass

    fut = Special(loop=loop)
    fut.set_exception(ValueError("unread"))
    del fut
    gc.collect()
    assert [context["message"] for context in errors] == ["Special exception was never retrieved"]


def test_unread_exception_is_reported_once_even_if_kept(loop, errors):
    fut = loop.create_future()
    fut.set_exception(ValueError("unread"))
    del fut
    gc.collect()
    assert len(errors) == 1
    kept = errors[0]["future"]
    assert kept._log_traceback is False
    errors.clear()
    del kept
    gc.collect()
    assert errors == []


@pytest.mark.parametrize("read", ["exception", "result", "await", "flag"])
def test_read_exceptions_are_not_reported(loop, errors, read):
    fut = loop.create_future()
    fut.set_exception(ValueError("read"))
    if read == "flag":
        fut._log_traceback = False
    elif read == "exception":
        fut.exception()
    else:
        with pytest.raises(ValueError):
            fut.result() if read == "result" else next(iter(fut))
    del fut
    gc.collect()
    assert errors == []


def test_looking_at_the_attribute_is_not_reading(loop, errors):
    fut = loop.create_future()
    fut.set_exception(ValueError("unread"))
    fut._exception
    repr(fut)
    fut.done()
    del fut
    gc.collect()
    assert len(errors) == 1


@pytest.mark.parametrize("state", ["pending", "result", "cancelled"])
def test_other_states_die_in_silence(loop, errors, state):
    fut = loop.create_future()
    if state == "result":
        fut.set_result(1)
    elif state == "cancelled":
        fut.cancel()
    del fut
    gc.collect()
    assert errors == []


def test_unread_exception_in_a_cycle(loop, errors):
    fut = loop.create_future()
    fut.me = fut
    fut.set_exception(ValueError("cycle"))
    del fut
    gc.collect()
    assert [str(context["exception"]) for context in errors] == ["cycle"]
    errors.clear()
    gc.collect()


def test_error_in_the_report_does_not_escape(loop, future_type):
    def broken(loop, context):
        raise LookupError("handler")

    loop.set_exception_handler(broken)
    fut = loop.create_future()
    fut.set_exception(ValueError("unread"))
    del fut
    gc.collect()


def test_pending_error_survives_the_report(loop, errors):
    def fails():
        fut = loop.create_future()
        fut.set_exception(ValueError("unread"))
        raise KeyError("the real one")

    with pytest.raises(KeyError, match="the real one") as caught:
        fails()
    # The frame of `fails` keeps the future alive until its traceback goes.
    assert errors == []
    caught.value.__traceback__ = None
    del caught
    gc.collect()
    assert len(errors) == 1


def test_traceback_of_a_raised_exception_is_kept(loop):
    def origin():
        raise ValueError("origin")

    def reads(fut):
        return fut.result()

    fut = loop.create_future()
    try:
        origin()
    except ValueError as error:
        fut.set_exception(error)
    with pytest.raises(ValueError) as caught:
        reads(fut)
    names = functions_of(caught.value)
    assert names[-1] == "origin"
    assert "reads" in names
    assert names.count("origin") == 1


def test_traceback_does_not_grow_with_each_reading(loop):
    fut = loop.create_future()
    try:
        raise ValueError("origin")
    except ValueError as error:
        fut.set_exception(error)
    lengths = []
    for _ in range(6):
        with pytest.raises(ValueError) as caught:
            fut.result()
        lengths.append(len(functions_of(caught.value)))
    assert lengths[0] == 2
    assert max(lengths) == 2
    assert lengths[1:] == lengths[1:2] * 5


def test_traceback_does_not_grow_with_each_await(loop, run):
    async def waits(fut):
        with pytest.raises(ValueError) as caught:
            await fut
        return len(functions_of(caught.value))

    async def main():
        fut = loop.create_future()
        fut.set_exception(ValueError("shared"))
        assert {await waits(fut) for _ in range(5)} == {1}

    run(main())


def test_one_exception_object_for_all_readers(loop, run):
    async def waits(fut):
        try:
            await fut
        except ValueError as error:
            return error

    async def main():
        fut = loop.create_future()
        tasks = [loop.create_task(waits(fut)) for _ in range(3)]
        await asyncio.sleep(0)
        error = ValueError("shared")
        fut.set_exception(error)
        assert all([await task is error for task in tasks])
        assert fut.exception() is error

    run(main())


def test_cancelled_error_keeps_no_reference_to_the_future(loop):
    fut = loop.create_future()
    fut.cancel()
    with pytest.raises(asyncio.CancelledError) as one:
        fut.result()
    with pytest.raises(asyncio.CancelledError) as two:
        fut.result()
    assert one.value is not two.value
    assert len(functions_of(two.value)) == 1
