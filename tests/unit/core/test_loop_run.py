"""Running, stopping and closing a loop: run_forever, run_until_complete, stop, close; what may leave them.

Covers core/run.c, core/loop_life.c and face/loop_run.c. Relies on the fixtures of tests/conftest.py. How loop
classes may be derived from is in test_loop_subclass.py.
"""

import asyncio
import gc
import sys
import threading
import warnings
import weakref

import pytest
from loop_support import Thing, give, nested_run_breaks_the_outer, spin

pytestmark = pytest.mark.timeout(30)


def test_states_over_a_life(loop):
    seen = []
    assert not loop.is_running() and not loop.is_closed()
    loop.call_soon(lambda: seen.append((loop.is_running(), loop.is_closed(), asyncio.get_running_loop())))
    spin(loop)
    assert seen == [(True, False, loop)]
    assert not loop.is_running() and not loop.is_closed()
    assert asyncio._get_running_loop() is None
    loop.close()
    assert not loop.is_running() and loop.is_closed()


def test_stop_before_run_makes_one_turn(loop):
    seen = []

    def first():
        seen.append("first")
        loop.call_soon(seen.append, "second")

    loop.stop()
    loop.call_soon(first)
    loop.run_forever()
    assert seen == ["first"]
    spin(loop)
    assert seen == ["first", "second"]


def test_stop_with_nothing_to_do(loop):
    loop.stop()
    loop.stop()
    loop.run_forever()
    # The pending stop was used up by that run.
    assert loop.run_until_complete(give(3)) == 3


def test_stop_from_another_thread(loop):
    thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(loop.stop))
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    assert not loop.is_running()


@pytest.mark.parametrize(
    "make",
    [
        lambda loop: give(7),
        lambda loop: loop.create_task(give(7)),
        lambda loop: asyncio.gather(*[loop.create_task(give(7))]),
    ],
)
def test_run_until_complete_returns_the_result(loop, make):
    assert loop.run_until_complete(make(loop)) in (7, [7])


def test_run_until_complete_of_a_plain_future(loop):
    future = loop.create_future()
    loop.call_soon(future.set_result, 7)
    assert loop.run_until_complete(future) == 7
    assert loop.run_until_complete(future) == 7


def test_run_until_complete_of_an_awaitable_object(loop):
    class Awaitable:
        def __await__(self):
            return give(11).__await__()

    assert loop.run_until_complete(Awaitable()) == 11


def test_run_until_complete_raises_what_the_coroutine_raised(loop):
    async def fail():
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        loop.run_until_complete(fail())
    future = loop.create_future()
    future.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(future)


@pytest.mark.parametrize(
    "make",
    [
        lambda other: other.create_future(),
        lambda other: other.create_task(give(1)),
    ],
)
def test_run_until_complete_refuses_the_future_of_another_loop(loop, new_loop, make):
    other = new_loop()
    future = make(other)
    with pytest.raises(ValueError, match="different loop"):
        loop.run_until_complete(future)
    future.cancel()
    spin(other, 2)
    assert loop.run_until_complete(give(1)) == 1


@pytest.mark.parametrize("value", [None, 3, "text", object(), [], give])
def test_run_until_complete_refuses_what_is_not_awaitable(loop, value):
    with pytest.raises(TypeError, match="awaitable is required"):
        loop.run_until_complete(value)
    assert loop.run_until_complete(give(1)) == 1


def test_loop_stopped_before_the_future_completed(loop):
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
        loop.run_until_complete(future)
    # The run left no callback behind that would stop a later one.
    future.set_result(None)
    seen = []
    loop.call_soon(loop.call_soon, loop.call_soon, seen.append, "third turn")
    loop.call_soon(loop.call_soon, loop.call_soon, loop.stop)
    loop.run_forever()
    assert seen == ["third turn"]


def test_run_while_running(loop, kind):
    async def main():
        future = loop.create_future()
        coro = give(1)
        if not nested_run_breaks_the_outer(kind):
            with pytest.raises(RuntimeError, match="This event loop is already running"):
                loop.run_forever()
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_until_complete(future)
        with pytest.raises(RuntimeError, match="This event loop is already running"):
            loop.run_until_complete(coro)
        # A refused coroutine is still the caller's.
        assert await coro == 1
        assert loop.is_running() and asyncio.get_running_loop() is loop
        assert asyncio.current_task() is not None
        return "ran"

    assert loop.run_until_complete(main()) == "ran"


def test_run_while_another_loop_runs_in_the_thread(loop, new_loop, kind):
    other = new_loop()

    async def main():
        if not nested_run_breaks_the_outer(kind):
            with pytest.raises(RuntimeError, match="while another loop is running"):
                other.run_forever()
        with pytest.raises(RuntimeError, match="while another loop is running"):
            other.run_until_complete(other.create_future())
        assert not other.is_running()
        assert asyncio.get_running_loop() is loop

    loop.run_until_complete(main())
    assert other.run_until_complete(give(5)) == 5


def test_run_a_loop_that_runs_in_another_thread(loop, kind):
    started = threading.Event()
    loop.call_soon(started.set)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        assert started.wait(30)
        assert loop.is_running()
        with pytest.raises(RuntimeError, match="already running"):
            loop.run_until_complete(loop.create_future())
        if not nested_run_breaks_the_outer(kind):
            with pytest.raises(RuntimeError, match="already running"):
                loop.run_forever()
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
    assert not loop.is_running()
    assert loop.run_until_complete(give(2)) == 2


def test_close_while_running(loop):
    async def main():
        with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
            loop.close()
        assert not loop.is_closed()
        return await give(1)

    assert loop.run_until_complete(main()) == 1


def test_close_twice_and_stop_after(loop):
    loop.close()
    loop.close()
    loop.stop()
    assert loop.is_closed()


@pytest.mark.parametrize(
    "use",
    [
        lambda loop: loop.run_forever(),
        lambda loop: loop.run_until_complete(loop.create_future()),
        lambda loop: loop.call_soon(print),
        lambda loop: loop.call_later(1, print),
        lambda loop: loop.call_at(1, print),
        lambda loop: loop.call_soon_threadsafe(print),
        lambda loop: loop.run_in_executor(None, print),
    ],
)
def test_closed_loop_refuses_work(loop, use):
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        use(loop)


def test_closed_loop_refuses_coroutines(loop):
    loop.close()
    coro = give(1)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(coro)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_until_complete(coro)
    coro.close()


def test_closed_loop_answers_questions(loop, debug):
    loop.close()
    assert loop.get_debug() is debug
    assert loop.time() > 0
    assert loop.get_exception_handler() is None
    assert loop.get_task_factory() is None
    assert "closed=True" in repr(loop)


def test_close_lets_go_of_what_was_queued(loop):
    thing = Thing()
    alive = weakref.ref(thing)
    loop.call_soon(print, thing)
    loop.call_later(3600, print, thing)
    loop.call_soon_threadsafe(print, thing)
    del thing
    assert alive() is not None
    loop.close()
    gc.collect()
    assert alive() is None


def test_repr(loop, debug):
    name = type(loop).__name__
    assert repr(loop) == f"<{name} running=False closed=False debug={debug}>"
    seen = []
    loop.call_soon(lambda: seen.append(repr(loop)))
    spin(loop)
    assert seen == [f"<{name} running=True closed=False debug={debug}>"]
    loop.close()
    assert repr(loop) == f"<{name} running=False closed=True debug={debug}>"


def test_one_loop_per_thread(new_loop):
    results, failures = [], []

    async def main(number):
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_later(0.001, done.set_result, number)
        total = 0
        for _ in range(50):
            total += await loop.create_task(give(1))
        return await done, total

    def work(number):
        try:
            loop = new_loop()
            results.append(loop.run_until_complete(main(number)))
            loop.close()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert sorted(results) == [(number, 50) for number in range(6)]


def test_many_runs_in_a_row(loop):
    assert [loop.run_until_complete(give(number)) for number in range(300)] == list(range(300))
    seen = []
    for number in range(300):
        loop.call_soon(seen.append, number)
        spin(loop)
    assert seen == list(range(300))


def test_runner_closes_the_loop(loop):
    async def main():
        asyncio.create_task(asyncio.sleep(3600))
        return asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        assert runner.get_loop() is loop
        assert runner.run(main()) is loop
        assert runner.run(give(2)) == 2
    assert loop.is_closed()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.run takes no loop_factory")
def test_asyncio_run(new_loop):
    assert asyncio.run(give(9), loop_factory=new_loop) == 9


def test_unclosed_loop_warns(loop):
    other = type(loop)()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del other
        gc.collect()
    texts = [str(w.message) for w in caught if w.category is ResourceWarning]
    assert any("unclosed event loop" in text for text in texts), texts
