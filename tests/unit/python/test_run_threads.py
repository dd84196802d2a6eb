"""run_threads: results, failures and their group, Ctrl-C, what each thread is and leaves, on loops of both kinds.

Covers loopmod/threads.py. Mains wait for each other by barriers and events of threading, in short sleeps of their
loops: no outcome depends on how long those take.
"""

import asyncio
import contextvars
import gc
import os
import signal
import sys
import threading

import pytest
from signal_support import kill_self

import loopmod
from loopmod import run_threads

pytestmark = pytest.mark.timeout(60)
number = contextvars.ContextVar("number", default=0)


def my_number():
    return int(threading.current_thread().name.removeprefix("loopmod-"))


async def until(event):
    while not event.is_set():
        await asyncio.sleep(0.001)


async def for_ever():
    await asyncio.get_running_loop().create_future()


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# --- what comes back -------------------------------------------------------------------------------------


def test_results_are_in_thread_order(new_loop):
    turns = [threading.Event() for _ in range(4)]
    turns[3].set()

    async def main(*args):
        # They end from the last to the first.
        await until(turns[my_number()])
        if my_number():
            turns[my_number() - 1].set()
        return my_number(), args

    assert run_threads(main, "a", 1, threads=4, loop_factory=new_loop) == [(n, ("a", 1)) for n in range(4)]


def test_each_thread_has_a_loop_of_its_own(new_loop, kind, debug):
    barrier = threading.Barrier(5)

    async def main():
        barrier.wait()
        thread, loop = threading.current_thread(), asyncio.get_running_loop()
        return thread, thread.name, thread.daemon, loop, loop.get_debug(), asyncio.current_task().get_loop()

    threads, names, daemons, loops, debugs, own = zip(
        *run_threads(main, threads=5, loop_factory=new_loop, debug=debug), strict=True
    )
    assert names == tuple(f"loopmod-{n}" for n in range(5))
    assert len(set(threads)) == len(set(loops)) == 5 and own == loops
    assert daemons == (False,) * 5 and debugs == (debug,) * 5
    assert threading.current_thread() not in threads
    assert all(loop.is_closed() and type(loop).__module__.startswith(kind) for loop in loops)


def test_one_thread(new_loop):
    async def main():
        return threading.current_thread() is not threading.main_thread()

    assert run_threads(main, threads=1, loop_factory=new_loop) == [True]


def test_debug_is_that_of_the_factory_by_default(new_loop, debug):
    async def main():
        return asyncio.get_running_loop().get_debug()

    assert run_threads(main, threads=2, loop_factory=new_loop) == [debug] * 2
    assert run_threads(main, threads=2, loop_factory=new_loop, debug=not debug) == [not debug] * 2


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, loopmod.Loop),
        ({"loop_factory": loopmod.new_server_loop}, loopmod.Loop),
        ({"loop_factory": asyncio.new_event_loop}, asyncio.SelectorEventLoop),
        ({"loop_factory": None}, asyncio.SelectorEventLoop),
    ],
)
def test_factories(options, expected):
    async def main():
        return type(asyncio.get_running_loop())

    assert run_threads(main, threads=2, **options) == [expected] * 2


def test_as_many_as_there_are_usable_cpus(new_loop, monkeypatch):
    async def main():
        return 1

    if hasattr(os, "process_cpu_count"):
        monkeypatch.setattr(os, "process_cpu_count", lambda: 3)
    else:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5, 7})
    assert run_threads(main, loop_factory=new_loop) == [1] * 3
    if hasattr(os, "process_cpu_count"):
        monkeypatch.setattr(os, "process_cpu_count", lambda: None)
        assert run_threads(main, loop_factory=new_loop) == [1]


@pytest.mark.parametrize(
    ("threads", "error"),
    [(0, ValueError), (-1, ValueError), (True, TypeError), (False, TypeError), (2.0, TypeError), ("2", TypeError)],
)
def test_numbers_of_threads_that_are_none(threads, error):
    with pytest.raises(error, match="threads is"):
        run_threads(for_ever, threads=threads)


def test_main_is_called_and_not_given():
    coro = for_ever()
    with pytest.raises(TypeError, match="main is what each thread calls"):
        run_threads(coro, threads=2)
    coro.close()


def test_within_a_running_loop(run):
    async def main():
        with pytest.raises(RuntimeError, match="from a running event loop"):
            run_threads(for_ever, threads=2)

    run(main())


def test_contexts_are_copies_of_the_callers(new_loop):
    barrier = threading.Barrier(3)

    async def body():
        seen = number.get()
        number.set(seen + 100)
        barrier.wait()
        return seen, number.get()

    def main():
        # What it sets, the main task finds.
        number.set(number.get() + my_number())
        return body()

    def call():
        number.set(10)
        return run_threads(main, threads=3, loop_factory=new_loop), number.get()

    assert contextvars.Context().run(call) == ([(10, 110), (11, 111), (12, 112)], 10)


def test_called_in_another_thread(new_loop):
    seen = []

    async def main():
        return my_number()

    async def failing():
        if my_number() == 1:
            raise LookupError
        await for_ever()

    def call():
        seen.append(run_threads(main, threads=2, loop_factory=new_loop))
        with pytest.raises(ExceptionGroup) as info:
            run_threads(failing, threads=2, loop_factory=new_loop)
        seen.append([type(exc) for exc in info.value.exceptions])

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join()
    assert seen == [[0, 1], [LookupError]]


def test_threads_of_threads(new_loop):
    async def inner(outer):
        return outer, my_number()

    async def main():
        loop = asyncio.get_running_loop()
        call = contextvars.copy_context().run
        return await loop.run_in_executor(
            None, lambda: call(run_threads, inner, my_number.__name__, threads=2, loop_factory=new_loop)
        )

    assert run_threads(main, threads=2, loop_factory=new_loop) == [[("my_number", 0), ("my_number", 1)]] * 2


def test_loops_end_as_under_a_runner(new_loop):
    seen = []

    async def ticks():
        try:
            while True:
                yield
        finally:
            seen.append("generator")

    async def left():
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            seen.append("task")

    async def main():
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, len, "")
        asyncio.create_task(left())
        generator = ticks()
        await generator.__anext__()
        await asyncio.sleep(0)
        return loop, loop._default_executor, generator

    for loop, executor, _ in run_threads(main, threads=2, loop_factory=new_loop):
        assert loop.is_closed() and loop._default_executor is None
        with pytest.raises(RuntimeError):
            executor.submit(len)
    assert sorted(seen) == ["generator"] * 2 + ["task"] * 2


def test_loops_that_talk_to_each_other(new_loop):
    loops, barrier = {}, threading.Barrier(3)

    async def greet(who):
        await asyncio.sleep(0)
        return my_number(), who

    async def main():
        loops[my_number()] = asyncio.get_running_loop()
        barrier.wait()
        other = loops[(my_number() + 1) % 3]
        answer = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(greet(my_number()), other))
        while barrier.n_waiting or answer is None:  # the others may still ask this loop
            await asyncio.sleep(0.001)
        done.release()
        while done._value < 3:
            await asyncio.sleep(0.001)
        return answer

    done = threading.Semaphore(0)
    assert run_threads(main, threads=3, loop_factory=new_loop) == [(1, 0), (2, 1), (0, 2)]


# --- failures --------------------------------------------------------------------------------------------


def test_one_fails_and_the_others_are_cancelled_and_waited_for(new_loop):
    barrier, seen = threading.Barrier(4), []

    async def main():
        barrier.wait()
        if my_number() == 2:
            raise LookupError("lost")
        try:
            await for_ever()
        except asyncio.CancelledError:
            seen.append(asyncio.current_task().cancelling())
            raise
        finally:
            for _ in range(3):
                await asyncio.sleep(0)
            seen.append("ended")

    with pytest.raises(ExceptionGroup, match="unhandled errors in the threads of run_threads") as info:
        run_threads(main, threads=4, loop_factory=new_loop)
    assert [repr(exc) for exc in info.value.exceptions] == ["LookupError('lost')"]
    assert type(info.value) is ExceptionGroup and info.value.__cause__ is None
    assert sorted(seen, key=str) == [1, 1, 1, "ended", "ended", "ended"]


def test_all_failures_are_in_the_group_in_thread_order(new_loop):
    barrier = threading.Barrier(4)

    async def main():
        barrier.wait()
        if my_number() == 3:
            raise ValueError(3)
        try:
            await for_ever()
        finally:
            if my_number() != 1:
                raise KeyError(my_number())

    with pytest.raises(ExceptionGroup) as info:
        run_threads(main, threads=4, loop_factory=new_loop)
    assert [repr(exc) for exc in info.value.exceptions] == ["KeyError(0)", "KeyError(2)", "ValueError(3)"]


def test_cancelled_mains_that_return_are_no_failures(new_loop):
    barrier = threading.Barrier(3)

    async def main():
        barrier.wait()
        if my_number() == 0:
            raise ValueError
        try:
            await for_ever()
        except asyncio.CancelledError:
            return "well"

    with pytest.raises(ExceptionGroup) as info:
        run_threads(main, threads=3, loop_factory=new_loop)
    assert [type(exc) for exc in info.value.exceptions] == [ValueError]


@pytest.mark.parametrize("way", ["raised", "cancelled"])
def test_a_main_cancelled_by_others_is_a_failure(new_loop, way):
    barrier = threading.Barrier(2)

    async def main():
        barrier.wait()
        if my_number() == 0:
            if way == "raised":
                raise asyncio.CancelledError
            asyncio.current_task().cancel()
        await for_ever()

    with pytest.raises(BaseExceptionGroup) as info:
        run_threads(main, threads=2, loop_factory=new_loop)
    assert [type(exc) for exc in info.value.exceptions] == [asyncio.CancelledError]


class Own(BaseException):
    pass


def test_base_exceptions_make_a_base_group(new_loop):
    async def main():
        raise Own

    with pytest.raises(BaseExceptionGroup) as info:
        run_threads(main, threads=1, loop_factory=new_loop)
    assert [type(exc) for exc in info.value.exceptions] == [Own] and type(info.value) is BaseExceptionGroup


@pytest.mark.parametrize("where", ["main", "callback", "function"])
@pytest.mark.parametrize("kind_of_exit", [SystemExit, KeyboardInterrupt])
def test_exits_come_out_as_they_are(new_loop, where, kind_of_exit):
    barrier, seen = threading.Barrier(3), []

    def leave():
        raise kind_of_exit("from here")

    async def body():
        barrier.wait()
        if my_number() == 1:
            if where == "main":
                leave()
            asyncio.get_running_loop().call_soon(leave)
        try:
            await for_ever()
        finally:
            seen.append("ended")

    def main():
        if where == "function" and my_number() == 1:
            barrier.wait()
            leave()
        return body()

    with pytest.raises(kind_of_exit, match="from here") as info:
        run_threads(main, threads=3, loop_factory=new_loop)
    assert seen == ["ended"] * (2 + (where == "callback"))
    assert info.value.__cause__ is None


def test_exits_have_the_other_failures_as_their_cause(new_loop):
    barrier = threading.Barrier(3)

    async def main():
        barrier.wait()
        if my_number() == 1:
            raise SystemExit(7)
        try:
            await for_ever()
        finally:
            if my_number() == 2:
                raise LookupError

    with pytest.raises(SystemExit) as info:
        run_threads(main, threads=3, loop_factory=new_loop)
    assert info.value.code == 7
    assert [type(exc) for exc in info.value.__cause__.exceptions] == [LookupError]


def fails_at_once():
    raise LookupError("no coroutine")


@pytest.mark.parametrize(
    ("main", "error"), [(fails_at_once, LookupError), (lambda: None, TypeError), (lambda x: None, TypeError)]
)
def test_mains_that_give_no_coroutine(new_loop, main, error):
    with pytest.raises(ExceptionGroup) as info:
        run_threads(main, threads=2, loop_factory=new_loop)
    # The second was cancelled before it began, or failed too.
    assert {type(exc) for exc in info.value.exceptions} == {error}


def test_a_factory_that_fails(new_loop):
    barrier, seen = threading.Barrier(3), []

    def factory():
        barrier.wait()
        if my_number() == 1:
            raise OSError("no more loops")
        return new_loop()

    async def main():
        try:
            await for_ever()
        finally:
            seen.append(my_number())

    with pytest.raises(ExceptionGroup) as info:
        run_threads(main, threads=3, loop_factory=factory)
    assert [repr(exc) for exc in info.value.exceptions] == ["OSError('no more loops')"]
    assert set(seen) <= {0, 2}  # a task that is cancelled before its first step runs nothing


def test_a_loop_that_is_stopped(new_loop):
    async def main():
        if my_number() == 0:
            asyncio.get_running_loop().stop()
        await for_ever()

    with pytest.raises(ExceptionGroup) as info:
        run_threads(main, threads=2, loop_factory=new_loop)
    assert "stopped before Future completed" in str(info.value.exceptions[0])


def test_a_main_that_is_over_is_not_cancelled(new_loop):
    """Its loop, which is being closed, waits for a task that is left."""
    is_over, has_failed, seen = threading.Event(), threading.Event(), []

    async def left():
        try:
            await for_ever()
        finally:
            is_over.set()
            await until(has_failed)
            await asyncio.sleep(0.001)
            seen.append("left")

    async def main():
        if my_number() == 0:
            asyncio.create_task(left())
            await asyncio.sleep(0)
            return
        await until(is_over)
        has_failed.set()
        raise LookupError

    with pytest.raises(ExceptionGroup) as info:
        run_threads(main, threads=2, loop_factory=new_loop)
    assert [type(exc) for exc in info.value.exceptions] == [LookupError] and seen == ["left"]


def test_what_has_not_begun_does_not_begin(new_loop):
    begun, may_go = [], threading.Event()

    def factory():
        if my_number() == 1:
            may_go.wait()
        return new_loop()

    async def main():
        begun.append(my_number())
        if my_number() == 0:
            raise LookupError

    # The caller asks for the end while the second thread makes its loop.
    ask = loopmod.threads._Member.cancel

    def cancel(member, times):
        ask(member, times)
        if times:
            may_go.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loopmod.threads._Member, "cancel", cancel)
        with pytest.raises(ExceptionGroup) as info:
            run_threads(main, threads=2, loop_factory=factory)
    assert [type(exc) for exc in info.value.exceptions] == [LookupError] and begun == [0]


@pytest.mark.parametrize("started", [0, 1, 3])
def test_a_thread_that_cannot_be_started(new_loop, monkeypatch, started):
    start = threading.Thread.start

    def start_or_not(thread):
        if thread.name == f"loopmod-{started}":
            raise RuntimeError("can't start new thread")
        start(thread)

    async def main():
        await for_ever()

    monkeypatch.setattr(threading.Thread, "start", start_or_not)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run_threads(main, threads=4, loop_factory=new_loop)


# --- Ctrl-C and other signals ----------------------------------------------------------------------------


def test_ctrl_c_cancels_all_and_is_raised(new_loop):
    barrier, seen = threading.Barrier(3), []

    async def main():
        barrier.wait()
        if my_number() == 0:
            kill_self(signal.SIGINT)
        try:
            await for_ever()
        finally:
            await asyncio.sleep(0)
            seen.append("ended")

    with pytest.raises(KeyboardInterrupt) as info:
        run_threads(main, threads=3, loop_factory=new_loop)
    assert seen == ["ended"] * 3 and info.value.__cause__ is None


def test_ctrl_c_is_raised_though_mains_return_and_fail(new_loop):
    barrier = threading.Barrier(3)

    async def main():
        barrier.wait()
        if my_number() == 0:
            kill_self(signal.SIGINT)
        try:
            await for_ever()
        except asyncio.CancelledError:
            if my_number() == 1:
                raise LookupError from None
            return "well"

    with pytest.raises(KeyboardInterrupt) as info:
        run_threads(main, threads=3, loop_factory=new_loop)
    assert [type(exc) for exc in info.value.__cause__.exceptions] == [LookupError]


def test_a_second_ctrl_c_cancels_once_more(new_loop):
    barrier, seen = threading.Barrier(2), []

    async def main():
        barrier.wait()
        if my_number() == 0:
            kill_self(signal.SIGINT)
        for _ in range(3):
            try:
                await for_ever()
            except asyncio.CancelledError:
                seen.append(my_number())
                barrier.wait()
                if my_number() == 0:
                    kill_self(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_threads(main, threads=2, loop_factory=new_loop)
    assert sorted(seen) == [0] * 3 + [1] * 3


def test_very_many_ctrl_c(new_loop):
    """Also while threads are started and joined: none comes out before all have ended."""

    async def main():
        for _ in range(50):
            kill_self(signal.SIGINT)
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                pass

    for _ in range(10):
        with pytest.raises(KeyboardInterrupt):
            run_threads(main, threads=4, loop_factory=new_loop)
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("loopmod-")]


def test_a_handler_of_the_programs_own_stays(new_loop):
    seen = threading.Event()

    async def main():
        if my_number() == 0:
            kill_self(signal.SIGINT)
        await until(seen)
        return "well"

    def handler(number, frame):
        assert threading.current_thread() is threading.main_thread()
        seen.set()

    before = signal.signal(signal.SIGINT, handler)
    try:
        assert run_threads(main, threads=2, loop_factory=new_loop) == ["well"] * 2
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("error", [LookupError, SystemExit, KeyboardInterrupt, Own])
def test_what_a_signal_handler_raises_ends_the_run(new_loop, error):
    barrier, seen = threading.Barrier(2), []

    async def main():
        barrier.wait()
        if my_number() == 0:
            kill_self(signal.SIGUSR1)
        try:
            await for_ever()
        finally:
            seen.append("ended")

    def handler(number, frame):
        raise error("from the handler")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(error, match="from the handler"):
            run_threads(main, threads=2, loop_factory=new_loop)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert seen == ["ended"] * 2


def test_ctrl_c_in_another_thread_is_the_main_threads(new_loop):
    seen, may_end = [], threading.Event()

    async def main():
        await until(may_end)
        return "well"

    thread = threading.Thread(
        target=lambda: seen.append(run_threads(main, threads=2, loop_factory=new_loop)), name="caller"
    )
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        kill_self(signal.SIGINT)
        for _ in range(1000):
            pass
    may_end.set()
    thread.join()
    assert seen == [["well"] * 2]


# --- what is left ----------------------------------------------------------------------------------------


def test_nothing_is_said_beside_what_is_raised(new_loop, monkeypatch, capsys, caplog):
    said = []
    monkeypatch.setattr(threading, "excepthook", said.append)
    monkeypatch.setattr(sys, "unraisablehook", said.append)

    async def main():
        if my_number() == 1:
            raise SystemExit
        await for_ever()

    with pytest.raises(SystemExit):
        run_threads(main, threads=3, loop_factory=new_loop)
    gc.collect()
    assert said == [] and capsys.readouterr().err == "" and not caplog.records
