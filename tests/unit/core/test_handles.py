"""What call_soon, call_later and call_at return: handles, their cancellation, contexts and lifetime.

Covers core/handle.c and face/loop_schedule.c. Relies on the fixtures of tests/conftest.py. Texts and comparisons
are in test_handle_repr.py, the order of calls in test_turn_order.py.
"""

import asyncio
import contextlib
import contextvars
import gc
import sys
import weakref

import pytest
from loop_support import Thing, spin

pytestmark = pytest.mark.timeout(30)

VARIABLE = contextvars.ContextVar("VARIABLE", default="default")

SCHEDULERS = {
    "call_soon": lambda loop, *args, **kw: loop.call_soon(*args, **kw),
    "call_later": lambda loop, *args, **kw: loop.call_later(0, *args, **kw),
    "call_at": lambda loop, *args, **kw: loop.call_at(loop.time(), *args, **kw),
    "call_soon_threadsafe": lambda loop, *args, **kw: loop.call_soon_threadsafe(*args, **kw),
}


@pytest.fixture(params=sorted(SCHEDULERS))
def schedule(request):
    """One of the four ways to have a callback called now."""
    return SCHEDULERS[request.param]


@pytest.mark.parametrize("args", [(), (1,), (1, 2), (1, 2, 3), tuple(range(40)), (None,), ((),)])
def test_arguments_arrive(loop, schedule, args):
    seen = []
    schedule(loop, lambda *got: seen.append(got), *args)
    spin(loop)
    assert seen == [args]


def test_keywords_are_refused(loop, schedule):
    with pytest.raises(TypeError):
        schedule(loop, print, keyword=1)
    with pytest.raises(TypeError):
        schedule(loop, print, context=None, other=1)


def test_missing_arguments_are_refused(loop):
    for method, args in (
        (loop.call_soon, ()),
        (loop.call_soon_threadsafe, ()),
        (loop.call_later, ()),
        (loop.call_later, (1,)),
        (loop.call_at, ()),
        (loop.call_at, (1,)),
    ):
        with pytest.raises(TypeError):
            method(*args)


def test_types(loop):
    soon, safe = loop.call_soon(print), loop.call_soon_threadsafe(print)
    timers = [loop.call_later(delay, print) for delay in (-1, 0, 0.0, 1, 1.5, True)]
    timers.append(loop.call_at(0, print))
    for handle in (soon, safe, *timers):
        assert isinstance(handle, asyncio.Handle)
        handle.cancel()
    assert not isinstance(soon, asyncio.TimerHandle) and not isinstance(safe, asyncio.TimerHandle)
    assert all(isinstance(handle, asyncio.TimerHandle) for handle in timers)


def test_runs_in_a_copy_of_the_context_at_scheduling(loop, schedule):
    seen = []

    def callback():
        seen.append(VARIABLE.get())
        VARIABLE.set("changed inside")

    token = VARIABLE.set("at scheduling")
    schedule(loop, callback)
    VARIABLE.set("later")
    schedule(loop, lambda: seen.append(VARIABLE.get()))
    spin(loop)
    assert seen == ["at scheduling", "later"]
    assert VARIABLE.get() == "later"
    VARIABLE.reset(token)


def test_runs_in_the_given_context(loop, schedule):
    seen = []
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "given")

    def callback():
        seen.append(VARIABLE.get())
        VARIABLE.set("set by callback")

    handle = schedule(loop, callback, context=context)
    assert handle._context is context
    schedule(loop, lambda: seen.append(VARIABLE.get()), context=None)
    spin(loop)
    assert seen == ["given", "default"]
    assert context[VARIABLE] == "set by callback"
    assert VARIABLE.get() == "default"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Handle.get_context does not exist")
def test_get_context(loop, schedule):
    context = contextvars.copy_context()
    assert schedule(loop, print, context=context).get_context() is context
    own = schedule(loop, int).get_context()
    assert isinstance(own, contextvars.Context)
    loop.close()


def test_context_that_is_entered_already(loop, caplog):
    # A callback that would run in the context in which the loop itself runs cannot enter it again.
    context = contextvars.copy_context()
    seen = []
    loop.call_soon(seen.append, "ran", context=context)
    context.run(spin, loop)
    assert seen == []
    assert [record.name for record in caplog.records if record.levelname == "ERROR"] == ["asyncio"]
    assert "is already entered" in caplog.text


def test_cancel_before_the_run(loop, schedule):
    seen = []
    handle = schedule(loop, seen.append, 1)
    assert handle.cancelled() is False
    assert handle.cancel() is None
    assert handle.cancelled() is True
    handle.cancel()
    spin(loop, 2)
    assert seen == [] and handle.cancelled() is True


def test_cancel_after_the_run(loop, schedule):
    seen = []
    handle = schedule(loop, seen.append, 1)
    spin(loop)
    assert seen == [1] and handle.cancelled() is False
    handle.cancel()
    handle.cancel()
    spin(loop)
    assert seen == [1] and handle.cancelled() is True


def test_cancel_from_within(loop, schedule, errors):
    seen = []

    def callback(argument):
        handle.cancel()
        seen.append(argument)

    handle = schedule(loop, callback, "argument")
    spin(loop, 2)
    assert seen == ["argument"] and handle.cancelled() and errors == []


def test_cancel_from_within_of_a_callback_that_fails(loop, schedule, errors):
    def callback(argument):
        handle.cancel()
        raise ValueError(argument)

    handle = schedule(loop, callback, "argument")
    spin(loop, 2)
    assert [context["handle"] for context in errors] == [handle]
    assert errors[0]["message"].startswith("Exception in callback ")
    assert errors[0]["exception"].args == ("argument",)


def test_cancel_of_a_neighbour_in_the_same_turn(loop, schedule):
    seen, handles = [], []

    def callback(name):
        seen.append(name)
        for handle in handles:
            handle.cancel()

    for name in "abc":
        handles.append(schedule(loop, callback, name))
    spin(loop)
    assert len(seen) == 1


@pytest.mark.parametrize("callback", [3, None, "text", object()])
def test_what_cannot_be_called(loop, schedule, errors, debug, callback):
    if debug:
        with pytest.raises(TypeError, match="a callable object was expected by call_"):
            schedule(loop, callback)
        spin(loop)
        assert errors == []
    else:
        schedule(loop, callback)
        spin(loop)
        assert [type(context["exception"]) for context in errors] == [TypeError]


def test_coroutine_functions_in_debug_mode(loop, schedule, debug):
    async def coroutine():
        pass

    if not debug:
        pytest.skip("checked in debug mode only")
    with pytest.raises(TypeError, match="coroutines cannot be used with call_"):
        schedule(loop, coroutine)
    running = coroutine()
    with pytest.raises(TypeError, match="coroutines cannot be used with call_"):
        schedule(loop, running)
    running.close()


def test_the_name_in_the_refusal(loop, debug):
    if not debug:
        pytest.skip("checked in debug mode only")
    for method, args, name in (
        (loop.call_soon, (), "call_soon"),
        (loop.call_later, (1,), "call_at"),
        (loop.call_at, (1,), "call_at"),
        (loop.call_soon_threadsafe, (), "call_soon_threadsafe"),
    ):
        with pytest.raises(TypeError) as info:
            method(*args, 5)
        assert str(info.value) == f"a callable object was expected by {name}(), got 5"


def test_attributes(loop, debug):
    soon, timer = loop.call_soon(max, 1, 2), loop.call_at(99.5, min, 3, 4)
    assert (soon._callback, soon._args, soon._cancelled, soon._loop) == (max, (1, 2), False, loop)
    assert (timer._callback, timer._args, timer._cancelled, timer._loop) == (min, (3, 4), False, loop)
    assert timer._when == 99.5 and timer._scheduled is True
    assert isinstance(soon._context, contextvars.Context)
    for handle in (soon, timer):
        assert bool(handle._source_traceback) is debug
        if debug:
            assert handle._source_traceback[-1].filename == __file__
            assert handle._source_traceback[-1].name == "test_attributes"
        handle.cancel()
        assert handle._callback is None and handle._args is None and handle._cancelled is True


def test_scheduled_ends_with_the_run(loop):
    timer = loop.call_at(0, int)
    assert timer._scheduled is True
    spin(loop)
    assert timer._scheduled is False


def test_run_by_hand(loop, errors):
    seen = []
    context = contextvars.copy_context()
    context.run(VARIABLE.set, "by hand")
    handle = loop.call_soon(lambda arg: seen.append((arg, VARIABLE.get())), 5, context=context)
    handle._run()
    assert seen == [(5, "by hand")]
    bad = loop.call_soon(lambda: 1 / 0)
    bad._run()
    assert [type(context["exception"]) for context in errors] == [ZeroDivisionError]
    assert errors[0]["handle"] is bad
    loop.close()


def test_handles_take_weak_references_and_die(loop, schedule):
    handle = schedule(loop, int)
    alive = weakref.ref(handle)
    assert alive() is handle
    spin(loop)
    del handle
    gc.collect()
    assert alive() is None


def test_arguments_die_with_the_run(loop, schedule):
    thing = Thing()
    alive = weakref.ref(thing)
    schedule(loop, thing.method, thing)
    del thing
    assert alive() is not None
    spin(loop)
    assert alive() is None


@pytest.mark.parametrize("held", [True, False])
def test_arguments_die_with_the_cancellation(loop, schedule, debug, held):
    thing = Thing()
    alive = weakref.ref(thing)
    handle = schedule(loop, thing.method, thing)
    handle.cancel()
    if not held:
        del handle
    del thing
    assert alive() is None
    loop.close()


def test_arguments_die_with_a_failed_run(loop, schedule):
    def fail(thing):
        raise ValueError("failed")

    loop.set_exception_handler(lambda loop, context: None)
    thing = Thing()
    alive = weakref.ref(thing)
    schedule(loop, fail, thing)
    del thing
    spin(loop)
    gc.collect()
    assert alive() is None


def test_init_again_does_no_harm(loop, errors):
    seen = []
    handles = [
        loop.call_soon(seen.append, 1),
        loop.call_later(0, seen.append, 2),
        loop.call_later(1000, seen.append, 3),
    ]
    attempts = [(), (1,), (None,) * 5, (-5.0, print, (), loop), (int, (), loop)]
    while handles:
        handle = handles.pop()
        for args in attempts:
            # asyncio's own handles take some of these and are then of no use; only the loop must not suffer.
            with contextlib.suppress(TypeError, RuntimeError, AttributeError, ValueError):
                handle.__init__(*args)
            with contextlib.suppress(TypeError, AttributeError):
                repr(handle)
        with contextlib.suppress(AttributeError):
            handle.cancel()
    del handle
    gc.collect()
    spin(loop, 2)
    seen.clear()
    loop.call_soon(seen.append, "still well")
    spin(loop, 2)
    assert seen == ["still well"]


def test_leading_arguments_by_keyword(loop):
    seen = []

    def stop():
        seen.append("called")

    context = contextvars.copy_context()
    loop.call_soon(callback=stop)
    loop.call_soon(callback=stop, context=context)
    loop.call_soon_threadsafe(callback=stop)
    loop.call_later(delay=0, callback=stop)
    loop.call_later(0, callback=stop, context=None)
    loop.call_at(when=loop.time(), callback=stop)
    for refused in (
        lambda: loop.call_soon(),
        lambda: loop.call_soon(nothing=stop),
        lambda: loop.call_soon(stop, callback=stop),
        lambda: loop.call_later(callback=stop),
        lambda: loop.call_later(0, 0, delay=0),
    ):
        with pytest.raises(TypeError):
            refused()
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    assert len(seen) == 6


@pytest.mark.parametrize("junk", [5, "text", (1, 2), None])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_base_slots_filled_by_hand(loop, count, junk):
    # Any failure of Python's will do; a crash will not. Nothing is deleted: asyncio's own loop needs what it set.
    loop.set_exception_handler(lambda loop, context: None)
    for name in asyncio.Handle.__slots__:
        if name == "__weakref__":
            continue
        handle = loop.call_soon(Thing().method, *range(count))
        timer = loop.call_later(60, Thing().method, *range(count))
        getattr(asyncio.Handle, name).__set__(handle, junk)
        getattr(asyncio.Handle, name).__set__(timer, junk)
        with contextlib.suppress(Exception):
            repr(handle)
        with contextlib.suppress(Exception):
            timer.cancel()
    gc.collect()
    with contextlib.suppress(Exception):
        spin(loop)
    ran = []
    loop.call_soon(ran.append, 1)
    with contextlib.suppress(Exception):
        spin(loop)
    assert ran == [1]


def test_timers_are_not_larger_than_needed(loop):
    timer = loop.call_later(60, print)
    own = sys.getsizeof(timer) - sys.getsizeof(asyncio.TimerHandle(0.0, print, (), loop))
    assert own <= 48
    timer.cancel()


class Holder:
    """Holds the handle of its own method: a cycle that only the collector can end."""

    def __init__(self, schedule):
        self.handle = schedule(self.method)

    def method(self):
        pass


HOLDERS = {
    "ran": lambda loop: Holder(loop.call_soon),
    "ran from a thread": lambda loop: Holder(loop.call_soon_threadsafe),
    "fired": lambda loop: Holder(lambda callback: loop.call_later(0, callback)),
}


@pytest.mark.parametrize("kind", HOLDERS)
def test_handle_in_a_cycle_is_collected_while_the_loop_runs(loop, kind):
    async def main():
        gone = weakref.ref(HOLDERS[kind](loop))
        await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        gc.collect()
        return gone()

    assert loop.run_until_complete(main()) is None


def test_cancelled_handle_in_its_own_context_is_collected(loop):
    variable = contextvars.ContextVar("variable")

    class Value:
        pass

    async def main():
        context = contextvars.copy_context()
        value = Value()
        value.handle = loop.call_later(60, print, context=context)
        context.run(variable.set, value)
        value.handle.cancel()
        return weakref.ref(value)

    gone = loop.run_until_complete(main())
    gc.collect()
    assert gone() is None


def leave_behind(loop, delay):
    """Run the loop, which stops with a callback queued; return a weak reference to what the callback holds."""

    async def main():
        holder = Holder(loop.call_soon if delay is None else lambda callback: loop.call_later(delay, callback))
        holder.loop = loop
        loop.stop()
        return holder

    task = loop.create_task(main())
    loop.run_forever()
    return weakref.ref(task.result())


@pytest.mark.parametrize("delay", [None, 60])
def test_loop_dropped_with_what_a_run_left_queued_is_collected(loop, delay):
    gone = leave_behind(type(loop)(), delay)  # not the fixture's loop, which the fixture holds
    with pytest.warns(ResourceWarning):
        gc.collect()
    assert gone() is None


def test_an_argument_lives_as_long_as_the_call(loop):
    """A function in C uses it after it has cancelled the handle, which lets go of it."""
    seen = []

    class Argument:
        def __getattribute__(self, name):
            handles.pop().cancel()
            raise AttributeError

        def __getattr__(self, name):
            seen.append("used")

        def __del__(self):
            seen.append("gone")

    handles = [loop.call_soon(getattr, Argument(), "name")]
    spin(loop)
    assert seen == ["used", "gone"]
