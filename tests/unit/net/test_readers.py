"""add_reader, add_writer and their removal: what they call, what they return, what they refuse.

Covers net/readers.c. Relies on the fixtures of tests/conftest.py. Descriptors that are closed, reused or duplicated
while they are watched are in test_reader_lifetime.py.
"""

import asyncio
import contextlib
import contextvars
import os
import select
import socket
import threading
import time

import pytest
from fd_support import WithFileno
from gil_support import needs_gil
from loop_support import spin

pytestmark = pytest.mark.timeout(30)

VARIABLE = contextvars.ContextVar("VARIABLE", default="default")


@pytest.mark.parametrize(
    "name_it",
    [lambda sock: sock, lambda sock: sock.fileno(), lambda sock: WithFileno(sock.fileno())],
    ids=["socket", "int", "object"],
)
def test_names_of_a_descriptor(loop, pair, name_it):
    left, right = pair
    seen = []
    named = name_it(left)
    assert loop.add_reader(named, seen.append, "read") is None
    assert loop.add_writer(named, seen.append, "write") is None
    spin(loop)
    assert seen == ["write"]
    assert loop.remove_writer(named) is True
    right.send(b"x")
    spin(loop)
    assert seen == ["write", "read"]
    assert loop.remove_reader(named) is True
    spin(loop)
    assert seen == ["write", "read"]


def test_names_can_be_mixed(loop, pair):
    left, right = pair
    loop.add_reader(left, print)
    assert loop.remove_reader(left.fileno()) is True
    loop.add_reader(left.fileno(), print)
    assert loop.remove_reader(WithFileno(left.fileno())) is True
    assert loop.remove_reader(left) is False


def test_return_values_of_removal(loop, pair):
    left, right = pair
    assert loop.remove_reader(left) is False
    assert loop.remove_writer(left) is False
    loop.add_reader(left, print)
    assert loop.remove_writer(left) is False
    assert loop.remove_reader(left) is True
    assert loop.remove_reader(left) is False
    loop.add_writer(left, print)
    assert loop.remove_reader(left) is False
    assert loop.remove_writer(left) is True
    assert loop.remove_writer(left) is False
    assert loop.remove_reader(10**6) is False


def test_arguments_arrive(loop, pair):
    left, right = pair
    seen = []
    for args in ((), (1,), (1, 2), tuple(range(20))):
        loop.add_writer(left, lambda *got: seen.append(got), *args)
        spin(loop)
        assert seen[-1] == args
    loop.remove_writer(left)


def test_context_of_the_registration(loop, pair):
    left, right = pair
    seen = []

    def callback():
        seen.append(VARIABLE.get())
        VARIABLE.set("kept between calls")

    token = VARIABLE.set("at registration")
    loop.add_writer(left, callback)
    VARIABLE.reset(token)
    spin(loop, 2)
    loop.remove_writer(left)
    assert seen == ["at registration", "kept between calls"]
    assert VARIABLE.get() == "default"


def test_replaced_callback(loop, pair):
    left, right = pair
    seen = []
    right.send(b"x")
    assert loop.add_reader(left, seen.append, "old") is None
    assert loop.add_reader(left, seen.append, "new") is None
    loop.add_writer(left, seen.append, "old writer")
    loop.add_writer(left, seen.append, "new writer")
    spin(loop)
    assert sorted(seen) == ["new", "new writer"]
    assert loop.remove_reader(left) is True and loop.remove_reader(left) is False
    assert loop.remove_writer(left) is True and loop.remove_writer(left) is False


def test_level_triggered(loop, pair):
    left, right = pair
    calls = []

    def readable():
        calls.append(len(calls))
        if len(calls) == 5:
            loop.stop()

    loop.add_reader(left, readable)
    right.send(b"x")
    loop.run_forever()
    assert calls == [0, 1, 2, 3, 4]
    assert left.recv(10) == b"x"
    spin(loop)
    assert len(calls) == 5
    loop.remove_reader(left)


def test_both_directions(loop, pair):
    left, right = pair
    seen = []
    right.send(b"x")
    loop.add_writer(left, seen.append, "write")
    loop.add_reader(left, seen.append, "read")
    spin(loop)
    assert seen == ["read", "write"]
    assert loop.remove_reader(left) is True
    spin(loop)
    assert seen == ["read", "write", "write"]
    loop.add_reader(left, seen.append, "read")
    assert loop.remove_writer(left) is True
    spin(loop)
    assert seen == ["read", "write", "write", "read"]
    loop.remove_reader(left)


def test_removal_inside_the_callback(loop, pair):
    left, right = pair
    seen = []

    def readable():
        seen.append(loop.remove_reader(left))
        seen.append(loop.remove_reader(left))

    right.send(b"x")
    loop.add_reader(left, readable)
    spin(loop, 3)
    assert seen == [True, False]


def test_writer_removed_by_the_reader_of_the_same_turn(loop, pair):
    left, right = pair
    seen = []

    def readable():
        seen.append("read")
        loop.remove_writer(left)
        loop.remove_reader(left)

    right.send(b"x")
    loop.add_reader(left, readable)
    loop.add_writer(left, seen.append, "write")
    spin(loop, 2)
    assert seen == ["read"]


def test_removal_of_a_neighbour_that_fired_too(loop):
    pairs = [socket.socketpair() for _ in range(3)]
    seen = []

    def readable(number):
        seen.append(number)
        for left, _ in pairs:
            assert loop.remove_reader(left) is True

    for number, (left, right) in enumerate(pairs):
        loop.add_reader(left, readable, number)
        right.send(b"x")
    spin(loop, 2)
    assert len(seen) == 1
    for each in pairs:
        each[0].close()
        each[1].close()


def test_replacing_the_callback_of_a_neighbour_that_fired_too(loop):
    pairs = [socket.socketpair() for _ in range(2)]
    seen = []

    def readable(number):
        seen.append(number)
        other = 1 - number
        loop.remove_reader(pairs[number][0])
        loop.add_reader(pairs[other][0], replaced, other)

    def replaced(number):
        seen.append(("replaced", number))
        loop.remove_reader(pairs[number][0])

    for number, (left, right) in enumerate(pairs):
        loop.add_reader(left, readable, number)
        right.send(b"x")
    spin(loop)
    assert len(seen) == 1
    spin(loop)
    assert seen[1:] == [("replaced", 1 - seen[0])]
    for each in pairs:
        each[0].close()
        each[1].close()


def test_removed_and_added_again_between_turns(loop, pair):
    left, right = pair
    seen = []
    right.send(b"x")
    for number in range(5):
        loop.add_reader(left, seen.append, "dropped")
        loop.remove_reader(left)
        loop.add_reader(left, seen.append, number)
        spin(loop)
        loop.remove_reader(left)
        spin(loop)
    assert seen == list(range(5))


def test_end_of_file_is_readable(loop, pair):
    left, right = pair
    seen = []
    loop.add_reader(left, lambda: (seen.append(left.recv(10)), loop.remove_reader(left)))
    right.close()
    spin(loop)
    assert seen == [b""]


def test_pipe_whose_reader_has_gone(loop):
    # The way in which transports of pipes learn that the other side closed.
    reading, writing = os.pipe()
    seen = []
    loop.add_reader(writing, seen.append, "gone")
    spin(loop)
    assert seen == []
    os.close(reading)
    spin(loop)
    assert seen == ["gone"]
    assert loop.remove_reader(writing) is True
    os.close(writing)


def test_connection_refused_is_writable(loop):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = listener.getsockname()
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.connect_ex(address)
        loop.add_writer(sock, loop.stop)
        loop.run_forever()
        assert loop.remove_writer(sock) is True
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0


def test_failing_callback_stays_registered(loop, pair, errors):
    left, right = pair

    def readable():
        if len(errors) == 2:
            left.recv(10)
        raise ValueError("reader")

    right.send(b"x")
    loop.add_reader(left, readable)
    spin(loop, 3)
    assert [context["exception"].args for context in errors] == [("reader",)] * 3
    assert all(isinstance(context["handle"], asyncio.Handle) for context in errors)
    assert loop.remove_reader(left) is True


def test_keyboard_interrupt_loses_no_other_event(loop):
    pairs = [socket.socketpair() for _ in range(4)]
    seen = []

    def readable(number):
        # After an exit an event may be delivered twice: it was queued, and the next poll found it again.
        with contextlib.suppress(BlockingIOError):
            seen.append((number, pairs[number][0].recv(1)))
        if len(seen) == 2:
            raise KeyboardInterrupt("out")

    for number, (left, right) in enumerate(pairs):
        left.setblocking(False)
        loop.add_reader(left, readable, number)
        right.send(b"%d" % number)
    loop.call_at(0, seen.append, (4, b"timer"))
    with pytest.raises(KeyboardInterrupt, match="out"):
        loop.run_forever()
    assert len(seen) == 2
    spin(loop)
    assert sorted(seen) == [(0, b"0"), (1, b"1"), (2, b"2"), (3, b"3"), (4, b"timer")]
    for left, right in pairs:
        loop.remove_reader(left)
        left.close()
        right.close()


def test_kinds_of_descriptor(loop, pair):
    left, right = pair
    seen = []
    poller = select.epoll()
    poller.register(left, select.EPOLLIN)
    counter = os.eventfd(0, os.EFD_NONBLOCK)
    reading, writing = os.pipe()
    loop.add_reader(poller, seen.append, "epoll")
    loop.add_reader(counter, seen.append, "eventfd")
    loop.add_reader(reading, seen.append, "pipe")
    spin(loop)
    assert seen == []
    right.send(b"x")
    os.eventfd_write(counter, 1)
    os.write(writing, b"x")
    spin(loop)
    assert sorted(seen) == ["epoll", "eventfd", "pipe"]
    for each in (poller, counter, reading):
        assert loop.remove_reader(each) is True
    poller.close()
    for fd in (counter, reading, writing):
        os.close(fd)


@pytest.mark.parametrize("blocking", [True, False])
def test_blocking_mode_is_left_alone(loop, blocking):
    left, right = socket.socketpair()
    reading, writing = os.pipe()
    with left, right:
        for fd in (left.fileno(), reading, writing):
            os.set_blocking(fd, blocking)
        loop.add_reader(left, print)
        loop.add_reader(reading, print)
        loop.add_writer(writing, lambda: None)
        spin(loop)
        assert [os.get_blocking(fd) for fd in (left.fileno(), reading, writing)] == [blocking] * 3
        loop.remove_reader(left)
        loop.remove_reader(reading)
        loop.remove_writer(writing)
        spin(loop)
        assert [os.get_blocking(fd) for fd in (left.fileno(), reading, writing)] == [blocking] * 3
    os.close(reading)
    os.close(writing)


@needs_gil
def test_one_added_by_another_thread_is_seen_by_a_loop_that_sleeps(loop, pair):
    left, right = pair
    right.send(b"x")
    loop.call_later(3600, print)  # which it sleeps for

    def add():
        time.sleep(0.2)  # it passes as well where the loop does not sleep yet
        loop.add_reader(left, loop.stop)

    thread = threading.Thread(target=add)
    thread.start()
    loop.run_forever()
    thread.join()
    assert loop.remove_reader(left) is True


@pytest.mark.parametrize("kind", ["reader", "writer"])
def test_the_watch_of_a_cancelled_handle_ends(loop, pair, kind):
    """Where its descriptor is ready it is taken out: else the loop would be woken for nobody, for ever."""
    left, right = pair
    right.send(b"x")
    seen = []
    handle = getattr(loop, f"_add_{kind}")(left, seen.append, kind)
    handle.cancel()
    spin(loop)
    assert seen == []
    assert getattr(loop, f"remove_{kind}")(left) is False


def test_one_that_gets_ready_is_seen_beside_busy_callbacks(loop, pair):
    """The kernel is asked at least once in 64 turns; stock asyncio asks in every one."""
    left, right = pair
    turns, seen = 0, []

    def busy():
        nonlocal turns
        turns += 1
        if turns == 100:
            right.send(b"x")
        if seen or turns == 1000:
            loop.stop()
        else:
            loop.call_soon(busy)

    def readable():
        seen.append(turns)
        loop.remove_reader(left)

    loop.add_reader(left, readable)
    loop.call_soon(busy)
    loop.run_forever()
    assert seen and 100 <= seen[0] <= 100 + 66
    loop.remove_reader(left)
