"""Futures at rest: states, results, exceptions and attributes.

Covers task/future.c and task/future_methods.c. Nothing here needs a running loop. Construction, callbacks, awaiting
and reports have files of their own.
"""

import asyncio
import sys

import pytest

V313 = sys.version_info >= (3, 13)


def test_new_future_is_pending(loop, future_type, debug):
    fut = loop.create_future()
    assert type(fut) is future_type
    assert isinstance(fut, asyncio.Future)
    assert asyncio.isfuture(fut)
    assert fut.done() is False
    assert fut.cancelled() is False
    assert fut.get_loop() is loop
    assert fut._loop is loop
    assert fut._state == "PENDING"
    assert fut._result is None
    assert fut._exception is None
    assert fut._callbacks is None
    assert fut._cancel_message is None
    assert fut._log_traceback is False
    assert fut._asyncio_future_blocking is False
    assert (fut._source_traceback is not None) is debug


def test_type_is_one_future_type(future_type):
    assert issubclass(future_type, asyncio.Future)
    assert future_type.__name__ == "Future"
    assert not issubclass(future_type, asyncio.Task)
    assert future_type._asyncio_future_blocking is not None


def test_pending_future_has_no_result(loop):
    fut = loop.create_future()
    with pytest.raises(asyncio.InvalidStateError, match="^Result is not set.$"):
        fut.result()
    with pytest.raises(asyncio.InvalidStateError, match="^Exception is not set.$"):
        fut.exception()


@pytest.mark.parametrize("value", [None, 0, "text", (1, 2), ValueError("not raised"), StopIteration(3)])
def test_set_result(loop, value):
    fut = loop.create_future()
    assert fut.set_result(value) is None
    assert fut.done() is True
    assert fut.cancelled() is False
    assert fut.result() is value
    assert fut.result() is value
    assert fut.exception() is None
    assert fut._state == "FINISHED"
    assert fut._result is value


def test_set_exception_instance(loop):
    fut = loop.create_future()
    error = ValueError("why")
    assert fut.set_exception(error) is None
    assert fut.done() is True
    assert fut.cancelled() is False
    assert fut._state == "FINISHED"
    assert fut._log_traceback is True
    assert fut._exception is error
    assert fut.exception() is error
    assert fut._log_traceback is False
    with pytest.raises(ValueError) as caught:
        fut.result()
    assert caught.value is error


def test_set_exception_class_makes_an_instance(loop):
    fut = loop.create_future()
    fut.set_exception(KeyError)
    assert type(fut.exception()) is KeyError
    assert fut.exception().args == ()


@pytest.mark.parametrize("kind_of_error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_base_exceptions_are_stored(loop, kind_of_error):
    fut = loop.create_future()
    fut.set_exception(kind_of_error("x"))
    assert fut.done()
    assert not fut.cancelled()
    assert type(fut.exception()) is kind_of_error
    with pytest.raises(kind_of_error):
        fut.result()


@pytest.mark.parametrize("bad", [None, 1, "text", object(), int])
def test_set_exception_takes_only_exceptions(loop, bad):
    fut = loop.create_future()
    with pytest.raises(TypeError):
        fut.set_exception(bad)
    assert not fut.done()


def test_set_exception_class_that_fails_to_construct(loop):
    class Picky(Exception):
        def __init__(self, needed):
            super().__init__(needed)

    class Broken(Exception):
        def __init__(self):
            raise KeyError("broken")

    class Liar(Exception):
        def __new__(cls):
            return 42

    fut = loop.create_future()
    with pytest.raises(TypeError):
        fut.set_exception(Picky)
    with pytest.raises(KeyError, match="broken"):
        fut.set_exception(Broken)
    with pytest.raises(TypeError):
        fut.set_exception(Liar)
    assert not fut.done()


@pytest.mark.parametrize("error", [StopIteration, StopIteration(3)], ids=["class", "instance"])
def test_stop_iteration_cannot_be_an_exception(loop, error):
    # Later patch releases of one minor version may differ: CPython's own future decides which rule holds.
    text = "StopIteration interacts badly with generators and cannot be raised into a Future"
    probe = asyncio.futures._PyFuture(loop=loop)
    fut = loop.create_future()
    try:
        probe.set_exception(error)
    except TypeError:
        assert not V313
        with pytest.raises(TypeError, match=text):
            fut.set_exception(error)
        assert not fut.done()
        return
    probe.exception()
    fut.set_exception(error)
    made = fut.exception()
    assert type(made) is RuntimeError
    assert str(made) == text
    assert type(made.__cause__) is StopIteration
    assert type(made.__context__) is StopIteration
    if isinstance(error, StopIteration):
        assert made.__cause__ is error


def test_cancel(loop):
    fut = loop.create_future()
    assert fut.cancel() is True
    assert fut.done() is True
    assert fut.cancelled() is True
    assert fut._state == "CANCELLED"
    assert fut.cancel() is False
    for read in (fut.result, fut.exception):
        with pytest.raises(asyncio.CancelledError) as caught:
            read()
        assert caught.value.args == ()


@pytest.mark.parametrize("msg", ["reason", "", 7, ("a", "b")])
def test_cancel_message_is_the_argument_of_the_error(loop, msg):
    fut = loop.create_future()
    assert fut.cancel(msg=msg) is True
    assert fut._cancel_message is msg
    for read in (fut.result, fut.exception):
        with pytest.raises(asyncio.CancelledError) as caught:
            read()
        assert caught.value.args == (msg,)


def test_cancel_takes_the_message_by_position_too(loop):
    fut = loop.create_future()
    fut.cancel("positional")
    assert fut._make_cancelled_error().args == ("positional",)


def test_make_cancelled_error(loop):
    fut = loop.create_future()
    error = fut._make_cancelled_error()
    assert type(error) is asyncio.CancelledError
    assert error.args == ()
    assert fut._make_cancelled_error() is not error
    assert not fut.done()


def test_cancel_message_can_be_set(loop):
    fut = loop.create_future()
    fut._cancel_message = "other"
    assert fut._make_cancelled_error().args == ("other",)


@pytest.mark.parametrize("finish", ["result", "exception", "cancel"])
def test_finished_futures_refuse_to_finish_again(loop, finish):
    fut = loop.create_future()
    error = ValueError("first")
    {
        "result": lambda: fut.set_result(1),
        "exception": lambda: fut.set_exception(error),
        "cancel": fut.cancel,
    }[finish]()
    before = fut._state, fut._result, fut._exception
    with pytest.raises(asyncio.InvalidStateError):
        fut.set_result(2)
    with pytest.raises(asyncio.InvalidStateError):
        fut.set_exception(RuntimeError("second"))
    assert fut.cancel("late") is False
    assert (fut._state, fut._result, fut._exception) == before
    assert fut._cancel_message is None
    fut._log_traceback = False


@pytest.mark.parametrize("name", ["_state", "_result", "_exception", "_loop", "_callbacks", "_source_traceback"])
def test_read_only_attributes(loop, name):
    fut = loop.create_future()
    before = getattr(fut, name)
    with pytest.raises(AttributeError):
        setattr(fut, name, 1)
    with pytest.raises(AttributeError):
        delattr(fut, name)
    assert getattr(fut, name) is before or getattr(fut, name) == before


@pytest.mark.parametrize("name", ["_log_traceback", "_asyncio_future_blocking"])
def test_flags_cannot_be_deleted(loop, name):
    fut = loop.create_future()
    with pytest.raises(AttributeError):
        delattr(fut, name)
    assert getattr(fut, name) is False


def test_log_traceback_can_only_be_switched_off(loop):
    fut = loop.create_future()
    with pytest.raises(ValueError, match="^_log_traceback can only be set to False$"):
        fut._log_traceback = True
    fut.set_exception(ValueError())
    assert fut._log_traceback is True
    fut._log_traceback = False
    assert fut._log_traceback is False
    with pytest.raises(ValueError):
        fut._log_traceback = 1


def test_blocking_flag_is_a_bool(loop):
    fut = loop.create_future()
    fut._asyncio_future_blocking = 2
    assert fut._asyncio_future_blocking is True
    fut._asyncio_future_blocking = []
    assert fut._asyncio_future_blocking is False


@pytest.mark.parametrize(
    "call",
    [
        lambda fut: fut.set_result(),
        lambda fut: fut.set_result(1, 2),
        lambda fut: fut.set_exception(),
        lambda fut: fut.cancel("a", "b"),
        lambda fut: fut.cancel(message="a"),
        lambda fut: fut.result(1),
        lambda fut: fut.exception(1),
        lambda fut: fut.done(1),
        lambda fut: fut.get_loop(1),
        lambda fut: fut.add_done_callback(),
        lambda fut: fut.add_done_callback(print, None),
        lambda fut: fut.add_done_callback(print, loop=None),
        lambda fut: fut.remove_done_callback(),
    ],
)
def test_argument_errors_change_nothing(loop, call):
    fut = loop.create_future()
    with pytest.raises(TypeError):
        call(fut)
    assert fut._state == "PENDING"
    assert fut._callbacks is None
