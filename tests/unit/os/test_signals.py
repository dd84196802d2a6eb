"""Signals: add_signal_handler and its removal, while the loop sleeps, works, and between its runs.

Covers os/signals.c and loopmod/signals.py. Relies on the fixtures of tests/conftest.py, and on the main thread.
SIGALRM is left to pytest-timeout.
"""

import asyncio
import ctypes
import os
import resource
import signal
import subprocess
import threading
import time

import pytest
from loop_support import spin
from signal_support import kill_from_thread, kill_self

pytestmark = pytest.mark.timeout(30)


def test_handler_is_called_with_its_arguments(loop):
    seen = []

    def handler(*args):
        seen.append((args, threading.current_thread(), asyncio.get_running_loop()))
        loop.stop()

    assert loop.add_signal_handler(signal.SIGUSR1, handler, 1, "two") is None
    loop.call_soon(kill_self)
    loop.run_forever()
    assert seen == [((1, "two"), threading.main_thread(), loop)]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_number_instead_of_the_enum(loop):
    loop.add_signal_handler(int(signal.SIGUSR1), loop.stop)
    loop.call_soon(kill_self)
    loop.run_forever()
    assert loop.remove_signal_handler(signal.SIGUSR1) is True


def test_replaced_handler(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "old")
    loop.add_signal_handler(signal.SIGUSR1, lambda: (seen.append("new"), loop.stop()))
    loop.call_soon(kill_self)
    loop.run_forever()
    assert seen == ["new"]
    assert loop.remove_signal_handler(signal.SIGUSR1) is True
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_handler_is_called_for_each_of_several_signals(loop):
    seen = []

    def handler(name):
        seen.append(name)
        if len(seen) == 3:
            loop.stop()

    names = {signal.SIGUSR1: "one", signal.SIGUSR2: "two", signal.SIGTERM: "three"}
    for number, name in names.items():
        loop.add_signal_handler(number, handler, name)
    for number in names:
        kill_self(number)
    loop.run_forever()
    assert sorted(seen) == ["one", "three", "two"]


def test_handler_called_again_and_again(loop):
    seen = []

    def handler():
        seen.append(None)
        if len(seen) == 50:
            loop.stop()
        else:
            kill_self()

    loop.add_signal_handler(signal.SIGUSR1, handler)
    loop.call_soon(kill_self)
    loop.run_forever()
    assert len(seen) == 50


def test_handler_that_fails(loop, errors):
    def handler():
        raise LookupError("in the handler")

    loop.add_signal_handler(signal.SIGUSR1, handler)
    kill_self()
    spin(loop, 2)
    assert [context["exception"].args for context in errors] == [("in the handler",)]
    assert isinstance(errors[0]["handle"], asyncio.Handle)


def test_handler_that_exits(loop):
    def handler():
        raise SystemExit(7)

    loop.add_signal_handler(signal.SIGUSR1, handler)
    loop.call_soon(kill_self)
    with pytest.raises(SystemExit) as info:
        loop.run_forever()
    assert info.value.code == 7


def test_signal_before_the_run(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "signal")
    kill_self()
    assert seen == []
    spin(loop, 2)
    assert seen == ["signal"]


def test_signals_between_runs(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "signal")
    spin(loop)
    for count in range(1, 4):
        kill_self()
        spin(loop, 2)
        assert seen == ["signal"] * count


def test_signal_while_idle(loop):
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    end = kill_from_thread(loop)
    start = time.monotonic()
    loop.run_forever()
    end()
    assert time.monotonic() - start < 20


def test_signal_while_idle_and_another_thread_works(loop):
    over = threading.Event()

    def work():
        while not over.is_set():
            sum(range(100))

    worker = threading.Thread(target=work)
    worker.start()
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    end = kill_from_thread(loop)
    loop.run_forever()
    end()
    over.set()
    worker.join()


@pytest.mark.parametrize("turns", [0, 1, 3])
def test_handler_of_the_programs_own_before_the_loop_sleeps(loop, turns):
    """A signal that arrives in C code, after the last place where Python looks, may not wait for another event."""
    signal.signal(signal.SIGUSR1, lambda number, frame: loop.stop())
    strike = ctypes.CDLL(None)["raise"]

    def later(turns):
        loop.call_soon(*((later, turns - 1) if turns else (strike, int(signal.SIGUSR1))))

    rescued = []
    rescue = threading.Timer(10, loop.call_soon_threadsafe, (lambda: (rescued.append(True), loop.stop()),))
    rescue.start()
    later(turns)
    loop.run_forever()
    rescue.cancel()
    assert not rescued


def test_handler_that_raises_before_the_loop_sleeps(loop):
    loop.call_soon(ctypes.CDLL(None)["raise"], int(signal.SIGINT))
    loop.call_later(10, loop.stop)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()


def test_removal_restores_the_default(loop):
    for number, default in ((signal.SIGUSR1, signal.SIG_DFL), (signal.SIGINT, signal.default_int_handler)):
        loop.add_signal_handler(number, print)
        assert signal.getsignal(number) not in (signal.SIG_DFL, signal.default_int_handler)
        assert loop.remove_signal_handler(number) is True
        assert signal.getsignal(number) is default


def test_removed_handler_is_not_called(loop):
    seen = []
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "removed")
    loop.add_signal_handler(signal.SIGUSR2, seen.append, "kept")
    kill_self()
    loop.remove_signal_handler(signal.SIGUSR1)
    kill_self(signal.SIGUSR2)
    spin(loop, 2)
    assert seen == ["kept"]


def test_close_removes_the_handlers(loop):
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGINT, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1


def test_close_in_another_thread(loop):
    """It raises, since handlers are the main thread's; the loop is closed, and that thread can remove the rest."""
    outcome = []

    def body():
        try:
            loop.close()
        except ValueError as exc:
            outcome.append((str(exc), loop.is_closed()))

    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.add_signal_handler(signal.SIGUSR2, print)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert outcome == [("signal only works in main thread of the main interpreter", True)]
    loop.close()
    assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL


@pytest.mark.parametrize(
    "bad, error",
    [
        (signal.SIGKILL, RuntimeError),
        (signal.SIGSTOP, RuntimeError),
        (0, ValueError),
        (-1, ValueError),
        (65, ValueError),
        (1000, ValueError),
        (2**40, ValueError),
        (None, TypeError),
        ("SIGINT", TypeError),
        (1.5, TypeError),
        (object(), TypeError),
    ],
)
def test_bad_signals(loop, bad, error):
    with pytest.raises(error):
        loop.add_signal_handler(bad, print)
    if error is RuntimeError:
        assert loop.remove_signal_handler(bad) is False
    else:
        with pytest.raises(error):
            loop.remove_signal_handler(bad)
    loop.add_signal_handler(signal.SIGUSR1, loop.stop)
    kill_self()
    loop.run_forever()


def test_the_words_of_the_refusals(loop):
    with pytest.raises(RuntimeError, match="sig 9 cannot be caught"):
        loop.add_signal_handler(9, print)
    with pytest.raises(ValueError, match="invalid signal number 1000"):
        loop.add_signal_handler(1000, print)
    with pytest.raises(TypeError, match="sig must be an int, not 'x'"):
        loop.add_signal_handler("x", print)


def test_coroutine_callbacks_are_refused(loop):
    async def coroutine():
        pass

    running = coroutine()
    for callback in (coroutine, running):
        with pytest.raises(TypeError, match=r"coroutines cannot be used with add_signal_handler\(\)"):
            loop.add_signal_handler(signal.SIGUSR1, callback)
    running.close()
    assert loop.remove_signal_handler(signal.SIGUSR1) is False


def test_closed_loop(loop):
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.add_signal_handler(signal.SIGUSR1, print)


def test_from_another_thread(new_loop):
    outcome = []

    def body():
        loop = new_loop()
        try:
            loop.add_signal_handler(signal.SIGUSR1, print)
        except BaseException as exc:
            outcome.append(exc)
        outcome.append(loop.remove_signal_handler(signal.SIGUSR1))
        spin(loop)
        loop.close()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert type(outcome[0]) is RuntimeError and "main thread" in str(outcome[0])
    assert outcome[1:] == [False]


def test_child_signal(loop):
    loop.add_signal_handler(signal.SIGCHLD, loop.stop)
    with subprocess.Popen(["true"]) as child:
        loop.run_forever()
        assert child.wait(30) == 0
    assert loop.remove_signal_handler(signal.SIGCHLD) is True


def test_handler_when_no_descriptor_is_left(run, loop):
    async def main():
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        hold = []
        try:
            with pytest.raises(OSError):
                while True:
                    hold.append(os.dup(0))
            called = loop.create_future()
            loop.add_signal_handler(signal.SIGUSR1, called.set_result, None)
            kill_self()
            await called
            assert loop.remove_signal_handler(signal.SIGUSR1)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in hold:
                os.close(fd)

    run(main())
