"""The order inside one turn: what was ready, then I/O, then timers; what these schedule waits a turn.

Covers core/run.c, core/ready.c and core/timers.c. Relies on the fixtures of tests/conftest.py. The generated cases
compare the sequence with that of a stock asyncio loop in the same test; a turn is counted by a callback that queues
itself again.
"""

import asyncio
import functools
import itertools
import socket
import threading

import pytest
from loop_support import spin

pytestmark = pytest.mark.timeout(120)

SOURCES = ("soon", "reader", "writer", "timer", "threadsafe", "future", "task")


class Scene:
    """Two socket pairs on one loop, and the seven kinds of event that can be made due on it.

    Each case has a loop and sockets of its own: the kernel reports descriptors in the order of their registration,
    and libev tells it late of those that are watched no more.
    """

    def __init__(self, loop):
        self.loop = loop
        self.turn = 0
        self.log = []

    def open(self):
        self.readable, self.writing_peer = socket.socketpair()
        self.writable, self.reading_peer = socket.socketpair()
        for sock in (self.readable, self.writable):
            sock.setblocking(False)
        self.writing_peer.send(b"x")
        self.turn, self.log = 0, []

    def close(self):
        for sock in (self.readable, self.writing_peer, self.writable, self.reading_peer):
            sock.close()

    def note(self, name, *args):
        """Log the event; have the I/O end and one more callback queued, which must wait a turn."""
        self.log.append((self.turn, name))
        if name == "reader":
            self.loop.remove_reader(self.readable)
        elif name == "writer":
            self.loop.remove_writer(self.writable)
        self.loop.call_soon(self.log_second, name)

    def log_second(self, name):
        self.log.append((self.turn, "after " + name))

    async def task(self):
        self.note("task")
        await asyncio.sleep(0)
        self.log.append((self.turn, "task step 2"))

    def make_due(self, name):
        """Make the event of this name due now."""
        loop = self.loop
        if name == "soon":
            loop.call_soon(self.note, name)
        elif name == "threadsafe":
            loop.call_soon_threadsafe(self.note, name)
        elif name == "timer":
            loop.call_at(loop.time() - 1, self.note, name)
        elif name == "reader":
            loop.add_reader(self.readable, self.note, name)
        elif name == "writer":
            loop.add_writer(self.writable, self.note, name)
        elif name == "future":
            future = loop.create_future()
            future.add_done_callback(functools.partial(self.note, "future"))
            future.set_result(None)
        elif name == "task":
            # Tasks are known only weakly to the loop.
            self.kept = loop.create_task(self.task())

    def count_turns(self, last):
        self.turn += 1
        if self.turn == last:
            self.loop.stop()
        else:
            self.loop.call_soon(self.count_turns, last)

    def from_outside(self, names):
        """Make the events due while the loop is not running; log three turns of one run."""
        self.open()
        self.loop.call_soon(self.count_turns, 3)
        for name in names:
            self.make_due(name)
        self.loop.run_forever()
        self.close()
        self.loop.close()
        return self.log

    def from_inside(self, names):
        """Make the events due from a callback of the first turn; log four turns, each a run of its own."""
        self.open()

        def start():
            for name in names:
                self.make_due(name)

        self.loop.call_soon(start)
        for _ in range(4):
            self.turn += 1
            spin(self.loop)
        self.close()
        self.loop.close()
        return self.log


@pytest.fixture
def scenes(new_loop, debug):
    """Makes a scene on a loop under test and the same on stock asyncio."""

    def make():
        oracle = asyncio.SelectorEventLoop()
        oracle.set_debug(debug)
        oracle.slow_callback_duration = 60.0
        return Scene(new_loop()), Scene(oracle)

    return make


def orders(size, kind):
    """The orders of so many events: of loopmod every one, of asyncio, a mere control, every seventh."""
    # Of the orders of six and seven, too, every seventh is enough, and takes a seventh of the time.
    step = 7 if size > 5 or kind == "asyncio" else 1
    return itertools.islice(itertools.permutations(SOURCES, size), None, None, step)


@pytest.mark.parametrize("size", range(1, len(SOURCES) + 1))
def test_every_order_made_due_before_the_run(kind, scenes, size):
    for names in orders(size, kind):
        tested, oracle = scenes()
        expected = oracle.from_outside(names)
        assert tested.from_outside(names) == expected, names
        assert len(expected) == 2 * size + ("task" in names)


@pytest.mark.parametrize("size", range(1, 5))
def test_every_order_made_due_by_a_callback(kind, scenes, size):
    for names in orders(size, kind):
        tested, oracle = scenes()
        assert tested.from_inside(names) == oracle.from_inside(names), names


def test_ready_then_io_then_timers(loop):
    log = Scene(loop).from_outside(("timer", "reader", "soon"))
    assert log == [
        (1, "soon"),
        (1, "reader"),
        (1, "timer"),
        (2, "after soon"),
        (2, "after reader"),
        (2, "after timer"),
    ]


def test_what_a_callback_schedules_waits_a_turn(loop):
    seen = []

    def again(depth):
        seen.append(depth)
        loop.call_soon(again, depth + 1)

    loop.call_soon(again, 0)
    for turn in range(5):
        spin(loop)
        assert seen == list(range(turn + 1))


def test_due_timer_scheduled_by_a_callback_waits_a_turn(loop):
    seen = []
    loop.call_soon(lambda: loop.call_at(0, seen.append, "timer"))
    spin(loop)
    assert seen == []
    spin(loop)
    assert seen == ["timer"]


def test_stop_finishes_the_turn(loop):
    seen = []
    loop.call_soon(seen.append, 1)
    loop.call_soon(loop.stop)
    loop.call_soon(seen.append, 2)
    loop.call_at(0, seen.append, 3)
    loop.call_soon(lambda: loop.call_soon(seen.append, 4))
    loop.run_forever()
    assert seen == [1, 2, 3]
    spin(loop)
    assert seen == [1, 2, 3, 4]


@pytest.mark.parametrize("count", [1, 2, 10, 1000])
def test_call_soon_is_first_in_first_out(loop, count):
    seen = []
    for number in range(count):
        (loop.call_soon_threadsafe if number % 3 == 1 else loop.call_soon)(seen.append, number)
    spin(loop)
    assert seen == list(range(count))


def test_growing_queue_keeps_its_order(loop):
    # The queue grows while it is being drained, from every fill level.
    seen, expected = [], []

    def spawn(name, children):
        seen.append(name)
        for number in range(children):
            loop.call_soon(spawn, (*name, number), children - 1)

    loop.call_soon(spawn, (), 5)
    level = [()]
    for children in range(5, -1, -1):
        expected += level
        level = [(*name, number) for name in level for number in range(children)]
    spin(loop, 6)
    assert seen == expected


def test_callbacks_of_a_future_keep_their_order(loop):
    seen = []
    future = loop.create_future()
    for number in range(10):
        future.add_done_callback(lambda future, number=number: seen.append(number))
    loop.call_soon(seen.append, "before")
    future.set_result(None)
    loop.call_soon(seen.append, "behind")
    spin(loop)
    assert seen == ["before", *range(10), "behind"]


def test_tasks_and_callbacks_share_one_queue(loop):
    seen = []

    async def task(name):
        for step in range(3):
            seen.append((name, step))
            await asyncio.sleep(0)

    tasks = []
    for name in range(3):
        loop.call_soon(seen.append, ("before", name))
        tasks.append(loop.create_task(task(name)))
    spin(loop, 4)
    assert seen == (
        [entry for name in range(3) for entry in (("before", name), (name, 0))]
        + [(name, step) for step in (1, 2) for name in range(3)]
    )


def test_waiters_of_one_future_wake_in_order(loop):
    seen = []
    future = loop.create_future()

    async def wait(name):
        await future
        seen.append(name)

    tasks = [loop.create_task(wait(name)) for name in range(5)]
    future.add_done_callback(lambda future: seen.append("callback first"))
    spin(loop)
    future.add_done_callback(lambda future: seen.append("callback last"))
    future.set_result(None)
    assert seen == []
    spin(loop)
    assert seen == ["callback first", 0, 1, 2, 3, 4, "callback last"]
    spin(loop)
    assert all(task.done() for task in tasks)


def test_thread_safe_calls_keep_their_place(loop):
    # A thread that was joined is over: what it queued stands between what was queued before and after it.
    seen = []

    def thread():
        loop.call_soon_threadsafe(seen.append, "thread 1")
        loop.call_soon_threadsafe(seen.append, "thread 2")

    def callback():
        loop.call_soon(seen.append, "before")
        other = threading.Thread(target=thread)
        other.start()
        other.join()
        loop.call_soon(seen.append, "behind")

    loop.call_soon(callback)
    spin(loop)
    assert seen == []
    spin(loop)
    assert seen == ["before", "thread 1", "thread 2", "behind"]


def test_thread_safe_calls_before_the_run(loop):
    seen = []
    other = threading.Thread(target=lambda: loop.call_soon_threadsafe(seen.append, "thread"))
    loop.call_soon(seen.append, "before")
    other.start()
    other.join()
    loop.call_soon(seen.append, "behind")
    spin(loop)
    assert seen == ["before", "thread", "behind"]


def test_timers_run_in_the_order_of_their_deadlines(loop):
    seen = []
    whens = [5, 3, 8, 1, 9, 2, 7, 4, 6, 0, -3, 2.5, 1e-9]
    for when in whens:
        loop.call_at(when, seen.append, when)
    spin(loop)
    assert seen == sorted(whens)


def test_timers_in_every_order(loop):
    for order in itertools.permutations(range(6)):
        seen = []
        for when in order:
            loop.call_at(when, seen.append, when)
        spin(loop)
        assert seen == list(range(6)), order


def test_timers_after_cancellations(loop):
    seen = []
    handles = {when: loop.call_at(when, seen.append, when) for when in [(i * 7919) % 503 for i in range(503)]}
    for when in range(0, 503, 3):
        handles[when].cancel()
    spin(loop)
    assert seen == [when for when in range(503) if when % 3]


def test_negative_delays_run_in_the_order_of_their_deadlines(loop):
    seen = []
    loop.call_later(-1, seen.append, -1)
    loop.call_later(-3, seen.append, -3)
    loop.call_later(-2, seen.append, -2)
    loop.call_later(0, seen.append, 0)
    spin(loop)
    assert seen == [-3, -2, -1, 0]


@pytest.mark.parametrize("count", [2, 10, 500])
def test_equal_deadlines_run_first_in_first_out(loop, kind, count):
    if kind == "asyncio":
        pytest.skip("asyncio's heap promises no order here")
    seen = []
    for number in range(count):
        loop.call_at(1.0, seen.append, number)
        loop.call_at(2.0, seen.append, count + number)
    spin(loop)
    assert seen == list(range(2 * count))


def test_turns_of_a_busy_loop_still_see_io_and_timers(loop):
    # However the polls are spread while work is ready, neither a byte nor a timer may be left for ever.
    seen = []
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)

        def readable():
            seen.append(left.recv(10))
            if len(seen) == 2:
                loop.stop()

        def due():
            seen.append("timer")
            if len(seen) == 2:
                loop.stop()

        def busy():
            loop.call_soon(busy)

        loop.add_reader(left, readable)
        loop.call_later(0.01, due)
        loop.call_later(0.005, right.send, b"x")
        loop.call_soon(busy)
        loop.run_forever()
        loop.remove_reader(left)
    assert sorted(seen, key=str) == [b"x", "timer"]
