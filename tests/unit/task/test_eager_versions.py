"""Eager tasks where releases of asyncio differ (names, refusals, texts, other threads): as asyncio's own loop.

Covers task/factory.c and loopmod/eager_factory.py, which finds out what is so in the running version.
"""

import asyncio
import re
import sys
import textwrap
import threading
import types

import pytest
from eager_support import same_as_on_asyncio, shown, waits
from loop_support import until
from task_support import gives
from tcp_support import only_loopmod

if sys.version_info < (3, 12):
    pytest.skip("eager tasks came with 3.12", allow_module_level=True)

FREE_THREADED = not getattr(sys, "_is_gil_enabled", lambda: True)()


def test_names(loop):
    class Text:
        def __str__(self):
            return "text"

    async def program(loop):
        inside = []

        async def names(*renamed):
            inside.append(asyncio.current_task().get_name())
            for name in renamed:
                asyncio.current_task().set_name(name)

        found = []
        for name in (None, "name", "", 7, Text()):
            found.append(loop.create_task(names(), name=name).get_name())
            found.append(asyncio.create_task(names("renamed"), name=name).get_name())
        found.append(loop.create_task(names()).get_name())
        found.append(loop.create_task(names("renamed")).get_name())
        async with asyncio.TaskGroup() as group:
            found.append(group.create_task(names()).get_name())
            found.append(group.create_task(names(), name="of a group").get_name())
        return found, inside

    same_as_on_asyncio(loop, program)


def test_name_that_has_no_text(loop):
    class Bad:
        def __str__(self):
            raise LookupError("no text")

    async def program(loop):
        began = []

        async def begins():
            began.append(asyncio.current_task())
            await asyncio.sleep(0)
            began.append("ended")

        coro = begins()
        try:
            loop.create_task(coro, name=Bad())
        except LookupError as exc:
            found = [str(exc), len(began)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        coro.close()
        return found, began[1:], asyncio.all_tasks() == {asyncio.current_task()}

    found, _, _ = same_as_on_asyncio(loop, program)
    assert found[0] == "no text"


@pytest.mark.skipif(sys.version_info < (3, 14), reason="3.13 may name such tasks None, 3.12 has no eager_start")
def test_default_names_count(loop, run, eager):
    async def main():
        tasks = [loop.create_task(waits(), eager_start=bool(i % 2)) for i in range(6)]
        return [task.get_name() for task in tasks]

    names = run(main())
    first = int(names[0].removeprefix("Task-"))
    assert names == [f"Task-{first + i}" for i in range(6)]


REFUSED = [
    ((), {"bogus": 1}),
    ((1,), {}),
    ((), {"loop": None}),
    ((), {"eager_start": True, "bogus": 1}),
]


@pytest.mark.parametrize(("args", "keywords"), REFUSED)
def test_refused_arguments(loop, args, keywords):
    async def program(loop):
        coro = gives("taken")
        try:
            task = loop.create_task(coro, *args, **keywords)
        except (TypeError, AttributeError, RuntimeError) as exc:
            return type(exc), str(exc)
        finally:
            await asyncio.sleep(0)
            coro.close()
        return task

    same_as_on_asyncio(loop, program)


@pytest.mark.parametrize("what", [1, "text", gives, None])
def test_no_coroutine(loop, what):
    async def program(loop):
        try:
            loop.create_task(what)
        except TypeError as exc:
            return str(exc)

    assert "a coroutine was expected" in same_as_on_asyncio(loop, program)


def test_coroutine_by_keyword(loop, run, eager):
    async def main():
        assert await loop.create_task(coro=gives("by keyword")) == "by keyword"

    run(main())


def test_repr(loop):
    async def program(loop):
        inside = []

        async def looks(error=None):
            inside.append(re.sub(r"\d+", "N", shown(asyncio.current_task())))
            if error is not None:
                raise error

        found = [asyncio.create_task(looks(), name="quick"), asyncio.create_task(looks(ValueError("x")), name="bad")]
        found.append(asyncio.create_task(waits(), name="slow"))
        texts = [shown(task) for task in found]
        await asyncio.wait(found)
        return inside, texts, [shown(task) for task in found]

    same_as_on_asyncio(loop, program)


def test_source_traceback(loop):
    """In debug mode: a task's stack ends in asyncio's create_task and factory, which no frame of the caller's is."""

    async def program(loop):
        inside = []

        async def looks():
            inside.append(asyncio.current_task()._source_traceback)
            await asyncio.sleep(0)

        task = loop.create_task(looks())
        stack = task._source_traceback
        await task
        return inside[0] == stack, [
            (frame.filename, frame.lineno, frame.name, frame.line) for frame in (stack or [])[-3:]
        ]

    _, frames = same_as_on_asyncio(loop, program)
    assert [name for _, _, name, _ in frames] == ["program", "create_task", "factory"] * loop.get_debug()


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
def test_from_another_thread(loop, kind):
    """The first step runs there, or it is refused, by version; without the GIL a loop of ours refuses it."""

    async def program(loop):
        where, outcome = [], []

        async def tells():
            where.append(threading.current_thread().name)
            await asyncio.sleep(0)
            where.append(threading.current_thread().name)

        coro = tells()

        def body():
            try:
                outcome.append(type(loop.create_task(coro)).__name__)
            except RuntimeError:
                outcome.append("refused")

        loop.set_debug(False)  # in which asyncio refuses the next step half-way
        thread = threading.Thread(target=body, name="other")
        thread.start()
        await until(lambda: not thread.is_alive())
        thread.join()
        for _ in range(3):
            await asyncio.sleep(0)
        coro.close()
        return where, outcome

    if kind == "loopmod" and FREE_THREADED:
        loop.set_task_factory(asyncio.eager_task_factory)
        assert loop.run_until_complete(program(loop)) == ([], ["refused"])
    elif sys.version_info < (3, 14):
        assert same_as_on_asyncio(loop, program) == (["other", "MainThread"], ["Task"])
    else:
        assert same_as_on_asyncio(loop, program) == ([], ["refused"])


def module_of(source):
    """A module in the place of one of asyncio's, with other code."""
    module = types.ModuleType("stand_in")
    exec(textwrap.dedent(source), vars(module))
    return module


CREATE_TASK = """
    def _set_task_name(task, name):
        if name is not None:
            task.set_name(name)

    class BaseEventLoop:
        def create_task(self, coro, *, name=None, context=None, **kwargs):
            self._check_closed()
            {}
            return task
"""


NAMES = [
    ("task = self._task_factory(self, coro); _set_task_name(task, name)", 1),
    ("task = self._task_factory(self, coro); task.set_name(name)", 2),
    ("task = self._task_factory(self, coro, **kwargs); task.set_name(name)", 2),
    ("task = self._task_factory(self, coro, **kwargs | ({} if name is None else {'name': name}))", 0),
    ("task = self._task_factory(self, coro, name=name); task.set_name(name)", None),
    ("task = self._task_factory(self, coro); task.set_name('always')", None),
]


@pytest.mark.parametrize(("body", "expected"), NAMES)
def test_who_names_tasks(kind, monkeypatch, body, expected):
    only_loopmod(kind, "asks loopmod")
    from loopmod import eager_factory

    base_events = module_of(CREATE_TASK.replace("{}", body, 1))
    monkeypatch.setattr(eager_factory, "base_events", base_events)
    assert eager_factory._names_after() == expected
    create_task = base_events.BaseEventLoop.create_task
    create_task.__code__ = create_task.__code__.replace(co_consts=(*create_task.__code__.co_consts, print))
    assert eager_factory._names_after() is None
    base_events.BaseEventLoop.create_task = lambda self, coro, **kwargs: None
    assert eager_factory._names_after() is None


FACTORY = """
    def create_eager_task_factory(custom_task_constructor):
        def factory({}):
            return {}

        return factory

    eager_task_factory = create_eager_task_factory(int)
"""


SHAPES = [
    ("loop, coro, *, name=None, context=None", "custom_task_constructor(coro, loop=loop, name=name)", 2),
    ("loop, coro, *, eager_start=True, **kwargs", "custom_task_constructor(coro, **kwargs)", 1),
    ("loop, coro, *, eager_start=True, **kwargs", "print(custom_task_constructor(coro, **kwargs))", None),
    ("loop, coro, *, eager_start=True, **kwargs", "eager_start", None),
    ("loop, coro, more=1, *, eager_start=True", "custom_task_constructor(coro)", None),
    ("loop, coro, *, eager_start=True, more=1", "custom_task_constructor(coro)", None),
    ("loop, coro", "custom_task_constructor(coro)", None),
]


@pytest.mark.parametrize(("parameters", "body", "expected"), SHAPES)
@pytest.mark.parametrize("left", ["eager_task_factory", "create_eager_task_factory"])
def test_which_factory_is_known(kind, monkeypatch, parameters, body, expected, left):
    """By whichever of the two names still leads to asyncio's code."""
    only_loopmod(kind, "asks loopmod")
    from loopmod import eager_factory

    stand_in = module_of(FACTORY.replace("{}", parameters, 1).replace("{}", body, 1))
    code = stand_in.eager_task_factory.__code__
    for name in {"eager_task_factory", "create_eager_task_factory"} - {left}:
        setattr(stand_in, name, print)
    monkeypatch.setattr(eager_factory, "tasks", stand_in)
    found = eager_factory.stock_eager_factory()
    if expected is None:
        assert found is None
    else:
        assert found[0] is code
        assert len(found) == 2 + 2 * expected
