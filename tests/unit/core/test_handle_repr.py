"""Texts, comparisons and hashes of handles, taken from asyncio's own Handle and TimerHandle.

Covers core/handle_type.c. Relies on the fixtures of tests/conftest.py. The oracle is built from asyncio.Handle with
a stand-in for the loop, so that the two texts can be compared on every Python version.
"""

import asyncio
import functools

import pytest

pytestmark = pytest.mark.timeout(30)


class Face:
    """The part of a loop that asyncio's handles look at."""

    def __init__(self, debug):
        self.debug = debug

    def get_debug(self):
        return self.debug

    def _timer_handle_cancelled(self, handle):
        pass


@pytest.fixture
def face(debug):
    """Stand-in for the loop under asyncio's own handles."""
    return Face(debug)


def plain(*args):
    pass


@functools.wraps(plain)
def wrapper(*args):
    pass


class Caller:
    """Bound methods and callable instances."""

    def method(self, *args):
        pass

    def __call__(self, *args):
        pass

    def __repr__(self):
        return "<a caller>"


CALLBACKS = {
    "function": plain,
    "lambda": lambda *args: None,
    "builtin": print,
    "type": dict,
    "method": Caller().method,
    "instance": Caller(),
    "wrapped": wrapper,
    "partial": functools.partial(plain, 1, key="value"),
    "nested partial": functools.partial(functools.partial(plain, 1), 2),
    "partial of builtin": functools.partial(print, end=""),
    "partial of method": functools.partial(Caller().method, "x" * 200),
}
ARGS = [(), (1,), ("text", None), ("x" * 500, list(range(100)))]


@pytest.fixture(params=sorted(CALLBACKS))
def callback(request):
    """One of the kinds of callable that have a text of their own."""
    return CALLBACKS[request.param]


@pytest.mark.parametrize("args", ARGS, ids=["none", "one", "two", "long"])
def test_handle(loop, face, callback, args):
    got, want = loop.call_soon(callback, *args), asyncio.Handle(callback, args, face)
    assert repr(got) == repr(want)
    assert got._repr_info() == want._repr_info()
    assert str(got) == repr(got)
    for handle in (got, want):
        handle.cancel()
    assert repr(got) == repr(want)
    loop.close()


@pytest.mark.parametrize("args", ARGS, ids=["none", "one", "two", "long"])
def test_timer(loop, face, callback, args):
    got, want = loop.call_at(7.25, callback, *args), asyncio.TimerHandle(7.25, callback, args, face)
    assert repr(got) == repr(want)
    assert got._repr_info() == want._repr_info()
    for handle in (got, want):
        handle.cancel()
    assert repr(got) == repr(want)
    loop.close()


def test_threadsafe(loop, face, callback):
    # Python 3.14 has a type of its own here, a private one, which shows its name.
    name = getattr(asyncio.events, "_ThreadSafeHandle", asyncio.Handle).__name__
    got, want = loop.call_soon_threadsafe(callback, 1), asyncio.Handle(callback, (1,), face)
    assert repr(got) == repr(want).replace("<Handle ", f"<{name} ", 1)
    loop.close()


def test_place_of_creation_in_debug_mode(loop, debug):
    line = test_place_of_creation_in_debug_mode.__code__.co_firstlineno
    handles = [
        loop.call_soon(plain),
        loop.call_later(1, plain),
        loop.call_at(1, plain),
        loop.call_soon_threadsafe(plain),
    ]
    for number, handle in enumerate(handles):
        assert repr(handle).endswith(f" created at {__file__}:{line + 3 + number}>") is debug
        assert f"plain() at {__file__}:{plain.__code__.co_firstlineno}" in repr(handle)
    loop.close()


@pytest.mark.parametrize("when", [0.0, -1.5, 1e300, 0.1, 12345678.987654321, float("inf")])
def test_when_in_the_text(loop, when):
    assert repr(loop.call_at(when, plain)).startswith(f"<TimerHandle when={when} ")
    handle = loop.call_at(when, plain)
    handle.cancel()
    assert repr(handle).startswith(f"<TimerHandle cancelled when={when}")
    loop.close()


def test_after_the_run(loop, face):
    got, want = loop.call_soon(plain, 1), asyncio.Handle(plain, (1,), face)
    timer, timer_want = loop.call_at(1.0, plain, 2), asyncio.TimerHandle(1.0, plain, (2,), face)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert repr(got) == repr(want)
    assert repr(timer) == repr(timer_want)


def test_during_the_run(loop, face):
    seen = []

    def callback():
        seen.append(repr(handle))

    handle, want = loop.call_soon(callback), asyncio.Handle(callback, (), face)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [repr(want)]


def test_text_of_a_subclass(loop, face):
    class Own(asyncio.Handle):
        pass

    assert repr(Own(plain, (1,), loop)).startswith("<Own plain(")
    loop.close()


def test_asyncios_own_handles_on_the_loop(loop):
    # Libraries build them by hand, and give them the loop.
    seen = []
    handle = asyncio.Handle(seen.append, (1,), loop)
    handle._run()
    timer = asyncio.TimerHandle(1.0, seen.append, (2,), loop)
    timer._run()
    timer.cancel()
    handle.cancel()
    assert seen == [1, 2] and timer.cancelled() and handle.cancelled()


def test_order_of_timers(loop):
    one, two = loop.call_at(1.0, plain), loop.call_at(2.0, plain)
    assert one < two and one <= two and two > one and two >= one
    assert not one > two and not one >= two and not two < one and not two <= one
    assert one != two and one == one and not one != one
    assert sorted([two, one]) == [one, two]
    assert hash(one) == hash(1.0) and hash(two) == hash(2.0)
    loop.close()


def test_equality_of_timers(loop):
    def other(*args):
        pass

    first, same = loop.call_at(5.0, plain, 1), loop.call_at(5.0, plain, 1)
    assert first == same and first <= same and first >= same and not first < same and not first > same
    assert {first: 1}[same] == 1
    different = [
        loop.call_at(5.0, plain, 2),
        loop.call_at(5.0, other, 1),
        loop.call_at(6.0, plain, 1),
        loop.call_at(5.0, plain),
    ]
    for timer in different:
        assert first != timer and not first == timer
    same.cancel()
    assert first != same
    assert not first <= same and not first >= same
    loop.close()


@pytest.mark.parametrize("other", [3, None, 1.0, "text", object()])
def test_comparison_with_other_things(loop, other):
    timer = loop.call_at(1.0, plain)
    assert timer != other and not timer == other
    for name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__"):
        assert getattr(timer, name)(other) is NotImplemented
    with pytest.raises(TypeError):
        assert timer < other
    loop.close()


def test_comparison_with_asyncios_own(loop, face):
    timer, own = loop.call_at(1.0, plain), asyncio.TimerHandle(2.0, plain, (), face)
    assert timer < own and own > timer and timer != own
    assert timer == asyncio.TimerHandle(1.0, plain, (), face)
    assert asyncio.TimerHandle(1.0, plain, (), face) == timer
    loop.close()


def test_plain_handles_compare_by_identity(loop):
    one, two = loop.call_soon(plain), loop.call_soon(plain)
    assert one == one and one != two and len({one, two}) == 2
    with pytest.raises(TypeError):
        assert one < two
    loop.close()
