"""Names below the documented interface that libraries, test suites and tools read of loops, servers, transports,
handles, tasks and futures: each is there and tells what asyncio's tells in the same state.

Covers what face/loop_sight.c, loopmod/queues.py and the types of net, core and task show. A row of a table is a
name and a check of it; what is true on stock asyncio has to be true here.
"""

import asyncio
import contextvars
import gc
import heapq
import signal
import socket
import threading
import weakref

import pytest
from tcp_support import BIG, Recorder, only_loopmod, pattern, tcp_pair, turns

pytestmark = pytest.mark.timeout(60)


def walk(table, *objects):
    """Every row's check holds; all that fail are named at once."""
    failed = []
    for name, check in table.items():
        try:
            if check(*objects) is not True:
                failed.append(f"{name}: {check(*objects)!r}")
        except Exception as error:
            failed.append(f"{name}: {error!r}")
    assert failed == []


async def sleeper():
    await asyncio.sleep(3600)


# The loop

IDLE_LOOP = {
    "BaseEventLoop": lambda loop: isinstance(loop, asyncio.BaseEventLoop),
    "SelectorEventLoop": lambda loop: isinstance(loop, asyncio.SelectorEventLoop),
    "_ready": lambda loop: len(loop._ready) == 0 and not loop._ready,
    "_scheduled": lambda loop: len(loop._scheduled) == 0,
    "_timer_cancelled_count": lambda loop: loop._timer_cancelled_count == 0,
    "_closed": lambda loop: loop._closed is False,
    "_stopping": lambda loop: loop._stopping is False,
    "_thread_id": lambda loop: loop._thread_id is None,
    "_default_executor": lambda loop: loop._default_executor is None,
    "_executor_shutdown_called": lambda loop: loop._executor_shutdown_called is False,
    "_asyncgens": lambda loop: type(loop._asyncgens) is weakref.WeakSet,
    "_asyncgens_shutdown_called": lambda loop: loop._asyncgens_shutdown_called is False,
    "_signal_handlers": lambda loop: loop._signal_handlers == {},
    "_exception_handler": lambda loop: loop._exception_handler is None,
    "_task_factory": lambda loop: loop._task_factory is None,
    "_current_handle": lambda loop: loop._current_handle is None,
    "_debug": lambda loop: loop._debug is loop.get_debug(),
    "_clock_resolution": lambda loop: 0 < loop._clock_resolution <= 1e-6,
    "slow_callback_duration": lambda loop: loop.slow_callback_duration > 0,
    "_check_closed": lambda loop: loop._check_closed() is None,
    "_check_running": lambda loop: loop._check_running() is None,
    "_coroutine_origin_tracking_enabled": lambda loop: loop._coroutine_origin_tracking_enabled is False,
    "_transports": lambda loop: len(loop._transports) == 0,
    # hooks that tools call or put something of theirs around
    "methods": lambda loop: all(
        callable(getattr(loop, name))
        for name in (
            "_run_once",
            "_process_events",
            "_timer_handle_cancelled",
            "_asyncgen_firstiter_hook",
            "_asyncgen_finalizer_hook",
            "_set_coroutine_origin_tracking",
            "_make_socket_transport",
            "_make_ssl_transport",
            "_make_datagram_transport",
            "_make_read_pipe_transport",
            "_make_write_pipe_transport",
            "_make_subprocess_transport",
            "_add_reader",
            "_add_writer",
            "_remove_reader",
            "_remove_writer",
            "_start_serving",
            "_stop_serving",
            "_getaddrinfo_debug",
        )
    ),
}


def test_idle_loop(loop):
    walk(IDLE_LOOP, loop)
    loop.stop()
    assert loop._stopping is True
    loop.run_forever()
    walk(IDLE_LOOP, loop)
    loop.close()
    assert loop._closed is True


RUNNING_LOOP = {
    "_thread_id": lambda loop: loop._thread_id == threading.get_ident(),
    "_stopping": lambda loop: loop._stopping is False,
    "_default_executor": lambda loop: loop._default_executor._max_workers > 0,
    "_signal_handlers": lambda loop: [*loop._signal_handlers] == [signal.SIGUSR1],
    "_signal_handlers[]._callback": lambda loop: loop._signal_handlers[signal.SIGUSR1]._callback is int,
    "_signal_handlers[]._args": lambda loop: loop._signal_handlers[signal.SIGUSR1]._args == ("5",),
    "_signal_handlers[] is a Handle": lambda loop: isinstance(loop._signal_handlers[signal.SIGUSR1], asyncio.Handle),
    "_asyncgens": lambda loop: len(loop._asyncgens) == 1,
    "_exception_handler": lambda loop: callable(loop._exception_handler),
    "_task_factory": lambda loop: callable(loop._task_factory),
}


def test_running_loop(run):
    async def numbers():
        yield 1
        yield 2

    async def main():
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, int)
        loop.add_signal_handler(signal.SIGUSR1, int, "5")
        loop.set_exception_handler(lambda loop, context: None)
        loop.set_task_factory(lambda loop, coro, **keywords: asyncio.Task(coro, loop=loop, **keywords))
        generator = numbers()
        assert await anext(generator) == 1
        walk(RUNNING_LOOP, loop)
        await generator.aclose()

    run(main())


def test_queues(loop):
    """What is ready and what is due, as handles that can be looked into."""

    def named(handles):
        return [handle._callback for handle in handles]

    def first():
        pass

    def second():
        pass

    handles = [loop.call_soon(first), loop.call_soon_threadsafe(second)]
    assert len(loop._ready) == 2 and [*loop._ready] == handles
    assert named(loop._ready) == [first, second]
    task = loop.create_task(sleeper())
    assert len(loop._ready) == 3
    # what steps a task is bound to it
    assert loop._ready[-1]._callback.__self__ is task
    assert all(isinstance(handle, asyncio.Handle) and not handle._cancelled for handle in loop._ready)

    timers = [loop.call_later(delay, int) for delay in (300, 100, 200)]
    assert sorted(timers) == heapq.nsmallest(3, loop._scheduled)
    assert loop._scheduled[0] is timers[1] and loop._scheduled[0]._when == timers[1].when()
    assert all(isinstance(handle, asyncio.TimerHandle) for handle in loop._scheduled)
    timers[0].cancel()
    # asyncio may keep a cancelled timer for a while
    assert {handle for handle in loop._scheduled if not handle._cancelled} == set(timers[1:])

    loop.call_soon(loop.stop)
    loop.run_forever()
    assert len(loop._ready) == 0
    assert len([handle for handle in loop._scheduled if not handle._cancelled]) == 3  # with the sleeper's
    for timer in timers:
        timer.cancel()
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))


def test_selector_forgets_a_descriptor(loop):
    """Code that hands a descriptor back takes it from the selector behind the loop's back."""
    near, far = socket.socketpair()
    with near, far:
        seen = []
        loop.add_reader(near, seen.append, 1)
        loop.add_writer(near, seen.append, 2)
        assert loop._selector.get_key(near.fileno()).fd == near.fileno()
        loop._selector.unregister(near.fileno())
        with pytest.raises(KeyError):
            loop._selector.get_key(near.fileno())
        with pytest.raises(KeyError):
            loop._selector.unregister(near.fileno())
        far.send(b"x")
        for _ in range(3):
            loop.call_soon(loop.stop)
            loop.run_forever()
        assert seen == []
        # and it can be watched again
        loop.add_reader(near, seen.append, 1)
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert 1 in seen
        loop.remove_reader(near)


def test_what_is_appended_to_ready_runs(loop):
    seen = []
    handle = asyncio.Handle(seen.append, (1,), loop)
    loop._ready.append(handle)
    assert len(loop._ready) == 1 and loop._ready[0] is handle
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [1]


def test_timers_are_a_snapshot(kind, loop):
    only_loopmod(kind, "asyncio's own heap can be changed")
    loop.call_later(1, int)
    assert isinstance(loop._scheduled, tuple)


# Servers

OPEN_SERVER = {
    "_sockets": lambda server, loop: len(server._sockets) == 1 and server._sockets[0].fileno() >= 0,
    "_loop": lambda server, loop: server._loop is loop,
    "_serving": lambda server, loop: server._serving is True,
    "_ssl_context": lambda server, loop: server._ssl_context is None,
    "_ssl_handshake_timeout": lambda server, loop: server._ssl_handshake_timeout is None,
    "_ssl_shutdown_timeout": lambda server, loop: server._ssl_shutdown_timeout is None,
    "_backlog": lambda server, loop: server._backlog == 7,
    "_protocol_factory": lambda server, loop: server._protocol_factory is Recorder,
    "_serving_forever_fut": lambda server, loop: server._serving_forever_fut is None,
    "_waiters": lambda server, loop: server._waiters == [],
    "sockets": lambda server, loop: type(server.sockets) is tuple,
}

CLOSED_SERVER = {
    "_sockets": lambda server, loop: server._sockets is None,
    "_loop": lambda server, loop: server._loop is loop,
    "_serving": lambda server, loop: server._serving is False,
    "sockets": lambda server, loop: server.sockets == (),
    "_ssl_context": lambda server, loop: server._ssl_context is None,
}


def clients(server):
    """The count of a server's connections, which 3.13 keeps as a set and others as a number."""
    stock = getattr(server, "_clients", None)
    return server._active_count if stock is None else len(stock)


def test_servers(run):
    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Recorder, "127.0.0.1", 0, backlog=7)
        assert clients(server) == 0
        walk(OPEN_SERVER, server, loop)
        sock = socket.create_connection(server.sockets[0].getsockname())
        while clients(server) == 0:
            await asyncio.sleep(0.001)
        assert clients(server) == 1
        sock.close()
        while clients(server) == 1:
            await asyncio.sleep(0.001)
        server.close()
        walk(CLOSED_SERVER, server, loop)

    run(main())


# Transports

OPEN_TRANSPORT = {
    "_loop": lambda t, loop, sock: t._loop is loop,
    "_sock": lambda t, loop, sock: t._sock is sock,
    "_sock_fd": lambda t, loop, sock: t._sock_fd == sock.fileno(),
    "_protocol": lambda t, loop, sock: t._protocol is t.get_protocol(),
    "_protocol_connected": lambda t, loop, sock: t._protocol_connected is True,
    "_server": lambda t, loop, sock: t._server is None,
    "_closing": lambda t, loop, sock: t._closing is False,
    "_paused": lambda t, loop, sock: t._paused is False,
    "_eof": lambda t, loop, sock: t._eof is False,
    "_conn_lost": lambda t, loop, sock: t._conn_lost == 0,
    "_extra": lambda t, loop, sock: {"socket", "sockname", "peername"} <= t._extra.keys(),
    "_high_water": lambda t, loop, sock: t._high_water == 65536,
    "_low_water": lambda t, loop, sock: t._low_water == 16384,
    "_protocol_paused": lambda t, loop, sock: t._protocol_paused is False,
    "_empty_waiter": lambda t, loop, sock: t._empty_waiter is None,
    "_start_tls_compatible": lambda t, loop, sock: t._start_tls_compatible is True,
    "_sendfile_compatible": lambda t, loop, sock: (
        t._sendfile_compatible is asyncio.constants._SendfileMode.TRY_NATIVE
    ),
}

BUSY_TRANSPORT = {
    "_paused": lambda t: t._paused is True,
    "_protocol_paused": lambda t: t._protocol_paused is True,
    "_eof": lambda t: t._eof is True,
    "_closing": lambda t: t._closing is True,
    "_conn_lost": lambda t: t._conn_lost == 0,
}

CLOSED_TRANSPORT = {
    "_loop": lambda t: t._loop is None,
    "_sock": lambda t: t._sock is None,
    "_protocol": lambda t: t._protocol is None,
    "_server": lambda t: t._server is None,
    "_closing": lambda t: t._closing is True,
    "_conn_lost": lambda t: t._conn_lost > 0,
    "_extra": lambda t: t._extra["socket"].fileno() == -1,
}


@pytest.mark.parametrize("family", ["inet", "unix"])
def test_transports(run, family):
    async def main():
        loop = asyncio.get_running_loop()
        near, far = tcp_pair() if family == "inet" else socket.socketpair()
        transport, protocol = await loop.create_connection(Recorder, sock=near)
        walk(OPEN_TRANSPORT, transport, loop, near)
        transport.pause_reading()
        transport.write(pattern(BIG))
        transport.write_eof()
        transport.close()
        walk(BUSY_TRANSPORT, transport)
        transport.abort()
        await protocol.lost
        await turns()
        walk(CLOSED_TRANSPORT, transport)
        far.close()

    run(main())


def test_accepted_transport(run):
    async def main():
        loop = asyncio.get_running_loop()
        made = []

        class Listed(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                made.append(self)

        server = await loop.create_server(Listed, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as peer:
            while not made:
                await asyncio.sleep(0.001)
            transport = made[0].transport
            assert transport._server is server
            assert transport._sock.getpeername() == peer.getsockname()
            assert type(transport._sock) is socket.socket
            assert transport._sock_fd == transport._sock.fileno()
        await made[0].lost
        server.close()
        await server.wait_closed()

    run(main())


# Handles

CONTEXT = contextvars.copy_context()

HANDLES = {
    "_callback": lambda handle, loop: handle._callback is int,
    "_args": lambda handle, loop: handle._args == ("1", 2),
    "_context": lambda handle, loop: handle._context is CONTEXT,
    "_cancelled": lambda handle, loop: handle._cancelled is False,
    "_loop": lambda handle, loop: handle._loop is loop,
    "_source_traceback": lambda handle, loop: bool(handle._source_traceback) is loop.get_debug(),
    "_repr": lambda handle, loop: handle._repr is None,
    "_run": lambda handle, loop: callable(handle._run),
    "_when": lambda handle, loop: handle._when == handle.when() if hasattr(handle, "when") else True,
    "_scheduled": lambda handle, loop: handle._scheduled is True if hasattr(handle, "when") else True,
}

CANCELLED_HANDLES = {
    "_callback": lambda handle: handle._callback is None,
    "_args": lambda handle: handle._args is None,
    "_cancelled": lambda handle: handle._cancelled is True,
}


def test_handles(loop):
    for handle in (
        loop.call_soon(int, "1", 2, context=CONTEXT),
        loop.call_soon_threadsafe(int, "1", 2, context=CONTEXT),
        loop.call_later(100, int, "1", 2, context=CONTEXT),
    ):
        walk(HANDLES, handle, loop)
        handle.cancel()
        walk(CANCELLED_HANDLES, handle)


# Tasks and futures

PENDING = {
    "_asyncio_future_blocking of the class": lambda f, loop: hasattr(type(f), "_asyncio_future_blocking"),
    "_asyncio_future_blocking": lambda f, loop: f._asyncio_future_blocking is False,
    "_loop": lambda f, loop: f._loop is loop,
    "_state": lambda f, loop: f._state == "PENDING",
    "_callbacks": lambda f, loop: [callback for callback, _ in f._callbacks] == [int],
    "_callbacks, contexts": lambda f, loop: f._callbacks[0][1] is CONTEXT,
    "_result": lambda f, loop: f._result is None,
    "_exception": lambda f, loop: f._exception is None,
    "_log_traceback": lambda f, loop: f._log_traceback is False,
    "_source_traceback": lambda f, loop: bool(f._source_traceback) is loop.get_debug(),
    "_cancel_message": lambda f, loop: f._cancel_message is None,
    "weak references": lambda f, loop: weakref.ref(f)() is f,
    "isfuture": lambda f, loop: asyncio.isfuture(f) is True,
    "isinstance Future": lambda f, loop: isinstance(f, asyncio.Future),
}

PENDING_TASK = {
    "isinstance Task": lambda task, loop: isinstance(task, asyncio.Task),
    "_fut_waiter": lambda task, loop: isinstance(task._fut_waiter, asyncio.Future) and not task._fut_waiter.done(),
    "_must_cancel": lambda task, loop: task._must_cancel is False,
    "_coro": lambda task, loop: task._coro is task.get_coro(),
    "_coro.cr_frame": lambda task, loop: task._coro.cr_frame.f_code is sleeper.__code__,
    "_log_destroy_pending": lambda task, loop: task._log_destroy_pending is True,
}


def test_pending(run):
    async def main():
        loop = asyncio.get_running_loop()
        task = loop.create_task(sleeper())
        future = loop.create_future()
        await turns()
        for each in (task, future):
            assert each._callbacks is None or each._callbacks == []
            each.add_done_callback(int, context=CONTEXT)
            walk(PENDING, each, loop)
            each.remove_done_callback(int)
        walk(PENDING_TASK, task, loop)
        task._log_destroy_pending = False
        assert task._log_destroy_pending is False
        # a waiter that is over stays the task's until the task runs
        waiter = task._fut_waiter
        waiter.set_result(None)
        assert task._fut_waiter is waiter and waiter.done()
        task.cancel()
        assert task._must_cancel is True
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task._fut_waiter is None

    run(main())


def test_done(run):
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        future.set_result(5)
        assert (future._state, future._result, future._exception) == ("FINISHED", 5, None)
        failed = loop.create_future()
        error = ValueError("x")
        failed.set_exception(error)
        assert (failed._state, failed._result, failed._exception) == ("FINISHED", None, error)
        assert failed._log_traceback is True
        failed._log_traceback = False
        assert failed._log_traceback is False
        with pytest.raises(ValueError):
            failed._log_traceback = True
        cancelled = loop.create_future()
        cancelled.cancel("why")
        assert (cancelled._state, cancelled._cancel_message) == ("CANCELLED", "why")
        del failed
        gc.collect()

    run(main())


def test_run_until_complete_is_marked(run):
    """How test frameworks find the task that everything hangs on."""

    async def main():
        callbacks = [callback for callback, _ in asyncio.current_task()._callbacks]
        assert asyncio.base_events._run_until_complete_cb in callbacks

    run(main())
