"""What add_reader, add_writer and their removal refuse, and that a refusal leaves nothing behind.

Relies on the fixtures of tests/conftest.py.
"""

import os
import socket
import tempfile

import pytest

pytestmark = pytest.mark.timeout(30)


def spin(loop, turns=1):
    """Run exactly `turns` turns, each in a run of its own."""
    for _ in range(turns):
        loop.call_soon(loop.stop)
        loop.run_forever()


@pytest.fixture
def pair():
    """A connected socket pair, non-blocking."""
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    yield left, right
    left.close()
    right.close()


class WithFileno:
    """Anything with a fileno() method may be watched."""

    def __init__(self, fd):
        self.fd = fd

    def fileno(self):
        return self.fd


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
