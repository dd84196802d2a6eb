"""What a loop, its futures, tasks, handles and transports do when another thread calls them while the loop runs.

With the GIL; docs/threads.md has the same as a table. Relies on the fixtures of tests/conftest.py. Whether a sleeping
loop is woken is not looked at: each call is followed by `call_soon_threadsafe`.
"""

import asyncio
import socket
import threading

import pytest
from gil_support import needs_gil

pytestmark = [pytest.mark.timeout(30), needs_gil]  # the table of builds without the GIL is another
UNSAFE = "Non-thread-safe operation invoked on an event loop other than the current one"


class Scene:
    """A running loop with one of each thing."""

    def __init__(self, loop):
        self.loop = loop
        self.seen = asyncio.Event()
        self.future = loop.create_future()
        self.waited = loop.create_future()
        self.waited.add_done_callback(self.see)
        self.ended = loop.create_future()
        self.ended.set_result("ended")
        self.timer = loop.call_later(3600, self.see)

    def see(self, *args):
        self.seen.set()

    async def connect(self):
        scene = self

        class Protocol(asyncio.Protocol):
            def connection_lost(self, exc):
                scene.see()

        mine, self.peer = socket.socketpair()
        self.transport, _ = await self.loop.create_connection(Protocol, sock=mine)
        self.task = self.loop.create_task(self.sleep())
        self.near, self.far = socket.socketpair()
        self.near.setblocking(False)
        await asyncio.sleep(0)

    async def sleep(self):
        try:
            await self.loop.create_future()
        finally:
            self.see()

    async def disconnect(self):
        self.transport.abort()
        self.task.cancel()
        self.timer.cancel()
        self.waited.cancel()
        for sock in (self.near, self.far, self.peer):
            self.loop.remove_reader(sock)
            self.loop.remove_writer(sock)
            sock.close()
        await asyncio.sleep(0)

    def in_thread(self, call):
        """Have a thread call this; return its outcome, as a future."""
        outcome = self.loop.create_future()

        def body():
            try:
                setter, value = outcome.set_result, call(self)
            except BaseException as exc:
                setter, value = outcome.set_exception, exc
            self.loop.call_soon_threadsafe(setter, value)
            del value

        thread = threading.Thread(target=body)
        thread.start()
        outcome.add_done_callback(lambda outcome: thread.join())
        return outcome


async def with_scene(loop, body):
    scene = Scene(loop)
    await scene.connect()
    try:
        return await body(scene)
    finally:
        await scene.disconnect()


def write_and_read(scene):
    scene.transport.write(b"hello")
    return scene.peer.recv(100)


PLAIN = {
    "time": (lambda s: s.loop.time() > 0, True),
    "is_running": (lambda s: s.loop.is_running(), True),
    "is_closed": (lambda s: s.loop.is_closed(), False),
    "set_debug": (lambda s: s.loop.set_debug(s.loop.get_debug()), None),
    "get_exception_handler": (lambda s: s.loop.get_exception_handler(), None),
    "get_task_factory": (lambda s: s.loop.get_task_factory(), None),
    "create_future": (lambda s: s.loop.create_future().get_loop() is s.loop, True),
    "all_tasks": (lambda s: s.task in asyncio.all_tasks(s.loop), True),
    "current_task": (lambda s: getattr(asyncio.current_task(s.loop), "get_loop", lambda: s.loop)() is s.loop, True),
    "run_coroutine_threadsafe": (lambda s: asyncio.run_coroutine_threadsafe(asyncio.sleep(0, 5), s.loop).result(), 5),
    "future.done": (lambda s: (s.future.done(), s.future.cancelled(), s.ended.done()), (False, False, True)),
    "future.result": (lambda s: (s.ended.result(), s.ended.exception()), ("ended", None)),
    "future.add_done_callback": (lambda s: s.future.add_done_callback(print), None),
    "future.remove_done_callback": (lambda s: s.waited.remove_done_callback(s.see), 1),
    "future.set_result, nobody waits": (lambda s: (s.future.set_result(1), s.future.result()), (None, 1)),
    "timer.cancel": (lambda s: (s.timer.cancel(), s.timer.cancelled(), s.timer.when() > 0), (None, True, True)),
    "transport.write": (write_and_read, b"hello"),
    "transport.is_closing": (lambda s: s.transport.is_closing(), False),
    "transport.pause_reading": (lambda s: (s.transport.pause_reading(), s.transport.is_reading()), (None, False)),
    "remove_reader": (lambda s: s.loop.remove_reader(s.near), False),
}


@pytest.mark.parametrize("name", PLAIN)
def test_works_as_at_home(loop, run, name):
    call, expected = PLAIN[name]

    async def main():
        return await with_scene(loop, lambda scene: scene.in_thread(call))

    assert run(main()) == expected


EFFECTS = {
    "call_soon_threadsafe": lambda s: s.loop.call_soon_threadsafe(s.see),
    "add_reader": lambda s: (s.far.send(b"x"), s.loop.add_reader(s.near, s.see)),
    "add_writer": lambda s: s.loop.add_writer(s.near, s.see),
}
NOT_WOKEN = {
    "call_soon": lambda s: s.loop.call_soon(s.see),
    "call_later": lambda s: s.loop.call_later(0, s.see),
    "call_at": lambda s: s.loop.call_at(s.loop.time(), s.see),
    "future.set_result": lambda s: s.waited.set_result(1),
    "future.set_exception": lambda s: s.waited.set_exception(LookupError()),
    "future.cancel": lambda s: s.waited.cancel(),
    "future.add_done_callback, ended": lambda s: s.ended.add_done_callback(s.see),
    "task.cancel": lambda s: s.task.cancel(),
    "transport.close": lambda s: s.transport.close(),
    "transport.abort": lambda s: s.transport.abort(),
}


@pytest.mark.parametrize("name", [*EFFECTS, *NOT_WOKEN])
def test_has_its_effect_in_the_loops_thread(loop, run, kind, debug, name):
    if debug and name.startswith("transport") and kind == "asyncio":
        pytest.skip("it raises half-way, and the connection is never lost")
    if debug and name == "task.cancel":
        pytest.skip("it raises half-way, and the task never hears of it, on both loops")
    raises = debug and name in NOT_WOKEN and not name.startswith("transport")

    async def body(scene):
        if raises:
            with pytest.raises(RuntimeError, match=UNSAFE):
                await scene.in_thread(NOT_WOKEN[name])
        else:
            await scene.in_thread({**EFFECTS, **NOT_WOKEN}[name])
            await scene.seen.wait()
        if scene.waited.done() and not scene.waited.cancelled():
            scene.waited.exception()

    run(with_scene(loop, body))


def test_create_task(loop, run, debug):
    async def body(scene):
        coro = asyncio.sleep(0, "slept")
        if not debug:
            return await (await scene.in_thread(lambda s: s.loop.create_task(coro)))
        loop.set_exception_handler(lambda loop, context: None)  # of the task that is dropped
        with pytest.raises(RuntimeError, match=UNSAFE):
            await scene.in_thread(lambda s: s.loop.create_task(coro))
        coro.close()
        return "slept"

    assert run(with_scene(loop, body)) == "slept"


REFUSED = {
    "close": (lambda s: s.loop.close(), "Cannot close a running event loop"),
    "run_forever": (lambda s: s.loop.run_forever(), "This event loop is already running"),
    "run_until_complete": (lambda s: s.loop.run_until_complete(s.future), "This event loop is already running"),
    "add_signal_handler": (lambda s: s.loop.add_signal_handler(10, print), "only works in main thread"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_is_refused(loop, run, name):
    call, message = REFUSED[name]

    async def body(scene):
        with pytest.raises(RuntimeError, match=message):
            await scene.in_thread(call)

    run(with_scene(loop, body))


def test_stop(loop, debug):
    seen = []

    def body():
        loop.stop()
        loop.call_soon_threadsafe(seen.append, "woken")

    thread = threading.Thread(target=body)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == ["woken"]


def test_one_loop_in_one_thread_after_the_other(new_loop):
    """Made in one, scheduled in another, run in a third, closed in a fourth."""
    kept = {}

    def make():
        kept["loop"] = new_loop()

    def schedule():
        loop = kept["loop"]
        kept["task"] = loop.create_task(asyncio.sleep(0.001, "done"))
        kept["seen"] = []
        loop.call_soon(kept["seen"].append, "soon")
        loop.call_later(0, kept["seen"].append, "timer")

    def run():
        kept["result"] = kept["loop"].run_until_complete(kept["task"])

    def close():
        kept["loop"].close()

    for body in (make, schedule, run, close):
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
    assert kept["result"] == "done" and kept["seen"] == ["soon", "timer"] and kept["loop"].is_closed()
