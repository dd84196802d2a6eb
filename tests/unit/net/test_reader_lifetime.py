"""Descriptors that are closed, reused, duplicated or shared with a transport while a loop watches them.

Covers net/readers.c and poll/watch.c. Relies on the fixtures of tests/conftest.py. None of this may harm the loop;
where asyncio itself would hang, the test says so and runs on loopmod alone.
"""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import weakref

import pytest
from loop_support import Thing, spin

pytestmark = pytest.mark.timeout(30)


def check_well(loop):
    """The loop still delivers callbacks, timers and I/O."""
    seen = []
    left, right = socket.socketpair()
    with left, right:
        left.setblocking(False)

        def readable():
            # The number may be one under which the kernel still reports a closed descriptor.
            with contextlib.suppress(BlockingIOError):
                seen.append(left.recv(1))
                loop.stop()

        loop.add_reader(left, readable)
        loop.call_later(0.001, right.send, b"x")
        loop.run_forever()
        assert loop.remove_reader(left) is True
    assert seen == [b"x"]


def test_closed_in_the_same_turn(loop):
    seen = []
    left, right = socket.socketpair()
    fd = left.fileno()

    def add_and_close():
        loop.add_reader(fd, seen.append, "read")
        loop.add_writer(fd, seen.append, "write")
        left.close()

    loop.call_soon(add_and_close)
    spin(loop, 3)
    assert seen == []
    for remove in (loop.remove_reader, loop.remove_writer):
        # asyncio may fail with EBADF here, and has then removed both.
        with contextlib.suppress(OSError):
            remove(fd)
    assert loop.remove_reader(fd) is False and loop.remove_writer(fd) is False
    right.close()
    check_well(loop)


def test_closed_while_watched(loop):
    seen = []
    left, right = socket.socketpair()
    fd = left.fileno()
    loop.add_reader(fd, seen.append, "read")
    spin(loop)
    left.close()
    spin(loop, 2)
    assert seen == []
    assert loop.remove_reader(fd) is True
    assert loop.remove_reader(fd) is False
    right.close()
    check_well(loop)


def test_closed_by_its_own_callback(loop):
    seen = []
    left, right = socket.socketpair()
    right.send(b"x")
    fd = left.fileno()

    def readable():
        seen.append("read")
        left.close()

    loop.add_reader(fd, readable)
    spin(loop, 3)
    assert seen == ["read"]
    assert loop.remove_reader(fd) is True
    right.close()
    check_well(loop)


def test_socket_object_removed_after_its_close(loop):
    # A closed socket has no descriptor to tell; the object itself is remembered.
    left, right = socket.socketpair()
    loop.add_reader(left, print)
    left.close()
    assert left.fileno() == -1
    assert loop.remove_reader(left) is True
    with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
        loop.remove_reader(left)
    right.close()
    check_well(loop)


def test_closed_socket_object(loop):
    left, right = socket.socketpair()
    left.close()
    right.close()
    for method, args in (
        (loop.add_reader, (print,)),
        (loop.add_writer, (print,)),
        (loop.remove_reader, ()),
        (loop.remove_writer, ()),
    ):
        with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
            method(left, *args)


@pytest.mark.parametrize("direction", ["reader", "writer"])
def test_closed_and_reused_number(loop, kind, direction):
    if kind == "asyncio":
        pytest.skip("asyncio never hears of a descriptor that took over a watched number")
    seen = []
    # First have the loop open all descriptors of its own, lest one of them takes the number.
    loop.run_until_complete(asyncio.sleep(0.001))
    left, right = socket.socketpair()
    add, remove = getattr(loop, "add_" + direction), getattr(loop, "remove_" + direction)
    fd = left.fileno()
    add(fd, seen.append, "old")
    left.close()
    spin(loop)
    new, peer = socket.socketpair()
    if new.fileno() != fd:
        with pytest.raises(OSError):
            os.fstat(fd)
        os.dup2(new.fileno(), fd)
    del seen[:]
    add(fd, lambda: (seen.append("new"), remove(fd), loop.stop()))
    peer.send(b"x")
    watchdog = loop.call_later(20, loop.stop)
    loop.run_forever()
    watchdog.cancel()
    assert seen == ["new"]
    if new.fileno() != fd:
        os.close(fd)
    for sock in (right, new, peer):
        sock.close()


def test_removed_closed_and_reused_number(loop):
    seen = []
    for number in range(20):
        left, right = socket.socketpair()
        fd = left.fileno()
        right.send(b"x")
        loop.add_reader(fd, seen.append, number)
        spin(loop)
        assert loop.remove_reader(fd) is True
        left.close()
        right.close()
    assert seen == list(range(20))


def test_duplicated_descriptors(loop):
    seen = []
    left, right = socket.socketpair()
    copy = left.dup()
    right.send(b"x")
    loop.add_reader(left, seen.append, "original")
    loop.add_reader(copy, seen.append, "copy")
    spin(loop)
    assert sorted(seen) == ["copy", "original"]
    assert loop.remove_reader(left) is True
    left.close()
    spin(loop)
    assert seen[2:] == ["copy"]
    assert loop.remove_reader(copy) is True
    copy.close()
    right.close()


def test_watched_descriptor_closed_while_a_duplicate_lives(loop):
    # The kernel goes on reporting such a descriptor under its closed number.
    left, right = socket.socketpair()
    fd, copy = left.fileno(), os.dup(left.fileno())
    right.send(b"x")
    loop.add_reader(fd, lambda: None)
    spin(loop)
    left.close()
    spin(loop, 3)
    loop.remove_reader(fd)
    spin(loop, 3)
    check_well(loop)
    os.close(copy)
    right.close()
    check_well(loop)


def test_two_thousand_descriptors(loop):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2600 if hard == resource.RLIM_INFINITY else min(2600, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    open_now = len(os.listdir("/proc/self/fd"))
    count = 1000 if soft == resource.RLIM_INFINITY else min(1000, (soft - open_now - 100) // 2)
    assert count > 50
    seen, written = set(), set()
    with contextlib.ExitStack() as stack:
        pairs = [tuple(map(stack.enter_context, socket.socketpair())) for _ in range(count)]

        def readable(number):
            seen.add((number, pairs[number][0].recv(1)))
            loop.remove_reader(pairs[number][0])

        def writable(number):
            written.add(number)
            pairs[number][1].send(b"x")
            loop.remove_writer(pairs[number][1])

        for number, (left, right) in enumerate(pairs):
            loop.add_reader(left, readable, number)
            loop.add_writer(right, writable, number)

        def finished():
            if len(seen) == count:
                loop.stop()
            else:
                loop.call_soon(finished)

        finished()
        loop.run_forever()
        assert seen == {(number, b"x") for number in range(count)} and len(written) == count


def test_descriptor_of_a_transport(loop):
    left, right = socket.socketpair()
    fd = left.fileno()
    transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=left))
    for each in (fd, left):
        for method, args in (
            (loop.add_reader, (print,)),
            (loop.add_writer, (print,)),
            (loop.remove_reader, ()),
            (loop.remove_writer, ()),
        ):
            with pytest.raises(RuntimeError, match="is used by transport"):
                method(each, *args)
    copy = os.dup(fd)
    loop.add_writer(copy, print)
    assert loop.remove_writer(copy) is True
    os.close(copy)
    transport.close()
    spin(loop, 2)
    right.close()
    assert loop.remove_reader(fd) is False


def test_closed_loop(loop):
    left, right = socket.socketpair()
    loop.add_reader(left, print)
    loop.add_writer(left, print)
    loop.close()
    assert left.fileno() != -1
    left.send(b"still open")
    assert right.recv(20) == b"still open"
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(RuntimeError, match="Event loop is closed"):
            method(left, print)
    assert loop.remove_reader(left) is False
    assert loop.remove_writer(left) is False
    left.close()
    right.close()


@pytest.mark.parametrize("how", ["removed", "replaced", "closed"])
def test_callback_and_arguments_are_let_go(loop, how):
    left, right = socket.socketpair()
    right.send(b"x")
    thing = Thing()
    alive = weakref.ref(thing)
    loop.add_reader(left, thing.method, thing)
    loop.add_writer(left, thing.method, thing)
    del thing
    spin(loop)
    assert alive() is not None
    if how == "removed":
        loop.remove_reader(left)
        loop.remove_writer(left)
    elif how == "replaced":
        loop.add_reader(left, int)
        loop.add_writer(left, int)
    else:
        loop.close()
    gc.collect()
    assert alive() is None
    left.close()
    right.close()


def test_one_descriptor_on_two_loops(loop, new_loop):
    other = new_loop()
    left, right = socket.socketpair()
    right.send(b"x")
    seen = []
    loop.add_reader(left, seen.append, "first")
    other.add_reader(left, seen.append, "second")
    spin(loop)
    spin(other)
    assert seen == ["first", "second"]
    assert loop.remove_reader(left) is True
    spin(other)
    assert seen == ["first", "second", "second"]
    assert other.remove_reader(left) is True
    left.close()
    right.close()
