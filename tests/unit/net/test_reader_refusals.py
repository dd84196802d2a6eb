"""What add_reader, add_writer and their removal refuse, and that a refusal leaves nothing behind.

Covers net/readers.c. Relies on the fixtures of tests/conftest.py.
"""

import contextlib
import errno
import os
import select
import tempfile

import pytest
from fd_support import WithFileno
from loop_support import spin

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize("bad", [None, "1", b"1", 1.5, object(), [], WithFileno(None), WithFileno("text")])
@pytest.mark.parametrize("method", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
def test_bad_objects(loop, method, bad):
    args = (print,) if method.startswith("add") else ()
    with pytest.raises(ValueError, match="Invalid file object"):
        getattr(loop, method)(bad, *args)


@pytest.mark.parametrize("bad", [-1, -100, WithFileno(-1)])
@pytest.mark.parametrize("method", ["add_reader", "add_writer", "remove_reader", "remove_writer"])
def test_negative_descriptors(loop, method, bad):
    args = (print,) if method.startswith("add") else ()
    with pytest.raises(ValueError, match="Invalid file descriptor: -"):
        getattr(loop, method)(bad, *args)


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_descriptors_beyond_an_int(loop, method):
    for bad in (2**31, 2**40, 2**64):
        with pytest.raises((OverflowError, OSError, ValueError)):
            getattr(loop, method)(bad, print)
    spin(loop)


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_descriptor_that_was_never_open(loop, method):
    with pytest.raises(OSError) as info:
        getattr(loop, method)(10**6, print)
    assert info.value.errno == 9
    spin(loop)
    assert loop.remove_reader(10**6) is False and loop.remove_writer(10**6) is False


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_regular_files_and_directories(loop, method):
    fd = os.open(tempfile.gettempdir(), os.O_RDONLY)
    with tempfile.TemporaryFile() as file:
        for each in (file, file.fileno(), fd):
            with pytest.raises(PermissionError):
                getattr(loop, method)(each, print)
            assert getattr(loop, method.replace("add", "remove"))(each) is False
    os.close(fd)
    spin(loop)


def test_missing_arguments(loop, pair):
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(TypeError):
            method()
        with pytest.raises(TypeError):
            method(pair[0])
    for method in (loop.remove_reader, loop.remove_writer):
        with pytest.raises(TypeError):
            method()
        with pytest.raises(TypeError):
            method(pair[0], print)


def kernel_sets():
    """Every descriptor of this process that is a kernel set of watched descriptors."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if "eventpoll" in target:
            found.append(int(name))
    return found


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_own_set(new_loop, method):
    """A loop cannot watch what it watches with; other loops' sets are as good as any descriptor."""
    before = set(kernel_sets())
    loop = new_loop()
    spin(loop)
    refusals = []
    for fd in sorted(set(kernel_sets()) - before):
        try:
            getattr(loop, method)(fd, print)
        except OSError as exc:
            refusals.append(exc.errno)
        loop.remove_reader(fd)
        loop.remove_writer(fd)
    assert refusals == [errno.EINVAL]
    spin(loop)


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_set_that_holds_the_loops(new_loop, method):
    before = set(kernel_sets())
    loop = new_loop()
    spin(loop)
    refusals = []
    for fd in sorted(set(kernel_sets()) - before):
        with select.epoll() as outer:
            outer.register(fd)
            try:
                getattr(loop, method)(outer.fileno(), print)
            except OSError as exc:
                refusals.append(exc.errno)
            loop.remove_reader(outer.fileno())
            loop.remove_writer(outer.fileno())
    assert refusals == [errno.ELOOP]
    spin(loop)


def test_number_becomes_the_loops_set(new_loop, pair):
    """The descriptor is closed behind the loop's back, and its number is that of a set that cannot be watched."""
    loop = new_loop()
    before = set(kernel_sets())
    spin(loop)
    own = [fd for fd in kernel_sets() if fd not in before]
    left, right = pair
    copy = os.dup(left.fileno())
    loop.add_reader(copy, print)
    spin(loop)
    with select.epoll() as outer:
        for fd in own:
            outer.register(fd)
        os.dup2(outer.fileno(), copy)
        with contextlib.suppress(OSError):
            loop.add_writer(copy, print)
        right.send(b"x")
        spin(loop)
        loop.remove_writer(copy)
        loop.remove_reader(copy)
        os.close(copy)
    spin(loop)
