"""How futures are made, and what they are as Python objects: constructors, foreign loops, subclasses, copies.

Covers task/future_type.c. Relies on the fixtures `future_type` and `loop`; the subclasses are awaited by tasks of
the loop under test.
"""

import asyncio
import concurrent.futures
import copy
import gc
import pickle
import sys
import threading
import types
import weakref

import pytest


class DuckLoop:
    """As much of a loop as a future touches."""

    def __init__(self, debug=False):
        self.debug = debug
        self.calls = []
        self.reports = []

    def get_debug(self):
        return self.debug

    def call_soon(self, fn, *args, context=None):
        self.calls.append((fn, args, context))

    def call_exception_handler(self, context):
        self.reports.append(context)


def test_constructor_takes_only_a_loop_keyword(loop, future_type):
    assert future_type(loop=loop).get_loop() is loop
    with pytest.raises(TypeError):
        future_type(loop)
    with pytest.raises(TypeError):
        future_type(loop=loop, value=1)
    with pytest.raises(AttributeError):
        future_type(loop=object())


def test_constructor_uses_the_running_loop(loop, run, future_type):
    async def main():
        assert future_type().get_loop() is loop
        assert future_type(loop=None).get_loop() is loop

    run(main())


def test_constructor_needs_a_loop(future_type):
    seen = []

    def in_thread():
        try:
            future_type()
        except RuntimeError as error:
            seen.append(str(error))

    thread = threading.Thread(target=in_thread)
    thread.start()
    thread.join()
    assert len(seen) == 1
    assert "no current event loop" in seen[0]


def test_future_on_a_foreign_loop(future_type):
    home = DuckLoop()
    fut = future_type(loop=home)
    assert fut.get_loop() is home
    assert fut._source_traceback is None
    fut.add_done_callback(len)
    fut.add_done_callback(repr)
    assert home.calls == []
    fut.set_result(1)
    assert [(fn, args) for fn, args, context in home.calls] == [(len, (fut,)), (repr, (fut,))]
    assert all(context is not None for fn, args, context in home.calls)


def test_future_on_a_foreign_loop_in_debug(future_type):
    fut = future_type(loop=DuckLoop(debug=True))
    assert fut._source_traceback[-1].name == "test_future_on_a_foreign_loop_in_debug"


def test_unread_exception_is_reported_to_a_foreign_loop(future_type):
    home = DuckLoop()
    fut = future_type(loop=home)
    fut.set_exception(ValueError("lost"))
    del fut
    gc.collect()
    assert [str(report["exception"]) for report in home.reports] == ["lost"]


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="an error since 3.15")
def test_init_again_makes_it_pending(loop, new_loop):
    other = new_loop()
    fut = loop.create_future()
    fut.add_done_callback(print)
    fut.set_result(1)
    fut.__init__(loop=other)
    assert not fut.done()
    assert fut._result is None
    assert fut._callbacks is None
    assert fut.get_loop() is other
    fut.add_done_callback(print)
    fut.__init__(loop=loop)
    assert fut._callbacks is None


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="an error since 3.15")
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_init_again_leaves_what_is_due_in_its_place(loop, turn, count, inside):
    seen = []
    fut = loop.create_future()

    def begin_anew(told):
        assert told is fut
        fut.__init__(loop=loop)
        fut.add_done_callback(lambda told: seen.append("anew"))

    if inside:
        fut.add_done_callback(begin_anew)
    for i in range(count):
        fut.add_done_callback(lambda told, i=i: seen.append((i, told is fut)))
    fut.set_result(None)
    loop.call_soon(seen.append, "after")
    if not inside:
        begin_anew(fut)
    turn()
    assert seen == [*((i, True) for i in range(count)), "after"]
    assert len(fut._callbacks) == 1
    fut.set_result(None)
    turn()
    assert seen[count + 1 :] == ["anew"]


@pytest.mark.skipif(sys.version_info < (3, 15), reason="re-initialisation was allowed before 3.15")
def test_init_again_is_an_error(loop):
    fut = loop.create_future()
    with pytest.raises(RuntimeError, match="already initialized"):
        fut.__init__(loop=loop)


def test_not_initialised_future_is_harmless(future_type):
    text = "(^Future object is not initialized.$)|(^uninitialized Future object$)"
    fut = future_type.__new__(future_type)
    assert fut.done() is False
    assert fut.cancelled() is False
    assert fut._asyncio_future_blocking is False
    assert fut._source_traceback is None
    for read in (fut.result, fut.exception):
        with pytest.raises(asyncio.InvalidStateError, match=text):
            read()
    for call in (
        fut.get_loop,
        fut.cancel,
        fut.__await__,
        lambda: fut.set_result(1),
        lambda: fut.set_exception(ValueError()),
        lambda: fut.add_done_callback(print),
        lambda: fut.remove_done_callback(print),
        lambda: repr(fut),
    ):
        with pytest.raises(RuntimeError, match=text):
            call()
    for name in ("_state", "_callbacks", "_result", "_exception", "_log_traceback"):
        with pytest.raises(RuntimeError, match=text):
            getattr(fut, name)
    fut = None
    gc.collect()


def test_generic_alias_weak_references_and_attributes(loop, future_type):
    alias = future_type[int]
    assert isinstance(alias, types.GenericAlias)
    assert alias.__origin__ is future_type
    assert alias.__args__ == (int,)
    fut = loop.create_future()
    fut.note = "kept"
    assert fut.note == "kept"
    assert hash(fut) == object.__hash__(fut)
    assert fut == fut
    assert fut != loop.create_future()
    ref = weakref.ref(fut)
    assert ref() is fut
    del fut
    gc.collect()
    assert ref() is None


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, pickle.dumps])
def test_futures_cannot_be_copied(loop, clone):
    with pytest.raises(TypeError):
        clone(loop.create_future())


def test_concurrent_futures_are_another_thing(loop):
    assert not isinstance(loop.create_future(), concurrent.futures.Future)
    assert not asyncio.isfuture(concurrent.futures.Future())


def test_subclass_is_a_future_of_its_own(loop, run, future_type):
    class Named(future_type):
        def __init__(self, name, **kwargs):
            super().__init__(**kwargs)
            self.name = name

        def result(self):
            return self.name, super().result()

    async def main():
        fut = Named("n", loop=loop)
        assert isinstance(fut, asyncio.Future)
        assert repr(fut).startswith("<Named pending")
        loop.call_soon(fut.set_result, 1)
        await fut
        assert fut.result() == ("n", 1)
        assert repr(fut).startswith("<Named finished result=1")

    run(main())


def test_overridden_methods_of_a_subclass_are_called(loop, run, future_type, make_task):
    calls = []

    class Watched(future_type):
        def add_done_callback(self, fn, *, context=None):
            calls.append("add")
            super().add_done_callback(fn, context=context)

        def result(self):
            calls.append("result")
            return super().result()

        def cancel(self, msg=None):
            calls.append(("cancel", msg))
            return super().cancel(msg)

    async def waits(fut):
        return await fut

    async def main():
        fut = Watched(loop=loop)
        task = make_task(loop, waits(fut))
        await asyncio.sleep(0)
        assert calls == ["add"]
        fut.set_result(5)
        assert await task == 5
        assert calls == ["add", "result"]
        calls.clear()
        fut = Watched(loop=loop)
        task = make_task(loop, waits(fut))
        await asyncio.sleep(0)
        assert task.cancel("stop") is True
        assert calls == ["add", ("cancel", "stop")]
        with pytest.raises(asyncio.CancelledError):
            await task
        assert fut.cancelled()

    run(main())


def test_error_of_an_overridden_result_is_thrown_into_the_waiter(loop, run, future_type, make_task):
    class Strict(future_type):
        def result(self):
            raise LookupError("refused")

    async def waits(fut):
        with pytest.raises(LookupError, match="refused"):
            await fut
        return "told"

    async def main():
        fut = Strict(loop=loop)
        task = make_task(loop, waits(fut))
        await asyncio.sleep(0)
        fut.set_result(1)
        assert await task == "told"

    run(main())


def test_subclass_that_refuses_to_be_cancelled(loop, run, future_type, make_task):
    class Stubborn(future_type):
        def cancel(self, msg=None):
            return False

    async def waits(fut):
        await fut

    async def main():
        fut = Stubborn(loop=loop)
        task = make_task(loop, waits(fut))
        await asyncio.sleep(0)
        assert task.cancel() is True
        assert not fut.done()
        fut.set_result("too late")
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_subclass_with_slots_and_finaliser(loop, future_type):
    ended = []

    class Slotted(future_type):
        __slots__ = ("extra",)

        def __del__(self):
            ended.append(self.extra)

    fut = Slotted(loop=loop)
    fut.extra = "bye"
    fut.set_result(None)
    del fut
    gc.collect()
    assert ended == ["bye"]


def test_subclass_that_forgets_super_init(loop, future_type):
    class Forgetful(future_type):
        def __init__(self):
            pass

    fut = Forgetful()
    with pytest.raises(RuntimeError, match="not initialized"):
        fut.set_result(1)
    with pytest.raises(RuntimeError, match="not initialized"):
        fut.get_loop()
