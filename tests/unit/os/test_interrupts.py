"""Handlers of signal.signal, Ctrl-C under a Runner and without one, and wakeup descriptors of others.

Covers os/signals.c and core/switch.c. Relies on the fixtures of tests/conftest.py, and on the main thread. SIGALRM
is left to pytest-timeout.
"""

import asyncio
import signal
import socket
import sys
import threading

import pytest
from signal_support import kill_from_thread, kill_self

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, type("Own", (BaseException,), {})])
def test_exception_of_a_python_handler_leaves_the_run(loop, error):
    raised = []

    def handler(number, frame):
        raised.append(number)
        raise error("from the handler")

    signal.signal(signal.SIGUSR1, handler)
    loop.set_exception_handler(lambda loop, context: None)
    end = kill_from_thread(loop)
    with pytest.raises(error, match="from the handler"):
        try:
            loop.run_forever()
        finally:
            signal.signal(signal.SIGUSR1, signal.SIG_IGN)
            end()
    assert raised and not loop.is_running()
    assert loop.run_until_complete(asyncio.sleep(0, "well")) == "well"


def test_python_handler_that_returns(loop):
    # The sleep goes on to its end; the handler ran meanwhile, not after it.
    seen = []

    def handler(number, frame):
        seen.append("handled")
        loop.call_soon_threadsafe(loop.stop)

    signal.signal(signal.SIGUSR1, handler)
    far = loop.call_later(3600, seen.append, "timer")
    end = kill_from_thread(loop)
    loop.run_forever()
    end()
    far.cancel()
    assert set(seen) == {"handled"}


def test_ctrl_c_without_a_runner(loop):
    end = kill_from_thread(loop, signal.SIGINT)
    loop.set_exception_handler(lambda loop, context: None)
    with pytest.raises(KeyboardInterrupt):
        try:
            loop.run_forever()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            end()
    assert not loop.is_running()


@pytest.mark.parametrize("asleep", [True, False], ids=["asleep", "in a callback"])
def test_ctrl_c_under_a_runner(loop, asleep):
    seen = []

    async def main():
        try:
            if asleep:
                timer = threading.Timer(0.05, kill_self, [signal.SIGINT])
                timer.start()
            else:
                loop.call_soon(kill_self, signal.SIGINT)
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(KeyboardInterrupt):
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            runner.run(main())
    assert seen == ["cancelled"] and loop.is_closed()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_twice_under_a_runner(loop):
    async def main():
        while True:
            try:
                loop.call_soon(kill_self, signal.SIGINT)
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass

    with pytest.raises(KeyboardInterrupt):
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            try:
                runner.run(main())
            finally:
                # The task holds out against its cancellation.
                for task in asyncio.all_tasks(loop):
                    task.get_coro().close()
                    task.cancel()


def test_ctrl_c_that_the_main_task_survives(loop):
    async def main():
        try:
            loop.call_soon(kill_self, signal.SIGINT)
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            return "survived"

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.run(main()) == "survived"


@pytest.fixture
def foreign_wakeup():
    """A wakeup descriptor that somebody set before the loop ran: the end to read from, and its number."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    signal.set_wakeup_fd(right.fileno())
    yield left, right.fileno()
    signal.set_wakeup_fd(-1)
    left.close()
    right.close()


def test_foreign_wakeup_descriptor_is_kept(loop, foreign_wakeup):
    reading, number = foreign_wakeup
    signal.signal(signal.SIGUSR1, lambda *args: loop.call_soon_threadsafe(loop.stop))
    end = kill_from_thread(loop)
    loop.run_forever()
    end()
    received = reading.recv(1000)
    assert set(received) == {signal.SIGUSR1}
    assert signal.set_wakeup_fd(-1) == number


def test_foreign_wakeup_descriptor_after_an_exit(loop, foreign_wakeup):
    reading, number = foreign_wakeup
    loop.call_soon(sys.exit)
    with pytest.raises(SystemExit):
        loop.run_forever()
    loop.close()
    assert signal.set_wakeup_fd(-1) == number


@pytest.mark.parametrize("end", ["remove_signal_handler", "close"])
@pytest.mark.parametrize("replaced_by", ["another", "none"])
def test_what_replaced_the_loops_wakeup_descriptor_stays(loop, kind, foreign_wakeup, replaced_by, end):
    near, far = socket.socketpair()
    with near, far:
        far.setblocking(False)
        loop.add_signal_handler(signal.SIGUSR1, print)
        assert signal.set_wakeup_fd(far.fileno() if replaced_by == "another" else -1) != foreign_wakeup[1]
        getattr(loop, end)(*([signal.SIGUSR1] if end == "remove_signal_handler" else []))
        # asyncio takes away whatever is there.
        is_left = replaced_by == "another" and kind == "loopmod"
        assert signal.set_wakeup_fd(-1) == (far.fileno() if is_left else -1)


def test_run_without_handlers_leaves_no_wakeup_descriptor(loop):
    loop.run_until_complete(asyncio.sleep(0.001))
    assert signal.set_wakeup_fd(-1) == -1


@pytest.fixture
def interrupt_the_end(loop, monkeypatch):
    """In debug mode a Python function is called at the end of a run: an exception comes in there, once."""
    original, calls = sys.set_coroutine_origin_tracking_depth, []
    hooks = sys.get_asyncgen_hooks()
    loop.set_debug(True)

    def interrupted(depth):
        calls.append(depth)
        if len(calls) == 2:
            raise KeyboardInterrupt("at the end")
        original(depth)

    monkeypatch.setattr(sys, "set_coroutine_origin_tracking_depth", interrupted)
    yield
    sys.set_asyncgen_hooks(*hooks)
    original(0)


def test_exception_at_the_end_of_a_run_comes_out_of_it(loop, kind, interrupt_the_end):
    """What was to be put back is."""
    hooks = sys.get_asyncgen_hooks()
    loop.call_soon(loop.stop)
    with pytest.raises(KeyboardInterrupt, match="at the end"):
        loop.run_forever()
    if kind == "loopmod":
        assert sys.get_asyncgen_hooks() == hooks
        assert sys.get_coroutine_origin_tracking_depth() == 0
    assert not loop.is_running()
    assert loop.run_until_complete(asyncio.sleep(0, "well")) == "well"


def test_exception_at_the_end_has_the_runs_own_as_context(loop, interrupt_the_end):
    def leave():
        raise SystemExit("from a callback")

    loop.call_soon(leave)
    with pytest.raises(KeyboardInterrupt, match="at the end") as caught:
        loop.run_forever()
    assert isinstance(caught.value.__context__, SystemExit)


def test_an_exception_on_the_way_to_a_handler_loses_no_signal(loop, kind):
    if kind == "asyncio":
        pytest.skip("drops what it had read")
    seen, original, calls = [], loop._handle_signal, []

    def handle(number):
        calls.append(number)
        if len(calls) == 1:
            raise KeyboardInterrupt("on the way")
        original(number)

    for number in (signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, seen.append, number)
    loop._handle_signal = handle
    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGUSR2)
    loop.call_later(0.05, loop.stop)
    with pytest.raises(KeyboardInterrupt, match="on the way"):
        loop.run_forever()
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert seen == [signal.SIGUSR1, signal.SIGUSR2]
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        loop.remove_signal_handler(number)


def test_a_signal_that_always_fails_is_tried_twice(loop, kind):
    if kind == "asyncio":
        pytest.skip("has its own way")
    told, calls = [], []

    def handle(number):
        calls.append(number)
        raise ValueError("always")

    loop.set_exception_handler(lambda loop, context: told.append(context["exception"]))
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop._handle_signal = handle
    signal.raise_signal(signal.SIGUSR1)
    loop.call_later(0.05, loop.stop)
    loop.run_forever()
    assert len(calls) == len(told) == 2
    loop.remove_signal_handler(signal.SIGUSR1)
