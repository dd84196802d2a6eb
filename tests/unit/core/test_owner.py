"""What a loop does for a thread that does not run it: core/owner.h and core/inbox.h.

With the GIL the calls of such a thread work as asyncio's do; without, those that touch what the loop has are refused
by a RuntimeError that names call_soon_threadsafe(). docs/threads.md has the table. Relies on the fixtures of
tests/conftest.py.
"""

import asyncio
import os
import socket
import threading
import weakref

import pytest
from gil_support import HAS_GIL
from thread_support import elsewhere

pytestmark = pytest.mark.timeout(120)


async def answer():
    return 42


REFUSED = {
    "create_task": lambda loop, things: loop.create_task(things["coroutine"]),
    "remove_reader": lambda loop, things: loop.remove_reader(things["sock"]),
    "set_result": lambda loop, things: things["future"].set_result(None),
    "set_exception": lambda loop, things: things["future"].set_exception(OSError()),
    "future.cancel": lambda loop, things: things["future"].cancel(),
    "add_done_callback": lambda loop, things: things["future"].add_done_callback(print),
    "task.cancel": lambda loop, things: things["task"].cancel(),
    "write": lambda loop, things: things["transport"].write(b"data"),
    "pause_reading": lambda loop, things: things["transport"].pause_reading(),
    "transport.abort": lambda loop, things: things["transport"].abort(),
}

ANSWERED = {
    "time": lambda loop, things: isinstance(loop.time(), float),
    "is_running": lambda loop, things: loop.is_running(),
    "is_closed": lambda loop, things: loop.is_closed() is False,
    "get_debug": lambda loop, things: loop.get_debug() in (True, False),
    "done": lambda loop, things: things["future"].done() is False,
    "cancelled": lambda loop, things: things["future"].cancelled() is False,
    "result": lambda loop, things: things["ended"].result() == "value",
    "create_future": lambda loop, things: loop.create_future().get_loop() is loop,
    "call_soon": lambda loop, things: loop.get_debug() or loop.call_soon(int) is not None,
    "call_later": lambda loop, things: loop.get_debug() or loop.call_later(60, int).cancel() is None,
    "call_at": lambda loop, things: loop.get_debug() or loop.call_at(loop.time() + 60, int).cancel() is None,
    "call_soon_threadsafe": lambda loop, things: loop.call_soon_threadsafe(int) is not None,
    "handle.cancel": lambda loop, things: things["handle"].cancel() is None and things["handle"].cancelled(),
    "is_closing": lambda loop, things: things["transport"].is_closing() is False,
    "sockname": lambda loop, things: things["accepted"].get_extra_info("sockname") == things["address"],
    "peername": lambda loop, things: things["transport"].get_extra_info("peername") == things["address"],
    "socket": lambda loop, things: things["transport"].get_extra_info("socket").fileno() > 0,
    "extra": lambda loop, things: things["accepted"].get_extra_info("none", "given") == "given",
    "pipe": lambda loop, things: things["pipe"].get_extra_info("pipe").fileno() > 0,
    "get_protocol": lambda loop, things: isinstance(things["transport"].get_protocol(), asyncio.Protocol),
    "get_write_buffer_size": lambda loop, things: things["transport"].get_write_buffer_size() == 0,
    "get_write_buffer_limits": lambda loop, things: things["transport"].get_write_buffer_limits() == (16384, 65536),
    "get_name": lambda loop, things: things["task"].get_name() == "named",
    "all_tasks": lambda loop, things: things["task"] in asyncio.all_tasks(loop),
    "repr": lambda loop, things: all(isinstance(repr(thing), str) for thing in things.values()),
}


async def make_things(loop):
    accepted = loop.create_future()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport):
            accepted.set_result(transport)

    server = await loop.create_server(Accepted, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    transport, _ = await loop.create_connection(asyncio.Protocol, *address)
    transport.get_extra_info("socket")  # once at home: it is made when it is asked for
    reading, writing = os.pipe()
    os.close(writing)
    pipe, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(reading, "rb", 0))
    pipe.pause_reading()
    near, far = socket.socketpair()
    near.close()
    things = {
        "sock": far,
        "server": server,
        "address": address,
        "accepted": await accepted,
        "pipe": pipe,
        "transport": transport,
        "future": loop.create_future(),
        "ended": loop.create_future(),
        "handle": loop.call_later(60, int),
        "coroutine": answer(),
    }
    things["task"] = loop.create_task(asyncio.sleep(60), name="named")
    things["ended"].set_result("value")
    return things


async def drop_things(loop, things):
    things["handle"].cancel()
    things["task"].cancel()
    loop.remove_reader(things["sock"])
    things["transport"].abort()
    things["accepted"].abort()
    things["pipe"].close()
    things["server"].close()
    things["coroutine"].close()
    await asyncio.sleep(0)
    things["sock"].close()


@pytest.mark.parametrize("name", sorted(ANSWERED))
def test_any_thread_is_answered_by_a_running_loop(loop, name):
    async def main():
        things = await make_things(loop)
        found = await loop.run_in_executor(None, elsewhere, lambda: ANSWERED[name](loop, things))
        await drop_things(loop, things)
        return found

    assert loop.run_until_complete(main()) is True


@pytest.mark.skipif(HAS_GIL, reason="with the GIL these work as asyncio's")
@pytest.mark.parametrize("name", sorted(REFUSED))
def test_without_a_gil_another_thread_is_refused(kind, debug, loop, name):
    if kind == "asyncio":
        pytest.skip("the oracle refuses nothing of it, or by what it finds broken")

    async def main():
        things = await make_things(loop)
        found = await loop.run_in_executor(None, elsewhere, lambda: REFUSED[name](loop, things))
        await drop_things(loop, things)
        return found

    found = loop.run_until_complete(main())
    assert isinstance(found, RuntimeError)
    assert debug or "call_soon_threadsafe" in str(found)


@pytest.mark.skipif(HAS_GIL, reason="with the GIL the task makes a step")
def test_without_a_gil_another_thread_cannot_step_a_task(loop):
    """By the callable that a future which is not ours holds."""

    async def main():
        future = asyncio.futures._PyFuture(loop=loop)

        async def wait():
            return await future

        task = loop.create_task(wait())
        await asyncio.sleep(0)
        ((wakeup, _),) = future._callbacks
        found = await loop.run_in_executor(None, elsewhere, lambda: wakeup(future))
        future.set_result("value")
        return found, await task

    found, result = loop.run_until_complete(main())
    assert isinstance(found, RuntimeError)
    assert result == "value"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_an_idle_loop_is_any_threads(loop, name):
    """Made in one thread, used in another, run in a third, closed in the first."""
    things = loop.run_until_complete(make_things(loop))
    found = elsewhere(lambda: REFUSED[name](loop, things))
    assert not isinstance(found, Exception)
    ended = elsewhere(lambda: loop.run_until_complete(drop_things(loop, things)))
    assert not isinstance(ended, Exception)
    loop.close()


@pytest.mark.parametrize("method", ["add_reader", "add_writer"])
def test_another_thread_has_the_loop_watch_a_descriptor(loop, method):
    """As tornado does, and so ipykernel. The loop sleeps meanwhile, and its own thread runs the callback."""
    near, far = socket.socketpair()

    async def main():
        seen = loop.create_future()

        def see(*args):
            near.recv(1) if method == "add_reader" else loop.remove_writer(near)
            if not seen.done():
                seen.set_result((threading.get_ident(), args))

        found = elsewhere(lambda: getattr(loop, method)(near, see, "argument"))
        thread = threading.Timer(0, far.send, [b"x"])
        thread.start()
        return found, await seen

    found, (thread, args) = loop.run_until_complete(main())
    loop.remove_reader(near)
    near.close()
    far.close()
    assert (found, thread, args) == (None, threading.get_ident(), ("argument",))


@pytest.mark.skipif(HAS_GIL, reason="with the GIL it is raised in the thread that calls")
def test_what_another_thread_cannot_have_watched_is_told_to_the_handler(kind, loop, errors):
    if kind == "asyncio":
        pytest.skip("raised in the thread that calls")

    async def main():
        things = await make_things(loop)
        sock = things["transport"].get_extra_info("socket")
        found = elsewhere(lambda: loop.add_reader(sock, int))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await drop_things(loop, things)
        return found

    assert loop.run_until_complete(main()) is None
    assert ["is used by transport" in str(context["exception"]) for context in errors] == [True]


def test_a_run_in_another_thread_is_refused(loop):
    async def main():
        return await loop.run_in_executor(None, elsewhere, lambda: loop.run_forever())

    found = loop.run_until_complete(main())
    assert isinstance(found, RuntimeError)
    assert "already running" in str(found)


@pytest.mark.skipif(HAS_GIL, reason="with the GIL its end is where it is dropped")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_transport_that_another_thread_drops_is_ended(kind, loop):
    """Not closed, not watched, and counted by its server: the socket is closed, and the server ends."""
    if kind == "asyncio":
        pytest.skip("what its transport does there is done half")

    async def main():
        accepted = []

        class Accepted(asyncio.Protocol):
            def connection_made(self, transport):
                transport.pause_reading()
                accepted.append(transport)

        server = await loop.create_server(Accepted, "127.0.0.1", 0)
        peer = socket.create_connection(server.sockets[0].getsockname())
        while not accepted:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        server.close()
        kept = weakref.ref(accepted[0])
        await loop.run_in_executor(None, elsewhere, accepted.clear)
        waiter = asyncio.ensure_future(server.wait_closed())
        while kept() is not None or not waiter.done():
            await asyncio.sleep(0)
        with peer:
            peer.settimeout(30)
            assert peer.recv(1) == b""

    loop.run_until_complete(main())


def test_what_a_thread_sends_comes_before_what_it_causes(loop):
    """A thread sends something and lets the loop's own thread go on, which adds to the queue: that comes second."""
    order = []
    rounds = 200

    def send(number, may_go_on):
        loop.call_soon_threadsafe(order.append, ("sent", number))
        may_go_on.set()

    async def main():
        for number in range(rounds):
            may_go_on = threading.Event()
            thread = threading.Thread(target=send, args=(number, may_go_on))
            thread.start()
            may_go_on.wait()
            loop.call_soon(order.append, ("caused", number))
            thread.join()
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert order == [(what, number) for number in range(rounds) for what in ("sent", "caused")]


def test_calls_from_threads_while_loops_close(new_loop, debug):
    """Each call has run once, raised, or was queued when the loop closed; in each thread's order."""
    calls = 50 if debug else 300

    def one_round():
        loop = new_loop()
        ran, accepted, raised = [], [], []

        def body(name):
            for number in range(calls):
                try:
                    loop.call_soon_threadsafe(ran.append, (name, number))
                except RuntimeError:
                    raised.append((name, number))
                else:
                    accepted.append((name, number))

        threads = [threading.Thread(target=body, args=(name,)) for name in range(8)]
        loop.call_soon(threads[0].start)
        for thread in threads[1:]:
            thread.start()
        loop.call_later(0.001, loop.stop)
        loop.run_forever()
        loop.close()
        for thread in threads:
            thread.join()
        assert len(ran) == len(set(ran)), "none runs twice"
        assert set(ran) <= set(accepted)
        assert len(accepted) + len(raised) == 8 * calls
        for name in range(8):
            mine = [number for who, number in ran if who == name]
            assert mine == list(range(len(mine))), "what was sent first runs first, and nothing is left out"

    for _ in range(5):
        one_round()
