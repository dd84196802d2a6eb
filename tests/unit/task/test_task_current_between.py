"""What runs between two steps finds no current task: signal handlers, finalizers, callbacks of weak references, log
and exception handlers, the collector. What runs within a step finds its task.

Covers task/registry.c, task/step.c, core/run.c. In every test a task has run in the same turn right before, since the
loop empties the slot of the current task as late as it may.
"""

import asyncio
import contextvars
import functools
import gc
import logging
import signal
import sys
import threading
import weakref

import pytest
from tcp_support import run_script, turns

VARIABLE = contextvars.ContextVar("VARIABLE", default=None)


@pytest.fixture
def look(loop):
    """A callable that notes the name of the current task, in its list `seen`."""
    seen = []

    def look(*_):
        task = asyncio.current_task(loop)
        seen.append(task and task.get_name())

    look.seen = seen
    return look


@pytest.fixture
def logged(look):
    """Let asyncio's log records look."""

    class Handler(logging.Handler):
        def emit(self, record):
            look()
            assert getattr(record, "taskName", None) is None

    handler = Handler(logging.WARNING)
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


class Witness:
    """Looks when it ends."""

    def __init__(self, look):
        self.look = look

    def __del__(self):
        self.look()


async def passes():
    await asyncio.sleep(0)


def start_between(loop, coro, **options):
    """Start a task, nobody's but the loop's, between two others whose steps run right before and after."""
    loop.create_task(passes(), name="before")
    loop.create_task(coro, name="middle", **options)
    loop.create_task(passes(), name="after")


def run_between(run, loop, make, *args):
    """Run the coroutine of `make(*args)` as `start_between` does, and a few turns more."""

    async def main():
        start_between(loop, make(*args))
        await turns()

    run(main())


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_result(run, loop, look, steps):
    async def returns():
        result = Witness(look)
        for _ in range(steps):
            await asyncio.sleep(0)
        return result

    run_between(run, loop, returns)
    assert look.seen == [None]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_local_of_the_coroutine(run, loop, look, steps):
    async def keeps():
        witness = Witness(look)
        for _ in range(steps):
            await asyncio.sleep(0)
        del witness
        other = Witness(look)
        await asyncio.sleep(0)
        assert other is not None

    run_between(run, loop, keeps)
    assert look.seen == ["middle", "middle"]


def test_variable_of_the_context(run, loop, look):
    async def sets():
        VARIABLE.set(Witness(look))
        await asyncio.sleep(0)

    run_between(run, loop, sets)
    assert look.seen == [None]


def test_weak_reference(run, loop, look):
    refs = []

    async def ends():
        refs.append(weakref.ref(asyncio.current_task(), look))
        await asyncio.sleep(0)

    run_between(run, loop, ends)
    assert look.seen == [None]


def test_exception_that_nobody_retrieved(run, loop, look):
    loop.set_exception_handler(look)

    class Failed(Exception):
        def __del__(self):
            look()

    async def fails():
        await asyncio.sleep(0)
        raise Failed

    run_between(run, loop, fails)
    gc.collect()
    assert look.seen == [None, None]


def test_task_that_nobody_holds(run, loop, look):
    loop.set_exception_handler(look)

    class Forgets:
        _asyncio_future_blocking = False

        def get_loop(self):
            return loop

        def add_done_callback(self, callback, *, context=None):
            pass

        def __await__(self):
            self._asyncio_future_blocking = True
            yield self

    async def waits():
        await Forgets()

    run_between(run, loop, waits)
    assert look.seen == [None]


def test_task_held_by_its_done_callback(run, loop, look):
    async def returns():
        asyncio.current_task().add_done_callback(Witness(look).look)
        task = asyncio.current_task()
        task.add_done_callback(functools.partial(id))
        return Witness(look)

    run_between(run, loop, returns)
    assert look.seen[1:] == [None, None]


def test_callbacks_and_their_arguments(run, loop, look):
    future = loop.create_future()

    async def schedules():
        loop.call_soon(functools.partial(id), Witness(look))
        loop.call_soon(functools.partial(bool, Witness(look)))
        loop.call_later(0, id, Witness(look))
        future.add_done_callback(functools.partial(lambda witness, _: None, Witness(look)))
        future.set_result(None)
        handle = loop.call_soon(id, Witness(look))
        handle.cancel()

    run_between(run, loop, schedules)
    assert look.seen == ["middle", None, None, None, None]


def test_result_dropped_by_who_waited(run, loop, look):
    async def returns():
        return Witness(look)

    async def waits():
        await asyncio.create_task(returns(), name="inner")

    run_between(run, loop, waits)
    # asyncio holds it until the step is over.
    assert look.seen in ([None], ["middle"])


def test_collector(run, loop, look):
    async def leaves_cycle():
        witness = Witness(look)
        witness.itself = witness
        loop.call_soon(gc.collect)

    gc.collect()
    gc.disable()
    try:
        run_between(run, loop, leaves_cycle)
    finally:
        gc.enable()
    assert look.seen == [None]


def is_truth(loop, tasks):
    """Whether the current task is the one of them whose coroutine runs, or none where none does.

    asyncio runs Python code of its own (call_soon) within a step but not in its coroutine.
    """
    running = [task for task in tasks if task.get_coro().cr_running]
    if not running and not type(loop).__module__.startswith("loopmod"):
        return True
    return asyncio.current_task(loop) is (running[0] if running else None)


def test_collector_while_steps_begin(run, loop):
    """Up to Python 3.11 the collector runs wherever something is allocated."""
    seen = []

    async def leaves_cycles():
        for _ in range(20):
            witness = Witness(lambda: seen.append(is_truth(loop, tasks)))
            witness.itself = witness
            await asyncio.sleep(0)

    async def main():
        tasks[:] = [asyncio.current_task(), *(loop.create_task(leaves_cycles()) for _ in range(5))]
        await asyncio.wait(tasks[1:])

    tasks = []
    threshold = gc.get_threshold()
    gc.set_threshold(20, 1000, 1000)
    try:
        run(main())
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert seen
    assert all(seen)


@pytest.fixture
def user_signal():
    before = signal.getsignal(signal.SIGUSR1)
    yield signal.SIGUSR1
    signal.signal(signal.SIGUSR1, before)


def test_signal_from_a_callback(run, loop, look, user_signal):
    signal.signal(user_signal, look)

    async def raises():
        loop.call_soon(signal.raise_signal, user_signal)
        signal.raise_signal(user_signal)

    run_between(run, loop, raises)
    assert look.seen == ["middle", None]


def test_signals_beside_busy_tasks(run, loop, user_signal):
    """Wherever a signal comes: its handler finds the task whose coroutine it interrupts, or none."""
    seen, told, tasks = [], threading.Semaphore(0), []

    async def spins():
        while len(seen) < 200:
            await asyncio.sleep(0)

    def handler(signum, frame):
        seen.append(is_truth(loop, tasks))
        told.release()

    def sends():
        while len(seen) < 200:
            signal.pthread_kill(threading.main_thread().ident, user_signal)
            told.acquire(timeout=1)

    async def main():
        signal.signal(user_signal, handler)
        tasks[:] = [asyncio.current_task(), loop.create_task(spins()), loop.create_task(spins())]
        thread = threading.Thread(target=sends)
        thread.start()
        await asyncio.wait(tasks[1:])
        await loop.run_in_executor(None, thread.join)

    run(main())
    assert all(seen)


def test_handler_of_the_loop(run, loop, look, user_signal):
    async def raises():
        loop.add_signal_handler(user_signal, look)
        signal.raise_signal(user_signal)
        while not look.seen:
            await asyncio.sleep(0)
        loop.remove_signal_handler(user_signal)

    run(raises())
    assert look.seen == [None]


def test_context_that_cannot_be_entered(loop, look, logged):
    loop.set_exception_handler(look)
    context = contextvars.copy_context()
    stuck = passes()

    async def main():
        start_between(loop, stuck, context=context)
        await turns()

    context.run(loop.run_until_complete, main())
    stuck.close()
    assert look.seen
    assert set(look.seen) == {None}


def test_traceback_that_a_wait_replaces(run, loop, look):
    def error_with(witness):
        try:
            raise ValueError
        except ValueError as exc:
            return exc

    async def waits(future):
        with pytest.raises(ValueError):
            await future

    async def main():
        future = loop.create_future()
        error = error_with(None)
        future.set_exception(error)
        error.__traceback__ = error_with(Witness(look)).__traceback__
        loop.create_task(passes(), name="before")
        loop.create_task(waits(future), name="middle")
        await turns()

    # A pending future, so that the exception comes with the wake-up and not within the step.
    async def main_pending():
        future = loop.create_future()
        loop.create_task(waits(future), name="middle")
        await turns(2)
        loop.create_task(passes(), name="before")
        error = error_with(None)
        future.set_exception(error)
        error.__traceback__ = error_with(Witness(look)).__traceback__
        del error
        await turns()

    async def both():
        await main()
        await main_pending()

    run(both())
    assert look.seen == ["middle", None]


def test_time_of_the_loop(new_loop, look):
    loop = new_loop()
    seen = []

    class Timed(type(loop)):
        def time(self):
            task = asyncio.current_task(self)
            if sys._getframe(1).f_code is not busy.__code__:
                seen.append(task)
            return super().time()

    async def busy():
        handle = timed.call_later(1000, int)
        await turns(20)
        handle.cancel()

    timed = Timed()
    timed.set_debug(loop.get_debug())
    try:
        task = timed.create_task(busy())
        timed.run_until_complete(task)
    finally:
        timed.close()
    # call_later asks within the step; whatever else asked did between steps.
    assert set(seen) - {task} == {None}
    assert seen.count(task) <= 2


def test_slow_callback_record(run, loop, look, logged):
    loop.slow_callback_duration = 0.0

    async def main():
        loop.set_debug(True)
        loop.call_soon(id, None)
        await turns()
        loop.slow_callback_duration = 60.0

    run(main())
    assert len(look.seen) > 3
    assert set(look.seen) == {None}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")
def test_eager_tasks(run, loop, look):
    async def returns():
        return Witness(look)

    async def waits():
        await asyncio.sleep(0)
        return Witness(look)

    async def main():
        loop.set_task_factory(asyncio.eager_task_factory)
        loop.create_task(returns(), name="inner")
        loop.create_task(waits(), name="later")
        look()
        await turns()

    async def named():
        asyncio.current_task().set_name("outer")
        await main()

    run(named())
    assert look.seen == ["outer", "outer", None]


RUNS_IN_FINALIZER = """
import asyncio
import loopmod

loopmod.allow_nested_runs()  # for a process of its own: it cannot be undone
seen = []

class Runs:
    def __del__(self):
        loop.run_until_complete(asyncio.sleep(0))
        seen.append(asyncio.current_task(loop))

async def returns():
    await asyncio.sleep(0)
    return Runs()

async def main():
    me = asyncio.current_task()
    loop.create_task(returns())
    for _ in range(5):
        await asyncio.sleep(0)
        assert asyncio.current_task() is me

for debug in (False, True):
    loop = loopmod.new_event_loop()
    loop.set_debug(debug)
    loop.run_until_complete(main())
    loop.close()
assert seen == [None, None], seen
print("held")
"""


def test_run_within_a_finalizer():
    done = run_script(RUNS_IN_FINALIZER)
    assert done.stdout == "held\n", done.stderr


def test_step_called_by_hand(run, loop, look):
    """A task's step as the callback of a handle: the handle ends after the step."""

    async def waits(future):
        await future

    async def main():
        # A future of asyncio's own wakes the task by a callable.
        future = asyncio.Future(loop=loop)
        loop.create_task(waits(future), name="middle")
        await asyncio.sleep(0)
        future.add_done_callback(functools.partial(lambda witness, _: None, Witness(look)))
        future.set_result(Witness(look))
        del future
        await turns()

    run(main())
    assert set(look.seen) <= {None, "middle"}
    assert None in look.seen
