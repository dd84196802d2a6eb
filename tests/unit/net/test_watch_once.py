"""A callback that runs once when a descriptor is readable: how the loop hears of a child's end.

Covers lm_readers_add_once (net/readers.c). It is the loop's own, so asyncio's loop has none of it.
"""

import asyncio
import gc
import os
import select
import socket
import time
import weakref

import pytest
from loop_support import spin

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def ours(kind):
    if kind.startswith("asyncio"):
        pytest.skip("a method of loopmod's loops")


def test_runs_once(loop, pair):
    left, right = pair
    seen = []
    handle = loop._watch_once(left.fileno(), lambda: seen.append("ran"))
    assert isinstance(handle, asyncio.Handle)
    assert loop._watched(left)[0] is handle
    spin(loop)
    assert seen == []
    right.send(b"x")
    spin(loop)
    assert seen == ["ran"]
    assert loop._watched(left)[0] is None
    spin(loop)
    assert seen == ["ran"]
    assert loop.remove_reader(left) is False


def test_runs_again_where_it_is_asked_again(loop, pair):
    left, right = pair
    right.send(b"x")
    for number in range(3):
        seen = []
        loop._watch_once(left.fileno(), lambda seen=seen: seen.append("ran"))
        spin(loop)
        assert seen == ["ran"], number


def test_next_descriptor_of_that_number(loop):
    """The number is closed in the callback, which forgets about the registration, copies of it or not."""
    numbers = set()
    for _ in range(4):
        left, right = socket.socketpair()
        copy = left.dup()
        numbers.add(left.fileno())
        seen = []
        loop._watch_once(left.fileno(), lambda left=left, seen=seen: (left.close(), seen.append("ran")))
        right.send(b"x")
        spin(loop)
        assert seen == ["ran"]
        copy.close()
        right.close()
    assert len(numbers) == 1


def test_ends_what_was_left_on_the_number(loop, pair):
    """A callback of a descriptor that was closed, whose number the new one has, is not called for it."""
    left, right = pair
    stale = []
    left.setblocking(False)
    loop.add_reader(left.fileno(), stale.append, "read")
    loop.add_writer(left.fileno(), stale.append, "write")
    number = left.detach()
    os.close(number)
    near, far = socket.socketpair()
    is_copy = near.fileno() != number
    if is_copy:
        os.dup2(near.fileno(), number)
    seen = []
    loop._watch_once(number, lambda: seen.append("ran"))
    far.send(b"x")
    spin(loop)
    assert seen == ["ran"]
    assert stale == []
    near.close()
    far.close()
    if is_copy:
        os.close(number)


@pytest.mark.parametrize("how", ["handle", "remove_reader", "add_reader", "closed_loop"])
def test_ended_before(new_loop, pair, how):
    left, right = pair
    loop = new_loop()
    seen = []

    def callback():
        seen.append("ran")

    gone = weakref.ref(callback)
    handle = loop._watch_once(left.fileno(), callback)
    del callback
    if how == "handle":
        handle.cancel()
    elif how == "remove_reader":
        assert loop.remove_reader(left) is True
        assert handle.cancelled()
    elif how == "add_reader":
        loop.add_reader(left, seen.append, "other")
        assert handle.cancelled()
    else:
        loop.close()
        del handle
        assert gone() is None
    right.send(b"x")
    if how != "closed_loop":
        spin(loop)
        loop.remove_reader(left)
    assert "ran" not in seen
    assert seen == [] or how == "add_reader"


def test_in_the_queue_it_can_be_cancelled(loop, pair):
    left, right = pair
    seen = []
    handle = loop._watch_once(left.fileno(), lambda: seen.append("ran"))
    right.send(b"x")
    loop.call_soon(handle.cancel)  # before it in the queue of the turn that polls
    spin(loop)
    assert seen == []


def test_a_failing_callback_is_reported(loop, pair):
    left, right = pair
    told = []
    loop.set_exception_handler(lambda loop, context: told.append(context))
    loop._watch_once(left.fileno(), lambda: 1 / 0)
    right.send(b"x")
    spin(loop)
    assert isinstance(told[0]["exception"], ZeroDivisionError)
    assert len(told) == 1


def test_interrupted_it_is_called_again(loop, pair):
    """What leaves the loop may have come before the callback did anything."""
    left, right = pair
    seen = []

    def callback():
        seen.append("ran")
        if len(seen) == 1:
            raise KeyboardInterrupt

    loop._watch_once(left.fileno(), callback)
    right.send(b"x")
    with pytest.raises(KeyboardInterrupt):
        spin(loop)
    assert seen == ["ran"]
    spin(loop, 3)
    assert seen == ["ran", "ran"]


@pytest.mark.parametrize("how", ["cancelled", "closed_loop"])
def test_interrupted_and_ended(new_loop, pair, how):
    left, right = pair
    loop = new_loop()
    seen = []

    def callback():
        seen.append("ran")
        if how == "cancelled":
            handle.cancel()
        raise SystemExit

    gone = weakref.ref(callback)
    handle = loop._watch_once(left.fileno(), callback)
    del callback
    right.send(b"x")
    with pytest.raises(SystemExit):
        spin(loop)
    if how == "cancelled":
        spin(loop, 3)
    else:
        loop.close()
        del handle
    gc.collect()
    assert seen == ["ran"]
    assert gone() is None


def test_seen_in_the_next_turn_beside_busy_callbacks(loop, pair):
    """As what add_reader() watches: whoever opened it may have found it ready."""
    left, right = pair
    turn, late = 0, []

    def tick():
        nonlocal turn
        turn += 1
        if turn % 100 == 10:
            loop._watch_once(left.fileno(), lambda began=turn: late.append(turn - began))
        loop.call_soon(tick if turn < 1000 else loop.stop)

    right.send(b"x")
    tick()
    loop.run_forever()
    assert late == [1] * 10


def test_what_is_refused(loop, tmp_path):
    with pytest.raises(TypeError):
        loop._watch_once(1)
    with pytest.raises(ValueError, match="-1"):
        loop._watch_once(-1, print)
    with pytest.raises(OSError):
        loop._watch_once(2**31 - 1, print)  # before room is made for so many
    with open(tmp_path / "file", "wb") as file, pytest.raises(PermissionError):
        loop._watch_once(file.fileno(), print)
    with open(tmp_path / "file", "rb") as file:
        number = file.fileno()
    with pytest.raises(OSError):
        loop._watch_once(number, print)
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop._watch_once(0, print)


def test_in_a_child_process(loop, pair):
    """The child that goes on with the loop hears of it by a registration of its own, and the parent too."""
    left, right = pair
    seen = []
    loop._watch_once(left.fileno(), lambda: seen.append("ran"))
    spin(loop)
    right.send(b"x")
    child = os.fork()
    if child == 0:
        try:
            spin(loop)
            os._exit(0 if seen == ["ran"] else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    spin(loop)
    assert seen == ["ran"]


def test_it_ends_a_wait(loop):
    """A running loop that sleeps without a deadline is woken, and by a pidfd."""
    child = os.posix_spawn("/bin/true", ["true"], os.environ)
    pidfd = os.pidfd_open(child)
    loop._watch_once(pidfd, loop.stop)
    began = time.monotonic()
    loop.run_forever()
    assert time.monotonic() - began < 20
    assert select.select([pidfd], [], [], 0)[0]
    os.close(pidfd)
    assert os.waitpid(child, 0)[1] == 0
