"""Where failures of callbacks, tasks and futures go: the loop's exception handler and the default one's log.

Covers core/fault.c. Relies on the fixtures of tests/conftest.py. What debug mode adds is in test_debug_mode.py.
"""

import asyncio
import contextvars
import gc
import socket
import sys
import traceback

import pytest
from loop_support import spin

pytestmark = pytest.mark.timeout(30)

VARIABLE = contextvars.ContextVar("VARIABLE", default="default")


def fail(*args):
    raise ValueError("failed", *args)


async def fail_later():
    await asyncio.sleep(0)
    fail()


def records(caplog, level="ERROR"):
    """What the logger "asyncio" got at this level."""
    return [record for record in caplog.records if record.name == "asyncio" and record.levelname == level]


def test_set_and_get(loop):
    def handler(loop, context):
        pass

    assert loop.get_exception_handler() is None
    assert loop.set_exception_handler(handler) is None
    assert loop.get_exception_handler() is handler
    for bad in (3, "text", object()):
        with pytest.raises(TypeError, match="A callable object or None is expected, got "):
            loop.set_exception_handler(bad)
    assert loop.get_exception_handler() is handler
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


def test_handler_gets_the_loop_and_the_context(loop):
    seen = []
    loop.set_exception_handler(lambda *args: seen.append(args))
    context = {"message": "by hand", "own": 1}
    assert loop.call_exception_handler(context) is None
    assert len(seen) == 1
    assert seen[0][0] is loop and seen[0][1] is context


@pytest.mark.parametrize("how", ["soon", "later", "at", "threadsafe", "reader", "writer", "done callback"])
def test_context_of_a_failed_callback(loop, errors, debug, how):
    left, right = socket.socketpair()
    right.send(b"x")
    if how == "soon":
        loop.call_soon(fail, 1)
    elif how == "later":
        loop.call_later(0, fail, 1)
    elif how == "at":
        loop.call_at(0, fail, 1)
    elif how == "threadsafe":
        loop.call_soon_threadsafe(fail, 1)
    elif how == "reader":
        loop.add_reader(left, fail, 1)
    elif how == "writer":
        loop.add_writer(left, fail, 1)
    else:
        future = loop.create_future()
        future.add_done_callback(fail)
        future.set_result(None)
    spin(loop)
    loop.remove_reader(left)
    loop.remove_writer(left)
    left.close()
    right.close()
    assert len(errors) == 1
    context = errors[0]
    keys = {"message", "exception", "handle"} | ({"source_traceback"} if debug else set())
    assert set(context) == keys
    assert type(context["exception"]) is ValueError
    assert traceback.extract_tb(context["exception"].__traceback__)[-1].name == "fail"
    assert context["message"].startswith("Exception in callback fail(")
    assert f" at {__file__}:{fail.__code__.co_firstlineno}" in context["message"]
    assert isinstance(context["handle"], asyncio.Handle)
    assert isinstance(context["handle"], asyncio.TimerHandle) is (how in ("later", "at"))


def test_context_of_a_lost_task_exception(loop, errors, debug):
    task = loop.create_task(fail_later(), name="lost")
    spin(loop, 3)
    assert errors == []
    text = repr(task)
    del task
    gc.collect()
    assert len(errors) == 1
    context = errors[0]
    keys = {"message", "exception", "future"} | ({"source_traceback"} if debug else set())
    assert set(context) == keys
    assert context["message"] == "Task exception was never retrieved"
    assert context["exception"].args == ("failed",)
    assert repr(context["future"]) == text


def test_context_of_a_lost_future_exception(loop, errors, debug):
    future = loop.create_future()
    future.set_exception(ValueError("lost"))
    del future
    gc.collect()
    assert [context["message"] for context in errors] == ["Future exception was never retrieved"]
    assert set(errors[0]) == ({"message", "exception", "future"} | ({"source_traceback"} if debug else set()))


def test_context_of_a_pending_task_that_is_destroyed(loop, errors, debug):
    coroutine = fail_later()
    task = loop.create_task(coroutine)
    loop.close()
    del task
    gc.collect()
    coroutine.close()
    assert [context["message"] for context in errors] == ["Task was destroyed but it is pending!"]
    assert set(errors[0]) == ({"message", "task"} | ({"source_traceback"} if debug else set()))


def test_retrieved_exceptions_are_not_reported(loop, errors):
    futures = [loop.create_future() for _ in range(3)]
    for future in futures:
        future.set_exception(ValueError("retrieved"))
        assert future.exception() is not None
    with pytest.raises(ValueError):
        loop.run_until_complete(fail_later())
    del future, futures
    gc.collect()
    assert errors == []


def test_default_handler_logs_callbacks(loop, caplog, debug):
    loop.call_soon(fail, 1)
    spin(loop)
    (record,) = records(caplog)
    lines = record.getMessage().splitlines()
    assert lines[0].startswith("Exception in callback fail(")
    assert lines[1].startswith("handle: <Handle fail(")
    if debug:
        assert lines[2] == "source_traceback: Object created at (most recent call last):"
        assert "loop.call_soon(fail, 1)" in lines[-1]
    else:
        assert len(lines) == 2
    assert record.exc_info[0] is ValueError and record.exc_info[1].args == ("failed", 1)


def test_default_handler_logs_tasks_and_futures(loop, caplog):
    task = loop.create_task(fail_later())
    spin(loop, 3)
    del task
    future = loop.create_future()
    future.set_exception(ValueError("lost"))
    del future
    gc.collect()
    texts = [record.getMessage().splitlines()[0] for record in records(caplog)]
    assert texts == ["Task exception was never retrieved", "Future exception was never retrieved"]


def test_default_handler_by_hand(loop, caplog):
    loop.default_exception_handler({"zebra": 1, "message": "Said", "apple": "two"})
    loop.default_exception_handler({})
    loop.call_exception_handler({"message": None, "exception": KeyError("key")})
    first, second, third = records(caplog)
    assert first.getMessage() == "Said\napple: 'two'\nzebra: 1"
    assert not first.exc_info
    assert second.getMessage() == "Unhandled exception in event loop"
    assert third.exc_info[0] is KeyError


def test_handler_may_defer_to_the_default(loop, caplog):
    loop.set_exception_handler(lambda loop, context: loop.default_exception_handler(context))
    loop.call_soon(fail)
    spin(loop)
    assert len(records(caplog)) == 1


def test_handler_that_fails(loop, caplog):
    def handler(loop, context):
        raise AttributeError("in the handler")

    loop.set_exception_handler(handler)
    seen = []
    loop.call_soon(fail)
    loop.call_soon(seen.append, "goes on")
    spin(loop)
    assert seen == ["goes on"]
    (record,) = records(caplog)
    assert record.getMessage().startswith("Unhandled error in exception handler\ncontext: {")
    assert record.exc_info[0] is AttributeError


def test_default_handler_that_fails(loop, caplog):
    def broken(context):
        raise AttributeError("in the default handler")

    loop.default_exception_handler = broken
    loop.call_soon(fail)
    spin(loop)
    loop.set_exception_handler(lambda loop, context: 1 / 0)
    loop.call_soon(fail)
    spin(loop)
    texts = [record.getMessage() for record in records(caplog)]
    assert texts == [
        "Exception in default exception handler",
        "Exception in default exception handler while handling an unexpected error in custom exception handler",
    ]


@pytest.mark.parametrize("leave", [SystemExit, KeyboardInterrupt])
def test_exit_from_the_handler(loop, leave):
    def handler(loop, context):
        raise leave("from the handler")

    seen = []
    loop.set_exception_handler(handler)
    loop.call_soon(fail)
    loop.call_soon(seen.append, "next run")
    with pytest.raises(leave, match="from the handler"):
        loop.run_forever()
    assert seen == [] and not loop.is_running()
    spin(loop)
    assert seen == ["next run"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="handlers run in the loop's own context")
def test_handler_runs_in_the_context_of_the_handle(loop):
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append(VARIABLE.get()))
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "of the handle")
    loop.call_soon(fail, context=context)
    loop.call_later(0, fail, context=context)
    loop.call_soon(fail)
    spin(loop)
    assert seen == ["of the handle", "default", "of the handle"]
    del seen[:]

    async def task():
        VARIABLE.set("of the task")
        fail()

    lost = loop.create_task(task())
    spin(loop, 2)
    del lost
    gc.collect()
    assert seen == ["of the task"]


def test_failure_inside_the_loop_keeps_the_callers_exception(loop, errors):
    # An exception being handled around the run must not become part of what callbacks raise.
    try:
        raise KeyError("around")
    except KeyError:
        loop.call_soon(fail)
        spin(loop)
        assert type(sys.exc_info()[1]) is KeyError
    assert type(errors[0]["exception"].__context__) in (KeyError, type(None))


def test_many_failures(loop, errors):
    for number in range(500):
        loop.call_soon(fail, number)
    spin(loop)
    assert [context["exception"].args[1] for context in errors] == list(range(500))


async def agen(log):
    try:
        yield 1
        yield 2
    finally:
        log.append("closed")


def test_asyncgen_hooks_are_set_during_the_run_only(loop):
    before = sys.get_asyncgen_hooks()
    seen = []
    loop.call_soon(lambda: seen.append(sys.get_asyncgen_hooks()))
    spin(loop)
    assert callable(seen[0].firstiter) and callable(seen[0].finalizer)
    assert sys.get_asyncgen_hooks() == before


def test_foreign_asyncgen_hooks_are_restored(loop):
    before = sys.get_asyncgen_hooks()

    def firstiter(generator):
        pass

    def finalizer(generator):
        pass

    sys.set_asyncgen_hooks(firstiter, finalizer)
    try:
        spin(loop)
        assert sys.get_asyncgen_hooks() == (firstiter, finalizer)
        loop.call_soon(sys.exit)
        with pytest.raises(SystemExit):
            loop.run_forever()
        assert sys.get_asyncgen_hooks() == (firstiter, finalizer)
    finally:
        sys.set_asyncgen_hooks(*before)


def test_dropped_asyncgen_is_closed_by_the_loop(loop):
    log = []

    async def main():
        generator = agen(log)
        assert await generator.__anext__() == 1
        del generator
        gc.collect()
        assert log == []
        for _ in range(3):
            await asyncio.sleep(0)
        assert log == ["closed"]

    loop.run_until_complete(main())


def test_shutdown_asyncgens(loop, errors):
    log, kept = [], [agen([]), agen([])]

    async def bad():
        try:
            yield 1
        finally:
            raise LookupError("while closing")

    async def main():
        kept[:] = [agen(log), agen(log), bad()]
        for generator in kept:
            await generator.__anext__()

    loop.run_until_complete(main())
    assert loop.run_until_complete(loop.shutdown_asyncgens()) is None
    assert log == ["closed", "closed"]
    (context,) = errors
    assert context["asyncgen"] is kept[2] and type(context["exception"]) is LookupError
    assert context["message"].startswith("an error occurred during closing of asynchronous generator <async")


def test_asyncgen_after_shutdown_warns(loop):
    async def main():
        generator = agen([])
        with pytest.warns(ResourceWarning, match=r"was scheduled after loop.shutdown_asyncgens\(\) call"):
            await generator.__anext__()
        await generator.aclose()

    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(main())


class Failing(asyncio.Protocol):
    """Fails in the method of that name."""

    def __init__(self, name):
        self.fails = name

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"x")
        if self.fails == "connection_made":
            fail()

    def data_received(self, data):
        if self.fails == "data_received":
            fail()

    def eof_received(self):
        if self.fails == "eof_received":
            fail()

    def connection_lost(self, exc):
        if self.fails == "connection_lost":
            fail()

    def pause_writing(self):
        if self.fails == "pause_writing":
            fail()


def fail_by_reader(loop):
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.send(b"x")

    def read():
        loop.remove_reader(ours)
        ours.close()
        theirs.close()
        fail()

    loop.add_reader(ours, read)


def fail_by_future(loop):
    future = loop.create_future()
    future.add_done_callback(fail)
    future.set_result(None)


def fail_by_protocol(name):
    def schedule(loop):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)

        async def talk():
            transport, _ = await loop.create_connection(lambda: Failing(name), sock=ours)
            theirs.send(b"x")
            if name == "pause_writing":
                transport.write(bytes(8 * 1024 * 1024))
            elif name == "eof_received":
                theirs.shutdown(socket.SHUT_WR)
            else:
                await asyncio.sleep(0.01)
                transport.close()
            await asyncio.sleep(0.01)
            transport.abort()
            theirs.close()

        loop.test_task = loop.create_task(talk())

    return schedule


FAILURES = {
    "call_soon": lambda loop: loop.call_soon(fail),
    "call_later": lambda loop: loop.call_later(0, fail),
    "call_soon_threadsafe": lambda loop: loop.call_soon_threadsafe(fail),
    "done_callback": fail_by_future,
    "add_reader": fail_by_reader,
    **{
        name: fail_by_protocol(name)
        for name in ("connection_made", "data_received", "eof_received", "connection_lost", "pause_writing")
    },
}


@pytest.mark.parametrize("outer", [None, LookupError("outer")])
@pytest.mark.parametrize("name", FAILURES)
def test_handler_runs_in_the_except_clause(loop, name, outer):
    """What logger.exception() and traceback.format_exc() find there; afterwards it is as before."""
    seen, before, after = [], [], []

    def handler(loop, context):
        seen.append((context["exception"], sys.exception()))
        loop.call_soon(lambda: (after.append(sys.exception()), loop.stop()))

    def run():
        loop.set_exception_handler(handler)
        before.append(sys.exception())
        FAILURES[name](loop)
        loop.run_forever()
        assert sys.exception() is outer

    if outer is None:
        run()
    else:
        try:
            raise outer
        except LookupError:
            run()
    assert sys.exception() is None
    [(told, handled), *_] = seen
    assert type(told) is ValueError and handled is told
    assert before[0] is outer and after[0] is outer
    if (task := getattr(loop, "test_task", None)) is not None:
        loop.run_until_complete(task)


def test_what_the_handler_raises_has_the_context(loop, caplog):
    loop.set_exception_handler(lambda loop, context: context["missing"])
    loop.call_soon(fail)
    spin(loop)
    [record] = records(caplog)
    error = record.exc_info[1]
    assert type(error) is KeyError and type(error.__context__) is ValueError


def test_unread_outcome_is_told_outside_of_any(loop):
    """A future's end is no except clause."""
    seen = []
    loop.set_exception_handler(lambda loop, context: seen.append((type(context["exception"]), sys.exception())))
    future = loop.create_future()
    future.set_exception(ValueError("unread"))
    del future
    gc.collect()
    assert seen == [(ValueError, None)]


def test_generator_keeps_no_exception_of_the_code_around_it(loop):
    """A run within a generator that goes on when the except clause around it is over."""
    loop.set_exception_handler(lambda loop, context: None)

    def run():
        loop.call_soon(fail)
        spin(loop)
        yield sys.exception()
        yield sys.exception()

    steps = run()
    outer = LookupError("outer")
    try:
        raise outer
    except LookupError:
        assert next(steps) is outer
    assert next(steps) is None
