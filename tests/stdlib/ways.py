"""What is put in the place of asyncio's own classes before a module of CPython's suite is imported, per way.

A way is a set of replacements; `put` makes them in this process, which runs one module and ends:

- `loop`: every loop that a test makes is ours;
- `types`: `futures._CFuture` and `tasks._CTask` are ours, so that the classes for the C types test them, on the
  suite's own loop with its virtual clock; two classes more mix one of ours with one of the standard library's;
- `both`: as `types`, with our loop everywhere, also where the suite takes its own;
- `sync`: as `loop`, and the classes of asyncio.locks and asyncio.queues are ours, so that their own tests test them.

A test counts if one of our loops was made while it ran or if it used one of our types: `Uses` knows. The subject
is loopmod, or stock asyncio, which shows that the replacements themselves change no outcome.
Relies on where asyncio keeps its names, and on a few names of the suite.
"""

import asyncio
import importlib
import selectors
import types
import unittest
from asyncio import base_events, futures, locks, queues, selector_events, tasks, unix_events
from typing import NamedTuple

# Not by `import _asyncio`: where that comes before asyncio, 3.12 and 3.13 mix C and Python versions of its functions.
CFuture, CTask = futures._CFuture, tasks._CTask

WAYS = ("loop", "types", "both", "sync")
# Modules that know `_CFuture` and `_CTask`: the only ones in which replaced types are seen.
TYPE_MODULES = ("test_futures", "test_futures2", "test_tasks", "test_eager_task_factory", "test_free_threading")
# Those of the classes that `sync` replaces.
SYNC_MODULES = ("test_locks", "test_queues")
SYNC_CLASSES = ("Event", "Lock", "Semaphore", "BoundedSemaphore", "Queue", "PriorityQueue", "LifoQueue")


class Subject(NamedTuple):
    """The classes under test."""

    loop: type
    future: type
    task: type
    sync: dict[str, type]


def subject_named(name):
    """Return the classes of "loopmod" or of stock "asyncio"."""
    if name == "asyncio":
        stock = {name: getattr(asyncio, name) for name in SYNC_CLASSES}
        return Subject(asyncio.SelectorEventLoop, CFuture, CTask, stock)
    import loopmod

    sync = {name: getattr(loopmod, name) for name in SYNC_CLASSES}
    return Subject(loopmod.Loop, loopmod.Future, loopmod.Task, sync)


def modules_of(way, modules):
    """Return those of the suite's modules that a way is for."""
    if way == "loop":
        return modules
    wanted = SYNC_MODULES if way == "sync" else TYPE_MODULES
    return [name for name in modules if name in wanted]


class Uses:
    """Notes what the running test has of the subject."""

    def __init__(self, types):
        self._types = types
        self._seen = False

    def note(self):
        """Called where a loop is made or one of the replaced types is read."""
        self._seen = True

    def start(self):
        """A test begins."""
        self._seen = False

    def count(self, test):
        """Whether the test, which is over, counts."""
        given = (getattr(type(test), name, None) for name in ("Task", "Future", "cls"))
        return self._seen or any(isinstance(kind, type) and issubclass(kind, self._types) for kind in given)


def put(way, subject):
    """Make the replacements of a way; return the `Uses` that tell which tests they reach."""
    has_types = way in ("types", "both")
    uses = Uses((subject.future, subject.task) if has_types else ())
    if has_types:
        _put_types(subject, uses)
    if way == "sync":
        _put_sync(subject.sync)
    if way != "types":
        _put_loop(_noting_loop(subject.loop, uses))
    return uses


def _noting_loop(loop_class, uses):
    class Loop(loop_class):
        """The subject's loop. It takes a selector, as the suite gives one, and has no use for it."""

        def __init__(self, selector=None):
            uses.note()
            super().__init__()

    return Loop


def _put_loop(loop):
    policy = getattr(unix_events, "_UnixDefaultEventLoopPolicy", None) or unix_events.DefaultEventLoopPolicy
    policy._loop_factory = loop
    # Where a test may find a class to call. base_events keeps its own: loops derive from it.
    for module, name in (
        (asyncio, "BaseEventLoop"),
        (asyncio, "SelectorEventLoop"),
        (asyncio, "EventLoop"),
        (selector_events, "BaseSelectorEventLoop"),
        (unix_events, "SelectorEventLoop"),
        (unix_events, "EventLoop"),
    ):
        if hasattr(module, name):
            setattr(module, name, loop)


def _put_sync(classes):
    for name, kind in classes.items():
        for module in (asyncio, locks, queues):
            if hasattr(module, name):
                setattr(module, name, kind)


def _put_types(subject, uses):
    for module, name, kind in ((futures, "_CFuture", subject.future), (tasks, "_CTask", subject.task)):
        _put_noting_attribute(module, name, kind, uses)


def _put_noting_attribute(module, name, value, uses):
    """Give a module an attribute whose every reading is noted."""
    delattr(module, name)

    def read(asked):
        if asked != name:
            raise AttributeError(f"module {module.__name__!r} has no attribute {asked!r}")
        uses.note()
        return value

    module.__getattr__ = read


def adapt(way, subject, module):
    """Fit an imported module of the suite to the way: where it asks for what only asyncio's own loop has."""
    name = module.__name__.rpartition(".")[2]
    if way == "loop" and name == "test_base_events":
        view = types.SimpleNamespace(**vars(base_events))
        view.BaseEventLoop = asyncio.BaseEventLoop
        module.base_events = view
        _leave_poll(module.BaseEventLoopTests)
    if way == "loop" and name == "test_pep492":
        _leave_poll(module.BaseTest)
    if way == "loop" and name == "test_runners":
        module.BaseTest.new_loop = _new_loop_noting_shutdown
    if way in ("types", "both") and name == "test_tasks":
        _add_mixed_classes(subject, module)
    if way == "both":
        importlib.import_module("test.test_asyncio.utils").TestLoop = _loop_without_clock
        if name == "test_tasks":
            module.GatherTestsBase._run_loop = _run_ten_turns


def _leave_poll(test_class):
    """Replace a set-up that mocks the loop's poll. asyncio's own does not wait, as with the mock: two of the
    tests take its wake-up out, too."""

    def set_up(self):
        super(test_class, self).setUp()
        self.loop = asyncio.BaseEventLoop()
        if isinstance(getattr(self.loop, "_selector", None), selectors.BaseSelector):
            self.loop._selector.select = lambda timeout: []
        self.set_event_loop(self.loop)

    test_class.setUp = set_up


def _new_loop_noting_shutdown(self):
    """In the place of a factory that mocks the loop's poll; the tests look at the mark."""
    loop = asyncio.BaseEventLoop()
    loop.shutdown_ag_run = False

    async def shutdown_asyncgens():
        loop.shutdown_ag_run = True

    loop.shutdown_asyncgens = shutdown_asyncgens
    return loop


def _loop_without_clock(gen=None):
    if gen is not None:
        raise unittest.SkipTest("the test drives the virtual clock of the suite's own loop")
    return asyncio.new_event_loop()


def _run_ten_turns(self, loop):
    """In the place of a wait until asyncio's private queue is empty."""
    for _ in range(10):
        loop.call_soon(loop.stop)
        loop.run_forever()


def _add_mixed_classes(subject, module):
    bases = (module.BaseTaskTests, module.test_utils.TestCase)
    # The functions of the C tasks, which the suite names from 3.14 on.
    given = vars(module.CTask_CFuture_Tests)
    functions = {name: given[name] for name in ("all_tasks", "current_task") if name in given}
    for name, task, future in (
        ("OurTask_StdlibFuture_Tests", subject.task, CFuture),
        ("StdlibTask_OurFuture_Tests", CTask, subject.future),
    ):
        members = {"Task": task, "Future": future, "__module__": module.__name__, **functions}
        setattr(module, name, type(name, bases, members))
