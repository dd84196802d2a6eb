"""Loops with methods replaced on the instance or in a subclass: the loop itself uses the replacement too.

Covers what core/loop.c finds overridden, and each place that asks it. Relies on the fixtures of tests/conftest.py.
`loop.time` is the most used of these (virtual clocks).
"""

import asyncio
import sys

import pytest
from loop_support import give, spin

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def derive(loop, debug):
    """Make a loop of a subclass of the loop under test whose namespace is given; closed at the end."""
    made = []

    def make(**namespace):
        derived = type("Derived", (type(loop),), namespace)()
        derived.set_debug(debug)
        derived.slow_callback_duration = 60.0
        made.append(derived)
        return derived

    yield make
    for derived in made:
        if not derived.is_closed():
            type(loop).close(derived)


def counted(base, name, log):
    """A method that notes its name in `log` and goes on to that of `base`."""

    def method(self, *args, **kwargs):
        log.append(name)
        return getattr(base, name)(self, *args, **kwargs)

    return method


def check_virtual_clock(loop, clock):
    seen = []
    handle = loop.call_later(10, seen.append, "later")
    assert handle.when() == clock[0] + 10
    loop.call_at(clock[0] + 5, seen.append, "at")
    spin(loop)
    assert seen == []
    clock[0] += 6
    spin(loop)
    assert seen == ["at"]
    clock[0] += 6
    spin(loop)
    assert seen == ["at", "later"]


def test_time_replaced_on_the_instance(loop):
    clock = [1000.0]
    loop.time = lambda: clock[0]
    assert loop.time() == 1000.0
    check_virtual_clock(loop, clock)


def test_time_replaced_in_a_subclass(derive):
    clock = [50.0]
    check_virtual_clock(derive(time=lambda self: clock[0]), clock)


def test_time_replaced_while_timers_wait(loop):
    seen = []
    start = loop.time()
    loop.call_later(3600, seen.append, "due")
    spin(loop)
    loop.time = lambda: start + 4000
    spin(loop)
    assert seen == ["due"]


def test_time_that_jumps_on_each_call_drives_sleep(derive):
    # A virtual clock in the way test suites write it: time passes only when the loop asks.
    clock = [0.0]

    def time(self):
        clock[0] += 200.0
        return clock[0]

    loop = derive(time=time)
    assert loop.run_until_complete(asyncio.sleep(100, "slept")) == "slept"
    assert clock[0] >= 400


def test_subclass_gets_its_own_state(loop, derive):
    def init(self, *args):
        type(loop).__init__(self)
        self.mark = "set in __init__"

    derived = derive(__init__=init)
    assert isinstance(derived, type(loop)) and isinstance(derived, asyncio.AbstractEventLoop)
    assert derived.mark == "set in __init__"
    assert derived.run_until_complete(give(1)) == 1
    loop.mark = 3
    assert loop.mark == 3
    del loop.mark
    assert not hasattr(loop, "mark")


@pytest.mark.parametrize(
    "method",
    [
        "call_soon",
        "call_soon_threadsafe",
        "call_later",
        "call_at",
        "create_task",
        "create_future",
        "run_forever",
        "run_until_complete",
        "stop",
        "is_running",
        "get_debug",
        "call_exception_handler",
        "add_reader",
        "run_in_executor",
    ],
)
def test_a_counting_override_changes_nothing(loop, derive, method):
    log = []
    derived = derive(**{method: counted(type(loop), method, log)})
    assert derived.run_until_complete(give("same")) == "same"
    seen = []
    derived.call_later(0, seen.append, "timer")
    derived.call_soon_threadsafe(seen.append, "threadsafe")
    derived.call_at(0, seen.append, "at")
    spin(derived, 2)
    assert sorted(seen) == ["at", "threadsafe", "timer"]


def test_run_until_complete_uses_the_overrides(loop, derive):
    log = []
    names = ["create_task", "run_forever", "stop"]
    derived = derive(**{name: counted(type(loop), name, log) for name in names})
    assert derived.run_until_complete(give(2)) == 2
    assert log == names


def test_call_later_uses_the_overridden_call_at(loop, derive):
    log = []
    derived = derive(call_at=counted(type(loop), "call_at", log))
    derived.call_later(1, print).cancel()
    assert log == ["call_at"]


def test_sleep_uses_the_overrides(loop, derive):
    log = []
    derived = derive(**{name: counted(type(loop), name, log) for name in ["create_future", "call_later"]})
    derived.run_until_complete(asyncio.sleep(0.001))
    assert log == ["create_future", "call_later"]


def test_create_task_functions_use_the_override(loop, derive):
    log = []
    derived = derive(create_task=counted(type(loop), "create_task", log))

    async def main():
        return await asyncio.create_task(give(1)) + await asyncio.ensure_future(give(2))

    assert derived.run_until_complete(main()) == 3
    assert log == ["create_task"] * 3


def test_future_callbacks_go_through_call_soon(loop, derive):
    log = []
    derived = derive(call_soon=counted(type(loop), "call_soon", log))
    future = derived.create_future()
    future.add_done_callback(lambda future: None)
    future.add_done_callback(lambda future: None)
    future.set_result(None)
    assert log == ["call_soon"] * 2
    spin(derived)


def test_task_steps_go_through_call_soon(loop, derive):
    log = []
    derived = derive(call_soon=counted(type(loop), "call_soon", log))
    task = derived.create_task(give(1))
    assert log == ["call_soon"]
    spin(derived, 2)
    # One for the first step, two of spin, one for the step after the bare yield.
    assert task.done() and log == ["call_soon"] * 4


def test_call_soon_replaced_on_the_instance(loop):
    log = []
    original = loop.call_soon

    def call_soon(callback, *args, context=None):
        log.append(callback)
        return original(callback, *args, context=context)

    loop.call_soon = call_soon
    assert loop.run_until_complete(give(1)) == 1
    assert len(log) >= 2
    del loop.call_soon
    count = len(log)
    assert loop.run_until_complete(give(1)) == 1
    assert len(log) == count


def test_failures_go_through_the_overridden_handlers(loop, derive):
    log = []

    def default_exception_handler(self, context):
        log.append(context["exception"].args)

    derived = derive(
        call_exception_handler=counted(type(loop), "call_exception_handler", log),
        default_exception_handler=default_exception_handler,
    )

    def bad():
        raise ValueError("callback")

    derived.call_soon(bad)
    spin(derived)
    assert log == ["call_exception_handler", ("callback",)]


def test_asyncgen_finalizer_uses_call_soon_threadsafe(loop, derive):
    log = []
    derived = derive(call_soon_threadsafe=counted(type(loop), "call_soon_threadsafe", log))

    async def numbers():
        yield 1
        yield 2

    async def main():
        generator = numbers()
        await generator.__anext__()
        del generator
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    derived.run_until_complete(main())
    assert "call_soon_threadsafe" in log


def test_close_override_sees_its_super(loop, derive):
    log = []
    derived = derive(close=counted(type(loop), "close", log))
    with asyncio.Runner(loop_factory=lambda: derived) as runner:
        assert runner.run(give(1)) == 1
    assert log == ["close"] and derived.is_closed()


def test_task_factory_override(loop, derive):
    made = []

    def factory(loop, coro, **kwargs):
        made.append(kwargs)
        return asyncio.Task(coro, loop=loop, **kwargs)

    derived = derive()
    assert derived.get_task_factory() is None
    derived.set_task_factory(factory)
    assert derived.get_task_factory() is factory
    assert derived.run_until_complete(give(8)) == 8
    # The factory hears of a keyword only where the caller gave one.
    assert made == [{}] or sys.version_info >= (3, 13, 3)
    for bad in (3, "text", object()):
        with pytest.raises(TypeError):
            derived.set_task_factory(bad)
    derived.set_task_factory(None)
    assert derived.run_until_complete(give(8)) == 8 and len(made) == 1


def test_policy_style_creation(loop):
    # Frameworks make loops by calling the class, with nothing known about the running one.
    loops = [type(loop)() for _ in range(3)]
    try:
        assert [each.run_until_complete(give(number)) for number, each in enumerate(loops)] == [0, 1, 2]
    finally:
        for each in loops:
            each.close()


@pytest.mark.parametrize("wrong", [None, 5, object, type("Stranger", (), {}), asyncio.SelectorEventLoop])
def test_only_a_loop_class_gets_the_methods(wrong):
    loopmod = pytest.importorskip("loopmod")
    with pytest.raises(TypeError, match="subclass of Loop"):
        loopmod._loopmod._own_methods(wrong)
    assert not hasattr(wrong, "_close_core")


def test_a_running_loop_that_says_it_does_not_run_is_not_closed(derive, kind):
    """What is closed is taken from under the run: asyncio's then fails."""
    if kind == "asyncio":
        pytest.skip("asyncio believes is_running()")
    derived = derive(is_running=lambda self: False)
    seen = []

    def close():
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            derived.close()
        derived.call_soon(seen.append, "goes on")
        derived.call_soon(derived.stop)

    derived.call_soon(close)
    derived.run_forever()
    assert seen == ["goes on"] and not derived.is_closed()
    derived.close()
    assert derived.is_closed()
