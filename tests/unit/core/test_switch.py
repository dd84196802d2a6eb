"""Other threads get their turn, and signal handlers theirs, while callbacks are made of C only.

Covers core/switch.c. By cause and not by time: the callbacks end only when the other thread has come as far as it
has to, which it cannot without the GIL. The interpreter switches by itself only where Python code runs, and none does
here; asyncio's own turn is Python.
"""

import _thread
import asyncio
import ctypes
import functools
import itertools
import os
import signal
import socket
import sys
import threading

import pytest
from gil_support import needs_gil

pytestmark = needs_gil

ROUNDS = 100


def repeated(loop, schedule, *args):
    """A callback of C only that schedules itself again."""
    again = functools.partial(schedule)
    again.__setstate__((schedule, (*args, again), {}, None))
    return again


class Counter:
    """A thread that counts up to ROUNDS, lets go of the GIL after each step and then stops the loop."""

    def __init__(self, loop, rounds=ROUNDS):
        self.loop, self.rounds, self.count = loop, rounds, 0
        self.thread = threading.Thread(target=self.work)

    def work(self):
        for _ in range(self.rounds):
            self.count += 1
            os.sched_yield()  # without the GIL: to go on takes a turn
        self.loop.call_soon_threadsafe(self.loop.stop)

    def run(self):
        self.thread.start()
        self.loop.run_forever()
        self.thread.join()
        assert self.count == self.rounds


@pytest.fixture(autouse=True)
def short_interval():
    """Shorter waits, so that the tests are, too; what matters is that they end."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.0005)
    yield
    sys.setswitchinterval(before)


def test_call_soon(loop):
    loop.call_soon(repeated(loop, loop.call_soon))
    Counter(loop).run()


def test_call_soon_of_many(loop):
    for _ in range(1000):
        loop.call_soon(repeated(loop, loop.call_soon))
    Counter(loop).run()


def test_timers(loop):
    for _ in range(10):
        loop.call_soon(repeated(loop, loop.call_later, 0))
    Counter(loop).run()


def test_reader(loop):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        loop.add_reader(ours, int)  # never read: ready in each turn
        Counter(loop).run()
        loop.remove_reader(ours)


class LongTurn:
    """A turn of C calls, long ones until the other thread has had its turns: many seconds if it never has any."""

    items = 20_000

    def __init__(self):
        self.room, self.ended, self.ended_at = list(range(5000)), itertools.count(), None
        self.long = functools.partial(dict.fromkeys, self.room)  # called with one argument or without

    def schedule(self, call):
        for _ in range(self.items):
            call(self.long)

    def work(self):
        for _ in range(5):
            os.sched_yield()
        self.room.clear()
        self.ended_at = next(self.ended)


def run_turn(loop, turn, thread=None):
    """Run what is scheduled; the other thread must have had its turns before the last of it."""
    loop.call_soon(turn.ended.__next__)
    loop.call_soon(loop.stop)
    if thread is not None:
        thread.start()
    loop.run_forever()
    while turn.ended_at is None:
        os.sched_yield()
    assert turn.ended_at == 0


def test_within_one_turn(loop):
    turn = LongTurn()
    turn.schedule(loop.call_soon)
    run_turn(loop, turn, threading.Thread(target=turn.work))


def test_done_callbacks_within_one_turn(loop):
    turn, future = LongTurn(), loop.create_future()
    turn.schedule(future.add_done_callback)
    future.set_result(None)
    run_turn(loop, turn, threading.Thread(target=turn.work))


def test_thread_that_starts_within_the_turn(loop):
    """No other thread is there when the turn begins, and no Python code runs after it has started one."""
    turn = LongTurn()
    loop.call_soon(_thread.start_new_thread, turn.work, ())
    turn.schedule(loop.call_soon)
    run_turn(loop, turn)


def test_loop_in_a_thread(new_loop):
    loop = new_loop()
    loop.call_soon(repeated(loop, loop.call_soon))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    for _ in range(ROUNDS):
        os.sched_yield()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


def test_signal_without_other_threads(loop):
    """Nothing but the interpreter's own look runs the handler."""
    seen = []

    def handler(signum, frame):
        seen.append(asyncio.current_task(loop))
        if len(seen) == 5:
            loop.stop()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        loop.call_soon(repeated(loop, loop.call_soon))
        loop.run_forever()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(seen) == {None}


def test_exception_for_the_loops_thread(new_loop, debug):
    """An exception that another thread sends (PyThreadState_SetAsyncExc) leaves the loop."""
    if debug:
        pytest.skip("it may come in Python code of debug mode, which reports it")
    loop = new_loop()
    caught = []

    class Sent(Exception):
        pass

    def work():
        loop.call_soon(repeated(loop, loop.call_soon))
        try:
            loop.run_forever()
        except Sent:
            caught.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    while not loop.is_running():
        os.sched_yield()
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Sent))
    thread.join()
    assert caught == [True]
