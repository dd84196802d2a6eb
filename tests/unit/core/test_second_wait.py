"""Two threads and one poll: one waits, or was just woken and does not run yet; one closes the loop, the other polls.

Covers the refusals in core/run.c and face/loop_run.c. Relies on the fixtures of tests/conftest.py. Turns that are
asked for one by one are no run, so that nothing else refuses. Without the GIL the loop is its owner's for each call:
see test_owner.py. What asyncio answers is not asked for: its selector may be waited in by several threads.
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading

import pytest
from gil_support import needs_gil
from loop_support import give, spin

pytestmark = [pytest.mark.timeout(60), needs_gil]

ALREADY = "already running"
SECOND = {
    "poll": (lambda loop: loop._poll(0), ALREADY),
    "poll with a timeout": (lambda loop: loop._poll(0.01), ALREADY),
    "turn": (lambda loop: loop._run_once(), ALREADY),
    "run": (lambda loop: loop.run_forever(), ALREADY),
    "close": (lambda loop: loop.close(), "Cannot close a running"),
    "close the core": (lambda loop: loop._close_core(), "Cannot close a running"),
    "mark as closed": (lambda loop: setattr(loop, "_closed", True), "Cannot close a running"),
}


@pytest.fixture(autouse=True)
def only_ours(kind):
    if kind == "asyncio":
        pytest.skip("of loopmod's poll")


@pytest.fixture
def no_switches():
    """No thread loses the GIL but by a call that lets it go, and who has been woken waits for it.

    Logs and what a collection ends let it go, too: there are none.
    """
    before = sys.getswitchinterval()
    gc.collect()
    gc.disable()
    logging.disable()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)
    logging.disable(logging.NOTSET)
    gc.enable()


def poll(loop):
    loop._poll(60)


def turn(loop):
    """Where a timer is near, it is one call, past libev."""
    loop._run_once()


def wait_in(loop, wait):
    """A thread that waits in the loop: it has let the GIL go, or this would not have it."""
    while True:
        spin(loop)
        if wait is turn:
            loop.call_later(0.9, int)
        is_there, is_over = threading.Event(), threading.Event()
        thread = threading.Thread(target=wait_and_tell, args=(loop, wait, is_there, is_over))
        thread.start()
        assert is_there.wait(30)
        if not is_over.is_set():
            return thread
        thread.join()  # the timer was due before the wait began: the machine is busy


def wait_and_tell(loop, wait, is_there, is_over):
    is_there.set()
    wait(loop)
    is_over.set()


def refusal(loop, wait, ask, woken):
    """What another thread is told meanwhile; None where nothing was refused."""
    thread = wait_in(loop, wait)
    if woken:
        loop.call_soon_threadsafe(int)
    try:
        ask(loop)
        told = None
    except RuntimeError as exc:
        told = str(exc)
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(int)
    thread.join()
    return told


@pytest.mark.parametrize("woken", [False, True])
@pytest.mark.parametrize("wait", [poll, turn])
@pytest.mark.parametrize("what", SECOND)
def test_a_second_thread_is_refused(loop, new_loop, no_switches, wait, what, woken):
    ask, message = SECOND[what]
    told = refusal(loop, wait, ask, woken)
    for _ in range(4):
        if told is None:  # threads of the test runner have the GIL now and then: it did not wait yet
            loop = new_loop()
            told = refusal(loop, wait, ask, woken)
    assert message in told
    assert loop.run_until_complete(give("well")) == "well"


@pytest.mark.parametrize("wait", [poll, turn])
def test_a_watch_of_another_thread_ends_the_wait(loop, no_switches, wait):
    near, far = socket.socketpair()
    with near, far:
        seen = []
        thread = wait_in(loop, wait)
        loop.add_writer(near, seen.append, "writable")
        thread.join()
        loop._run_once()
        loop._run_once()
        assert "writable" in seen
        loop.remove_writer(near)


def test_a_watch_of_another_thread_is_not_refused_for_an_older_one(loop, no_switches):
    """What the kernel said last was about a descriptor that had become a file's, which it does not watch."""
    near, far = socket.socketpair()
    good, other = socket.socketpair()
    with near, far, good, other, open(__file__) as file:
        number = os.dup(near.fileno())
        thread = wait_in(loop, poll)
        loop.add_reader(number, int)
        os.dup2(file.fileno(), number)
        thread.join()
        loop._poll(0)
        loop.remove_reader(number)
        for _ in range(5):
            thread = wait_in(loop, poll)
            loop.add_reader(good, int)
            loop.remove_reader(good)
            loop.call_soon_threadsafe(int)
            thread.join()
        os.close(number)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("wait", [poll, turn])
def test_a_child_has_no_second_thread(loop, no_switches, wait):
    thread = wait_in(loop, wait)
    child = os.fork()
    if child == 0:
        try:
            loop._run_once()
            answer = loop.run_until_complete(asyncio.sleep(0.01, 7))
            loop.close()
            os._exit(answer)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    loop.call_soon_threadsafe(int)
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 7
    assert loop.run_until_complete(give("well")) == "well"


class AsksElsewhere:
    """At its end another thread asks the loop for something; it is waited for."""

    def __init__(self, loop, ask, seen):
        self.loop, self.ask, self.seen = loop, ask, seen

    def __del__(self):
        thread = threading.Thread(target=ask_and_note, args=(self.loop, self.ask, self.seen))
        thread.start()
        thread.join(5)


def ask_and_note(loop, ask, seen):
    try:
        seen.append(ask(loop))
    except RuntimeError as exc:
        seen.append(str(exc))


HOLDERS = {
    "call": lambda loop, sock, thing: loop.call_soon(print, thing),
    "timer": lambda loop, sock, thing: loop.call_later(60, print, thing),
    "reader": lambda loop, sock, thing: loop.add_reader(sock, print, thing),
    "signal": lambda loop, sock, thing: loop.add_signal_handler(signal.SIGUSR2, print, thing),
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("what", ["poll", "poll with a timeout", "turn", "run"])
def test_a_closing_loop_is_not_polled(loop, what, holder):
    spin(loop)
    seen = []
    near, far = socket.socketpair()
    with near, far:
        HOLDERS[holder](loop, near, AsksElsewhere(loop, SECOND[what][0], seen))
        loop.close()
    assert seen == ["Event loop is closed"]


def test_a_turn_whose_callback_closes_the_loop(loop):
    seen = []
    loop.call_soon(loop.close)
    loop.call_soon(seen.append, "dropped")
    loop._run_once()
    assert loop.is_closed() and seen == []
    with pytest.raises(RuntimeError, match="closed"):
        loop._run_once()
