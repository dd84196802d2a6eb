"""What is done when `run`, or a thread of `run_threads`, has ended: as asyncio.run does it, whoever made the tasks.

Covers loopmod/ending.py, which stands for asyncio's own end on builds without the GIL; the tests run on every build.
"""

import asyncio
import contextlib
import sys
import sysconfig
import threading
from asyncio import runners, tasks

import pytest
from gil_support import HAS_GIL

import loopmod

pytestmark = pytest.mark.timeout(60)

NEEDS_FREE_THREADING = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="asyncio's own end serves with the GIL"
)


def run_in_a_thread(main):
    [result] = loopmod.run_threads(lambda: main, threads=1)
    return result


WAYS = {"asyncio": asyncio.run, "run": loopmod.run, "thread": run_in_a_thread}


@pytest.fixture(params=WAYS)
def run(request):
    return WAYS[request.param]


class Wakes(asyncio.Task):
    """A class of tasks of the program's own."""


def by_foreign_thread(coro):
    """A stdlib task that another thread makes for the running loop: call_soon() is any thread's, though it wakes
    nobody."""
    loop = asyncio.get_running_loop()
    made = []
    thread = threading.Thread(target=lambda: made.append(asyncio.Task(coro, loop=loop)))
    thread.start()
    thread.join()
    return made[0]


def by_own_type_in_foreign_thread(coro):
    loop = asyncio.get_running_loop()
    made = []
    thread = threading.Thread(target=lambda: made.append(loopmod.Task(coro, loop=loop)))
    thread.start()
    thread.join()
    return made[0]


def by_factory(coro):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(lambda loop, coro, **kwargs: asyncio.Task(coro, loop=loop, **kwargs))
    task = loop.create_task(coro)
    loop.set_task_factory(None)
    return task


def eagerly(coro):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    task = loop.create_task(coro)
    loop.set_task_factory(None)
    return task


MAKERS = {
    "the loop": lambda coro: asyncio.get_running_loop().create_task(coro),
    "factory": by_factory,
    "stdlib": lambda coro: asyncio.Task(coro, loop=asyncio.get_running_loop()),
    "subclass": lambda coro: Wakes(coro, loop=asyncio.get_running_loop()),
    "foreign thread": by_foreign_thread,
}
if HAS_GIL:  # else refused
    MAKERS["foreign thread, own type"] = by_own_type_in_foreign_thread
if sys.version_info >= (3, 12):
    MAKERS["eager"] = eagerly
if sys.version_info < (3, 14):  # from there on asyncio itself does not find them
    MAKERS["in Python"] = lambda coro: tasks._PyTask(coro, loop=asyncio.get_running_loop())


@pytest.mark.parametrize("maker", MAKERS)
def test_tasks_that_are_left_are_cancelled(run, maker):
    ended = []

    async def left():
        try:
            await asyncio.sleep(1000)
        finally:
            await asyncio.sleep(0)
            ended.append(asyncio.current_task())

    async def main():
        task = MAKERS[maker](left())
        while not getattr(task.get_coro(), "cr_await", None):
            await asyncio.sleep(0)
        return task

    task = run(main())
    assert ended == [task]
    assert task.cancelled()


def test_what_fails_at_the_end_is_told_to_the_exception_handler(run):
    told = []

    async def left():
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            raise ValueError("late") from None

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: told.append(context))
        task = asyncio.ensure_future(left())
        await asyncio.sleep(0)
        return task

    task = run(main())
    [context] = told
    assert context["task"] is task
    assert context["exception"] is task.exception()
    assert context["message"] == "unhandled exception during asyncio.run() shutdown"
    assert sorted(context) == ["exception", "message", "task"]


def test_generators_and_executor_are_shut_down_and_the_loop_closed(run):
    steps = []

    async def generator():
        try:
            yield 1
        finally:
            await asyncio.sleep(0)
            steps.append("generator")

    async def main():
        loop = asyncio.get_running_loop()
        values = generator()
        await anext(values)
        thread = await loop.run_in_executor(None, threading.current_thread)
        return loop, thread, values

    loop, thread, _ = run(main())
    assert steps == ["generator"]
    assert not thread.is_alive()
    assert loop.is_closed()


def test_the_end_comes_where_main_fails(run):
    async def left(closed):
        try:
            await asyncio.sleep(1000)
        finally:
            closed.append(asyncio.get_running_loop())

    closed = []

    async def main():
        kept.append(asyncio.ensure_future(left(closed)))
        await asyncio.sleep(0)
        raise SystemExit(3)

    kept = []
    with pytest.raises(SystemExit):
        run(main())
    assert closed[0].is_closed()
    assert kept[0].cancelled()


def test_no_loop_is_running_afterwards(run):
    async def main():
        asyncio.ensure_future(asyncio.sleep(1000))

    run(main())
    assert asyncio._get_running_loop() is None


def test_what_the_end_raises_leaves_the_loop_closed(run):
    loops = []

    async def main():
        loop = asyncio.get_running_loop()
        loops.append(loop)
        loop.set_exception_handler(lambda loop, context: None)
        loop.shutdown_asyncgens = fail

    def fail():
        raise LookupError("no generators")

    with contextlib.suppress(ExceptionGroup), pytest.raises(LookupError):
        run(main())
    assert loops[0].is_closed()


@pytest.mark.parametrize("owner, name", [(tasks, "all_tasks"), (runners, "_cancel_all_tasks")])
def test_patches_of_asyncio_are_called(run, monkeypatch, owner, name):
    plain = getattr(owner, name)
    called = []

    def patched(loop):
        called.append(asyncio._get_running_loop())
        return plain(loop)

    async def main():
        monkeypatch.setattr(owner, name, patched)

    run(main())
    assert called == [None]


def test_a_patched_close_is_called(run, monkeypatch):
    plain = asyncio.Runner.close
    called = []

    def patched(self):
        called.append(self)
        plain(self)

    async def main():
        monkeypatch.setattr(asyncio.Runner, "close", patched)

    run(main())
    assert len(called) == 1


@NEEDS_FREE_THREADING
@pytest.mark.parametrize("way", ["run", "thread"])
def test_asking_for_the_tasks_stops_nobody(way):
    """all_tasks() stops the other threads but where the loop runs in the thread that asks."""
    asked = []

    def profile(frame, event, arg):
        if event == "c_call" and arg is tasks.all_tasks:
            asked.append(asyncio._get_running_loop())

    async def main():
        sys.setprofile(profile)
        return asyncio.get_running_loop()

    try:
        loop = WAYS[way](main())
    finally:
        sys.setprofile(None)
    assert asked == [loop]
