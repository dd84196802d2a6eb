"""KeyboardInterrupt and SystemExit leave the loop at once, from wherever they come; other exceptions do not.

Covers core/run.c. Relies on the fixtures of tests/conftest.py. Exceptions that signal handlers raise are in
test_interrupts.py.
"""

import asyncio
import gc
import socket

import pytest
from loop_support import give, spin

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("source", ["soon", "threadsafe", "timer", "reader", "writer", "task", "future"])
def test_exits_leave_run_forever_at_once(loop, errors, leave, source):
    seen = []
    left, right = socket.socketpair()
    left.setblocking(False)
    right.send(b"x")

    def bad(*args):
        loop.remove_reader(left)
        loop.remove_writer(left)
        loop.call_soon(seen.append, "scheduled before the exit")
        raise leave("out")

    async def bad_task():
        bad()

    if source == "soon":
        loop.call_soon(bad)
        loop.call_soon(seen.append, "queued behind")
    elif source == "threadsafe":
        loop.call_soon_threadsafe(bad)
    elif source == "timer":
        loop.call_at(loop.time() - 1, bad)
    elif source == "reader":
        loop.add_reader(left, bad)
    elif source == "writer":
        loop.add_writer(left, bad)
    elif source == "task":
        task = loop.create_task(bad_task())
    else:
        future = loop.create_future()
        future.add_done_callback(bad)
        future.set_result(None)
    with left, right:
        with pytest.raises(leave, match="out"):
            loop.run_forever()
        assert seen == []
        assert not loop.is_running() and asyncio._get_running_loop() is None
        spin(loop)
        expected = ["scheduled before the exit"]
        assert seen == (["queued behind"] if source == "soon" else []) + expected
    if source == "task":
        assert type(task.exception()) is leave
    assert loop.run_until_complete(give(4)) == 4
    assert errors == []


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["connection_made", "data_received", "eof_received", "connection_lost"])
def test_exits_of_a_protocol_leave_run_forever(loop, errors, leave, where):
    left, right = socket.socketpair()
    with left, right:
        calls = []

        def bad(self, *args):
            calls.append(where)
            if len(calls) == 1:
                raise leave("out")

        protocol_type = type("Bad", (asyncio.Protocol,), {where: bad})
        right.send(b"x")
        right.shutdown(socket.SHUT_WR)
        with pytest.raises(leave, match="out"):
            transport, _ = loop.run_until_complete(loop.create_connection(protocol_type, sock=left))
            if where == "connection_lost":
                transport.close()
            loop.run_forever()
        assert not loop.is_running() and asyncio._get_running_loop() is None
        for task in asyncio.all_tasks(loop):
            task.cancel()
        # The end of an interrupted run_until_complete may still be queued: let it stop these turns.
        spin(loop, 4)
        assert loop.run_until_complete(give(4)) == 4
    assert errors == []


def test_exit_from_run_until_complete_is_not_logged(loop, errors):
    async def bad():
        raise SystemExit(3)

    with pytest.raises(SystemExit) as info:
        loop.run_until_complete(bad())
    assert info.value.code == 3
    gc.collect()
    assert errors == []


@pytest.mark.parametrize(
    "kind_of", [ValueError, asyncio.CancelledError, GeneratorExit, StopIteration, type("Odd", (BaseException,), {})]
)
def test_other_exceptions_of_callbacks_are_reported_and_the_run_goes_on(loop, errors, kind_of):
    seen = []

    def bad():
        raise kind_of("reported")

    loop.call_soon(bad)
    loop.call_later(0, bad)
    loop.call_soon(seen.append, "next")
    spin(loop)
    spin(loop)
    assert seen == ["next"]
    assert [type(context["exception"]) for context in errors] == [kind_of, kind_of]
