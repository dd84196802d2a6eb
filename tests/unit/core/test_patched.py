"""Tools that wrap asyncio's own functions see on a loop of ours what they see on asyncio's.

Covers core/patched.c and loopmod/patched.py. The oracle is asyncio: the same program (patch_support.py) with the
same function wrapped. What it calls there, it calls here. Before 3.12 what is patched in mid-run counts from the
next run on.
"""

import asyncio
import contextlib
import gc
import socket
import sys
import threading
import time
import types
from asyncio import events, futures, selector_events, tasks
from unittest import mock

import patch_support as support
import pytest

import loopmod

AT_ONCE = sys.version_info >= (3, 12)
at_once = pytest.mark.skipif(not AT_ONCE, reason="counts from the next run on")

# What asyncio calls and a loop of ours does not, and why.
BLIND = {
    "_read_from_self": "no self-pipe: C wakes the loop, and reads signals",
    "_process_self_data": "the same",
    "_make_self_pipe": "the same",
    "_close_self_pipe": "the same",
    "_add_callback": "the same; seen where a descriptor is ready",
    "_add_reader": "the same; seen where a reader is added",
    "get_debug": "the flag is C's, and looked at directly",
    "__init__": "of a loop that is made already, or of handles made by C",
    "__del__": "only where a loop is dropped",
    "_run_forever_cleanup": "of a run that began before",
    "_run_forever_setup": "of a run that began before",
    "run_forever": "of a run that began before",
    "run_until_complete": "of a run that began before",
    "_init_pidfd": "child watchers are asked only where the program has set one",
    "_child_watcher_callback": "the same",
}


@pytest.fixture(autouse=True)
def nothing_is_left(kind):
    """However a test ends, the classes are as they were."""
    yield
    gc.collect(0)
    asyncio.new_event_loop().close()
    loopmod.new_event_loop().close()
    assert loopmod.patched.settle()[:2] == (False, False)
    for owner, name, own, _ in loopmod.patched.IN_LOOP.values():
        assert vars(owner)[name] is own


def blind(program, moment, debug, patches=support.every_patch):
    """Return the functions that are called on asyncio alone, and where results differ."""
    wrong = []
    for patch in patches():
        expected = support.run(asyncio.SelectorEventLoop, program, patch, moment, debug)
        if patch.calls == 0:
            continue
        patch.calls = 0
        try:
            result = support.run(loopmod.new_event_loop, program, patch, moment, debug)
        except Exception as exc:
            result = repr(exc)
        if result != expected:
            wrong.append(f"{patch}: {result} in place of {expected}")
        elif patch.calls == 0:
            wrong.append(repr(patch))
    return wrong


CASES = [("queues", "before"), ("queues", "running"), ("descriptors", "before"), ("transports", "running")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("program", "moment"), CASES, ids="-".join)
def test_nothing_is_blind(kind, program, moment, debug):
    if kind == "asyncio" or (debug and program != "queues"):
        pytest.skip("both loops are run by one test")
    if moment == "running" and not AT_ONCE:
        moment = "made"
    found = blind(getattr(support, program), moment, debug)
    assert [name for name in found if name.split(".")[-1] not in BLIND] == []


@pytest.mark.timeout(300)
def test_inherited_names_are_not_blind(kind, debug):
    """A method is patched in a class that has it from another: asyncio.SelectorEventLoop._process_events."""
    if kind == "asyncio":
        pytest.skip("both loops are run by one test")
    found = blind(support.queues, "before", debug, support.inherited_patches)
    if not debug:
        found += blind(support.descriptors, "running" if AT_ONCE else "made", debug, support.inherited_patches)
    assert [name for name in found if name.split(".")[-1] not in BLIND] == []


@pytest.mark.timeout(300)
def test_transports_are_not_blind(kind, debug):
    """What is patched in the classes of asyncio's transports counts for those that are made from then on."""
    if kind == "asyncio" or debug:
        pytest.skip("both loops are run by one test")
    programs = (support.transports, support.tls)
    found = [name for program in programs for name in blind(program, "made", debug, support.transport_patches)]
    assert [name for name in found if name.split(".")[-1] not in (BLIND.keys() - {"__init__"})] == []


def test_server_of_patched_connections(loop, errors):
    """A server waits for the connections of asyncio's own transports, and closes them."""

    async def serve():
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        await asyncio.sleep(0.01)
        return server, reader, writer

    async def main():
        server, reader, writer = await serve()
        server.close()
        waiter = asyncio.create_task(server.wait_closed())
        await asyncio.sleep(0.01)
        seen = [waiter.done()]
        writer.close()
        await asyncio.wait_for(waiter, 9)
        if sys.version_info >= (3, 13):
            server, reader, writer = await serve()
            seen.append(len(server._clients))
            server.close_clients()
            seen.append(await reader.read())
            await asyncio.sleep(0.01)
            seen.append(len(server._clients))
            server.close()
            await asyncio.wait_for(server.wait_closed(), 9)
            writer.close()
        return seen

    with counted(asyncio.SelectorEventLoop.__mro__[1], "_accept_connection") as patch:
        seen = loop.run_until_complete(main())
    assert patch.calls
    assert seen == [sys.version_info < (3, 12), 1, b"", 0][: len(seen)]
    assert errors == []


def test_transport_class_replaced(new_loop):
    """A name is bound to another class, for both ends of a connection."""
    made = []

    class Own(selector_events._SelectorSocketTransport):
        def __init__(self, *args, **kwargs):
            made.append(1)
            super().__init__(*args, **kwargs)

    async def main():
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            assert await reader.read() == b""
            writer.close()

    with mock.patch.object(selector_events, "_SelectorSocketTransport", Own):
        new_loop().run_until_complete(main())
    assert len(made) == 2
    new_loop().run_until_complete(main())
    assert len(made) == 2


def test_processes(kind):
    if kind == "asyncio":
        pytest.skip("both loops are run by one test")
    for name in ("subprocess_exec", "subprocess_shell", "_make_subprocess_transport", "connect_read_pipe"):
        owner = next(base for base in support.BASES if name in vars(base))
        patch = support.Patch(owner, name)
        results = [
            support.run(factory, support.processes, patch, "made", False)
            for factory in (asyncio.SelectorEventLoop, loopmod.new_event_loop)
        ]
        assert results[0] == results[1] and patch.calls >= 2


@contextlib.contextmanager
def counted(owner, name):
    patch = support.Patch(owner, name).wrap()
    try:
        yield patch
    finally:
        patch.undo()


WRAPPED = [
    (events.Handle, "_run"),
    (asyncio.BaseEventLoop, "call_soon"),
    (asyncio.BaseEventLoop, "call_at"),
    (asyncio.BaseEventLoop, "create_task"),
    (asyncio.BaseEventLoop, "_run_once"),
    (asyncio.BaseEventLoop, "_check_closed"),
]


@at_once
@pytest.mark.parametrize(("owner", "name"), WRAPPED, ids=lambda value: getattr(value, "__name__", value))
def test_undone_while_it_runs(loop, owner, name):
    """Timers set on one side of the change fire, and can be cancelled, on the other."""
    fired = []

    async def work(label):
        timers = [loop.call_later(0.002 * i, fired.append, (label, i)) for i in (2, 1)]
        timers.append(loop.call_later(3600, fired.append, "never"))
        await asyncio.sleep(0)
        return timers

    async def main():
        timers = await work("plain")
        with counted(owner, name) as patch:
            timers += await work("patched")
            timers[2].cancel()
            await loop.create_task(asyncio.sleep(0.001))
            seen = patch.calls
            assert seen > 0
        timers += await work("undone")
        with counted(owner, name):  # there and back: who waits for the timers changes each time
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        timers[5].cancel()
        assert patch.calls == seen or name == "call_at"  # what its handles call when they are cancelled
        assert all(timer.cancelled() == (i in (2, 5)) for i, timer in enumerate(timers))
        await asyncio.sleep(0.01)
        assert len([timer for timer in loop._scheduled if not timer.cancelled()]) == 1
        timers[8].cancel()
        return await loop.create_task(asyncio.sleep(0, "done"))

    assert loop.run_until_complete(main()) == "done"
    assert sorted(fired) == sorted((label, i) for label in ("plain", "patched", "undone") for i in (1, 2))
    if isinstance(loop, loopmod.Loop):
        assert not loop._is_patched
        assert type(loop.call_soon(int)) is loopmod.Handle


@at_once
def test_patched_from_another_thread(loop):
    """The loop sleeps, or works, while another thread patches and undoes."""
    seen = []

    def patches():
        for _ in range(30):
            with counted(events.Handle, "_run") as patch:
                before = patch.calls
                loop.call_soon_threadsafe(int)
                while patch.calls == before:
                    time.sleep(0)
            seen.append(1)
        loop.call_soon_threadsafe(done.set_result, None)

    async def busy():
        while not done.done():
            await asyncio.sleep(0)

    async def main():
        thread = threading.Thread(target=patches)
        thread.start()
        await asyncio.gather(busy(), done)
        thread.join()

    done = loop.create_future()
    loop.run_until_complete(asyncio.wait_for(main(), 60))
    assert len(seen) == 30


def test_several_loops(new_loop):
    loops = [new_loop() for _ in range(3)]
    with counted(events.Handle, "_run") as patch:
        for loop in loops:
            before = patch.calls
            loop.run_until_complete(asyncio.sleep(0))
            assert patch.calls > before
    for loop in loops:
        before = patch.calls
        loop.run_until_complete(asyncio.sleep(0))
        assert patch.calls == before


def test_classes_replaced(new_loop):
    class OwnTask(asyncio.Task):
        pass

    class OwnFuture(asyncio.Future):
        pass

    class OwnHandle(asyncio.Handle):
        pass

    async def main():
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(asyncio.sleep(0))
        async with asyncio.TaskGroup() as group:
            other = group.create_task(asyncio.sleep(0))
        await task
        return type(task), type(other), type(loop.create_future()), type(loop.call_soon(int))

    with (
        mock.patch.object(tasks, "Task", OwnTask),
        mock.patch.object(futures, "Future", OwnFuture),
        mock.patch.object(events, "Handle", OwnHandle),
    ):
        assert new_loop().run_until_complete(main()) == (OwnTask, OwnTask, OwnFuture, OwnHandle)
    assert OwnTask not in new_loop().run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="up to 3.11 it is looked when a run begins")
def test_opened_in_vain(kind, new_loop):
    """A class of asyncio's own in the place of another is no patch, and one that is undone is none either."""

    def made():
        loop = new_loop()
        task = loop.create_task(asyncio.sleep(0))
        loop.run_until_complete(task)
        return type(task)

    plain = made()
    loop = new_loop()
    with mock.patch.object(tasks, "Task", tasks._PyTask):
        first = loop.create_task(asyncio.sleep(0))
    second = loop.create_task(asyncio.sleep(0))
    for task in (first, second):
        loop.run_until_complete(task)
    assert type(first) is (tasks._PyTask if kind == "asyncio" else plain)
    assert type(second) is plain


def test_clock(loop):
    """time.monotonic() counts at once on every version."""
    real = time.monotonic
    shift = 0.0

    async def main():
        nonlocal shift
        fired = []
        with mock.patch("time.monotonic", lambda: real() + shift):
            loop.call_later(1000, fired.append, 1)
            shift = 5000.0
            assert loop.time() > real() + 4000
            await asyncio.sleep(0.001)
        assert loop.time() < real() + 1
        return fired

    assert loop.run_until_complete(main()) == [1]


def test_selector_that_selects(loop):
    """A mixin that puts its own select() in the place of the selector's (looptime does)."""
    waits = []
    select = loop._selector.select

    def own_select(timeout):
        waits.append(timeout)
        return select(timeout)

    loop._selector.select = own_select
    loop.run_until_complete(asyncio.sleep(0.3))
    assert 0 in waits and any(wait is not None and 0 < wait <= 0.3 for wait in waits)
    count = len(waits)
    del loop._selector.select
    loop.run_until_complete(asyncio.sleep(0.001))
    assert len(waits) == count


def test_own_turn(kind):
    """A class that overrides _run_once()."""
    base = asyncio.SelectorEventLoop if kind == "asyncio" else loopmod.Loop
    turns = []

    class Own(base):
        def _run_once(self):
            turns.append(1)
            super()._run_once()

    with asyncio.Runner(loop_factory=Own) as runner:
        assert runner.run(asyncio.sleep(0.001, "slept")) == "slept"
    assert len(turns) > 2


def test_code_exchanged(new_loop):
    """Instrumentation that leaves the function and exchanges its code counts from the next run."""
    calls = []
    function = asyncio.BaseEventLoop.create_task
    code = function.__code__
    original = types.FunctionType(code, function.__globals__, "original", None, function.__closure__)
    original.__kwdefaults__ = function.__kwdefaults__
    function.__globals__["_loopmod_test"] = lambda *args, **kwargs: (calls.append(1), original(*args, **kwargs))[1]
    try:
        exec("def create_task(self, coro, **kwargs): return _loopmod_test(self, coro, **kwargs)", found := {})
        function.__code__ = found["create_task"].__code__
        loop = new_loop()
        assert loop.run_until_complete(loop.create_task(asyncio.sleep(0, 1))) == 1
        assert calls == [1]
    finally:
        function.__code__ = code
        del function.__globals__["_loopmod_test"]


def test_current_task_between_handles(loop):
    """Around a wrapped Handle._run no task is current."""
    seen = set()
    original = events.Handle._run

    def wrapped(handle):
        seen.add(asyncio.current_task(loop))
        original(handle)
        seen.add(asyncio.current_task(loop))

    async def main():
        task = loop.create_task(asyncio.sleep(0.001))
        await task
        await asyncio.sleep(0)

    with mock.patch.object(events.Handle, "_run", wrapped):
        loop.run_until_complete(main())
    assert seen == {None}


def test_made_before_the_patch(loop):
    """Handles that are queued already run, and are cancelled, by what is patched."""
    seen = []
    run = loop.call_soon(seen.append, 1)
    timer = loop.call_later(0.001, seen.append, 2)
    late = loop.call_later(3600, int)
    with counted(events.Handle, "_run") as runs, counted(events.TimerHandle, "cancel") as cancels:
        loop.run_until_complete(asyncio.sleep(0.003))
        late.cancel()
        assert runs.calls >= 4 and cancels.calls == 2  # one is the sleep's
    assert seen == [1, 2] and not run.cancelled() and not timer.cancelled() and late.cancelled()


def test_own_class_patched(loop):
    """The same on the class of the loop itself."""
    cls = type(loop)
    calls = []
    original = cls.call_soon

    def call_soon(self, callback, *args, **kwargs):
        calls.append(callback)
        return original(self, callback, *args, **kwargs)

    with mock.patch.object(cls, "call_soon", call_soon):
        loop.run_until_complete(asyncio.sleep(0))
        assert calls
    calls.clear()
    loop.run_until_complete(asyncio.sleep(0))
    assert calls == []


# Methods that asyncio's own methods call, and a loop of ours has no use for by itself.
INNER = [
    "_accept_connection",
    "_accept_connection2",
    "_add_callback",
    "_add_reader",
    "_add_writer",
    "_call_soon",
    "_ensure_fd_no_transport",
    "_process_events",
    "_remove_writer",
    "_sock_connect",
    "_sock_recv",
    "_timer_handle_cancelled",
    "_write_to_self",
]


async def uses_inner(loop):
    async def echo(reader, writer):
        writer.write(await reader.read(9))
        writer.close()

    near, far = socket.socketpair()
    with near, far:
        for sock in (near, far):
            sock.setblocking(False)
        loop.call_later(0.001, near.send, b"late")
        got = [await loop.sock_recv(far, 9)]
        loop.add_writer(near, int)
        loop.remove_writer(near)
    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        with socket.socket() as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, server.sockets[0].getsockname())
            await loop.sock_sendall(sock, b"x")
            got.append(await loop.sock_recv(sock, 9))
    loop.call_later(9, int).cancel()
    loop.call_soon_threadsafe(got.append, "safe")
    await asyncio.sleep(0)
    return got


def counting(base, name, calls):
    def method(self, *args, **kwargs):
        calls.append(name)
        return getattr(super(base, self), name)(*args, **kwargs)

    return method


@pytest.mark.parametrize("how", ["class", "mixin", "made later"])
@pytest.mark.parametrize("name", INNER)
def test_own_class_overrides(kind, debug, name, how):
    """A program's own class of the loop has a method under the name of one of asyncio's inner ones."""
    stock = asyncio.SelectorEventLoop if kind == "asyncio" else loopmod.Loop
    calls = []
    if how in ("class", "made later"):
        own = type("Own", (stock,), {})
        setattr(own, name, counting(own, name, calls))
    else:
        mixin = type("Mixin", (), {})
        setattr(mixin, name, counting(mixin, name, calls))
        own = type("Own", (mixin, stock), {})
    loop = stock() if how == "made later" else own()
    loop.set_debug(debug)
    loop.slow_callback_duration = 60
    try:
        if how == "made later":
            loop.__class__ = own
        assert loop.run_until_complete(uses_inner(loop)) == [b"late", b"x", "safe"]
        assert calls
    finally:
        loop.close()


@pytest.mark.parametrize("name", ["call_soon", "call_at", "create_task", "_run_once", "_call_soon", "time"])
def test_class_behind_ours(kind, name):
    """A class of the program's stands behind the loop's and in front of asyncio's base."""
    stock = asyncio.SelectorEventLoop if kind == "asyncio" else loopmod.Loop
    calls = []
    behind = type("Behind", (asyncio.BaseEventLoop,), {})
    setattr(behind, name, counting(behind, name, calls))
    with asyncio.Runner(loop_factory=type("Own", (stock, behind), {})) as runner:
        runner.run(uses_inner(runner.get_loop()))
    assert calls


@pytest.mark.parametrize("place", ["instance", "class"])
@pytest.mark.parametrize("name", INNER)
def test_own_attribute(loop, name, place):
    """The same on the loop itself, and on the stock class of its kind, put there and taken away while it runs."""
    calls = []
    owner = loop if place == "instance" else type(loop)
    original = getattr(owner, name)

    def wrapped(*args, **kwargs):
        calls.append(name)
        return original(*args, **kwargs)

    async def main():
        with mock.patch.object(owner, name, wrapped):
            await asyncio.sleep(0)  # on 3.11 the class is looked at when a run begins
            got = await uses_inner(loop)
        await asyncio.sleep(0)
        count = len(calls)
        assert await uses_inner(loop) == got
        return count, len(calls)

    if place == "class" and not AT_ONCE:
        with mock.patch.object(owner, name, wrapped):
            loop.run_until_complete(uses_inner(loop))
        assert calls
        return
    before, after = loop.run_until_complete(main())
    assert 0 < before == after
    if isinstance(loop, loopmod.Loop):
        assert not loop._is_patched


def test_own_class_ends(kind):
    """Loops of our own class are the fast ones again when the last loop that overrides something is closed."""
    if kind == "asyncio":
        pytest.skip("of our own way")
    own = type("Own", (loopmod.Loop,), {"_process_events": asyncio.SelectorEventLoop._process_events})
    special = own()
    special.run_until_complete(asyncio.sleep(0))
    special.close()
    loop = loopmod.new_event_loop()
    try:
        loop.run_until_complete(asyncio.sleep(0))
        assert not loop._is_patched
    finally:
        loop.close()


@at_once
def test_class_of_selector_patched(loop):
    """select() is wrapped in the class of the loop's selector."""
    selector = type(loop._selector)
    original = selector.select
    calls = []

    def select(self, timeout=None):
        calls.append(timeout)
        return original(self, timeout)

    async def main():
        with mock.patch.object(selector, "select", select):
            await asyncio.sleep(0)
            await uses_inner(loop)
        await asyncio.sleep(0)
        count = len(calls)
        await asyncio.sleep(0.001)
        return count, len(calls)

    before, after = loop.run_until_complete(main())
    assert 0 < before == after


def test_ready_is_a_deque(loop):
    """What may be done to a deque may be done to `_ready`."""
    seen = []

    def handle(label):
        return asyncio.Handle(seen.append, (label,), loop)

    async def main():
        task = asyncio.create_task(asyncio.sleep(0))
        ready = loop._ready
        kept, gone = loop.call_soon(seen.append, "kept"), loop.call_soon(seen.append, "gone")
        ready.appendleft(handle("first"))
        ready.extend([handle("late"), handle("popped")])
        assert ready.pop()._args == ("popped",)
        ready.remove(gone)
        assert ready.index(kept) == 2 and ready.count(gone) == 0 and kept in ready
        ready.insert(1, handle("second"))
        ready.append(handle("deleted"))
        del ready[-1]
        ready[-1] = handle("replaced")
        ready.rotate(0)
        assert len(ready.copy()) == len(ready) == 5
        with pytest.raises(IndexError):
            ready.insert(1, ready[9])
        await task

    loop.run_until_complete(main())
    assert seen == ["first", "second", "kept", "replaced"]
