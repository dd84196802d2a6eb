"""Defects that users reported of other event loops, and what such loops do better than asyncio: each has its test.

ROWS says which test proves which row; most stand with what they are about, the others here.
"""

import ast
import asyncio
import contextvars
import gc
import itertools
import os
import socket
import sys
import weakref

import pytest
from tcp_support import BIG, Recorder, connected, drop, only_loopmod, recv_exactly, tcp_pair, turns
from tree import UNIT

pytestmark = pytest.mark.timeout(60)


# What was reported, and the tests of which each passes here and fails where the report holds.
ROWS = {
    "happy eyeballs' keywords are rejected": (
        "test_tcp_client.py::test_happy_eyeballs_passes_a_silent_host",
        "test_tcp_client.py::test_interleave",
    ),
    "sendfile and sock_sendfile are missing": ("test_signatures.py::test_call_with_every_keyword",),
    "sock_recvfrom, sock_recvfrom_into, sock_sendto, connect_accepted_socket are missing": (
        "test_signatures.py::test_call_with_every_keyword",
    ),
    "write() and other calls on a closed transport raise": (
        "test_transport_write.py::test_write_on_a_closed_transport_is_dropped",
        "test_transport.py::test_every_call_on_a_lost_transport",
    ),
    "writelines() on a closed transport raises": (
        "test_transport_write.py::test_writelines_on_a_closed_transport_is_dropped",
    ),
    "a cancelled create_connection() closes a descriptor twice": ("test_tcp_client.py::test_cancelled_at_each_turn",),
    "add_reader() makes descriptors non-blocking": ("test_readers.py::test_blocking_mode_is_left_alone",),
    "time() has steps of a millisecond": ("test_clock_has_fine_steps",),
    "timers fire early": ("test_delays.py::test_no_timer_is_early", "test_sleeps_are_not_short"),
    "call_later(0) makes no TimerHandle": ("test_handles.py::test_types", "test_delays.py::test_when"),
    "short timers run as if they were due at once": ("test_short_timer_set_again_and_again",),
    "nested runs cannot be had": ("test_nested_runs.py::test_case",),
    "signal handlers for SIGCHLD are refused": ("test_signals.py::test_child_signal",),
    "an exception of a Python signal handler does not leave the run": (
        "test_interrupts.py::test_exception_of_a_python_handler_leaves_the_run",
    ),
    "Ctrl-C is ignored": (
        "test_interrupts.py::test_ctrl_c_without_a_runner",
        "test_interrupts.py::test_ctrl_c_under_a_runner",
    ),
    "types crash the interpreter when they are made and poked directly": ("test_bad_input.py::test_poked_type",),
    "tasks of eager_task_factory are not eager": ("test_task_factory.py::test_eager_task_runs_at_once",),
    "a task factory of two arguments fails": ("test_task_factory.py::test_factory_with_two_arguments",),
    "close_clients() and abort_clients() are missing": (
        "test_tcp_server.py::test_clients_are_closed_or_aborted",
        "test_unix_server.py::test_clients_are_closed_or_aborted",
    ),
    "create_server(keep_alive=) is rejected": ("test_tcp_listen.py::test_keep_alive",),
    "shutdown_default_executor() ignores its timeout": ("test_executor.py::test_shutdown_with_a_timeout",),
    "wait_closed() does not wait for connections": ("test_tcp_server.py::test_wait_closed",),
    "write() waits for the next turn": (
        "test_transport_write.py::test_small_mutable_data_is_sent_before_write_returns",
    ),
    "an error of sendto() kills the datagram endpoint": (
        "test_udp.py::test_what_the_system_refuses_goes_to_error_received",
    ),
    "an empty datagram is not sent": ("test_udp.py::test_empty_datagrams",),
    "what was queued stays in memory after the end": ("test_queued_data_is_let_go",),
    "a socket closed during sock_recv() aborts the process": ("test_socket_closed_during_an_operation",),
    "timers of one millisecond run in the order of the calls": (
        "test_turn_order.py::test_timers_run_in_the_order_of_their_deadlines",
        "test_timers_within_a_millisecond",
    ),
    "negative delays run in the order of the calls": (
        "test_turn_order.py::test_negative_delays_run_in_the_order_of_their_deadlines",
    ),
    "handles are not asyncio's": ("test_handles.py::test_types",),
    "SystemExit of data_received() is swallowed": ("test_transport_faults.py::test_exit_leaves_run_forever",),
    "getaddrinfo() does not ask the socket module": ("test_executor.py::test_patched_look_ups_are_used",),
    "a transport dropped unclosed is not warned of": ("test_transport_object.py::test_dropped_unclosed",),
    "get_extra_info('socket') is no socket, and None in the end": ("test_transport_object.py::test_extra_info",),
    "a transport takes no attributes": ("test_transport_object.py::test_types_and_attributes",),
    "there are no Unix sockets": ("test_unix_server.py::test_names_of_both_ends",),
    "there is no debug mode": ("test_debug_mode.py::test_slow_callbacks_are_logged",),
    "watching a duplicate of a transport's descriptor aborts": ("test_duplicate_of_a_transports_descriptor",),
    "a dead peer is never noticed with data queued": ("test_transport.py::test_reset_while_data_is_queued",),
    "regular files can be watched": ("test_reader_refusals.py::test_regular_files_and_directories",),
    "keywords of Popen are rejected": (
        "test_subprocess.py::test_keywords_of_popen",
        "test_subprocess.py::test_size_of_the_pipes",
    ),
    "loops in several threads cannot spawn at once": ("test_subprocess_exit.py::test_loops_in_many_threads",),
    "a child's standard streams are no pipes": ("test_subprocess.py::test_standard_streams_are_real_pipes",),
    "writing to a child that has ended raises": ("test_subprocess.py::test_writes_after_the_exit_are_dropped",),
    "a pipe's descriptor is closed twice": (
        "test_pipes_object.py::test_descriptor_is_closed_once_and_through_the_file",
    ),
    "there are no child watchers": ("test_subprocess_exit.py::test_watcher_that_the_program_sets",),
    "a slow preexec_fn": ("test_subprocess.py::test_slow_preexec_fn",),
    "one wake-up reads one datagram": ("test_udp_reading.py::test_one_wake_up_for_several",),
    "close() in mid-download leaves a TLS connection open": ("test_tls.py::test_close_in_mid_download_ends_at_once",),
    "start_tls() loses what the StreamReader holds": ("test_tls.py::test_start_tls_keeps_what_the_reader_holds",),
    "an end of TLS without close_notify is not told of": ("test_tls.py::test_an_end_without_close_notify_is_an_end",),
    "TLS connections leak": (
        "test_tls.py::test_nothing_is_left_of_a_connection",
        "test_leaks.py::test_nothing_grows",
    ),
    "the module lacks Loop, run and install": ("test_the_module_is_complete",),
    # what asyncio does worse
    "a descriptor closed unremoved and used again is dead": (
        "test_reader_lifetime.py::test_closed_and_reused_number",
        "test_closed_unremoved_and_used_again",
    ),
    "a BufferedProtocol has to be one by its class": (
        "test_transport_protocol.py::test_buffered_protocol_without_the_base_class",
    ),
    "connection_lost runs in another context after close()": (
        "test_transport_protocol.py::test_context_of_the_callbacks",
        "test_context_of_a_loss_by_close",
    ),
}


def functions_of(path):
    return {node.name for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("tests", ROWS.values(), ids=ROWS)
def test_the_table_names_tests_that_exist(tests):
    for test in tests:
        module, _, name = test.rpartition("::")
        assert name in functions_of(*UNIT.rglob(module or "test_known_defects.py"))


def test_clock_has_fine_steps(loop):
    moments = [loop.time() for _ in range(1000)]
    assert moments == sorted(moments)
    assert min(late - early for early, late in itertools.pairwise(moments) if late > early) < 1e-4


@pytest.mark.parametrize("delay", [0.0001, 0.0004, 0.0006, 0.001, 0.0015, 0.0029])
def test_sleeps_are_not_short(run, delay):
    """By the loop's clock; below it lies only the resolution that asyncio documents."""

    async def main():
        loop = asyncio.get_running_loop()
        for _ in range(50):
            start = loop.time()
            await asyncio.sleep(delay)
            assert loop.time() - start >= delay - 1e-6

    run(main())


def test_short_timer_set_again_and_again(loop):
    """A library that polls every 0.4 ms runs that often and not in every turn."""
    interval, count = 0.0004, 50
    called = []

    def again():
        called.append(loop.time())
        if len(called) < count:
            loop.call_later(interval, again)
        else:
            loop.stop()

    start = loop.time()
    loop.call_later(interval, again)
    loop.run_forever()
    assert called[-1] - start >= count * (interval - 1e-6)


def test_timers_within_a_millisecond(loop):
    called = []
    start = loop.time() + 0.001
    for place in (7, 2, 9, 0, 5, 3, 8, 1, 6, 4):
        loop.call_at(start + place * 1e-5, called.append, place)
    loop.call_at(start + 0.001, loop.stop)
    loop.run_forever()
    assert called == sorted(called) and len(called) == 10


class Weak(bytearray):
    """Bytes that can be watched until they are gone."""


@pytest.mark.parametrize("end", ["abort", "reset"])
def test_queued_data_is_let_go(run, end):
    async def main():
        async with connected() as (transport, protocol, far):
            data = Weak(BIG)
            transport.write(data)
            ref = weakref.ref(data)
            del data
            assert transport.get_write_buffer_size() > 0
            if end == "abort":
                transport.abort()
            else:
                far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                far.close()
            await protocol.lost
            await turns()
            assert transport.get_write_buffer_size() == 0
            gc.collect()
            assert ref() is None

    run(main())


@pytest.mark.parametrize("operation", ["recv", "accept", "connect"])
def test_socket_closed_during_an_operation(run, errors, kind, operation):
    """The program and the loop survive it, and other sockets are not disturbed."""
    if operation == "recv":
        only_loopmod(kind, "asyncio's selector keeps the closed descriptor, and its number's next user hangs")

    async def main():
        loop = asyncio.get_running_loop()
        sock, far = tcp_pair()
        if operation == "recv":
            pending = loop.sock_recv(sock, 10)
        elif operation == "accept":
            sock.close()
            sock = socket.create_server(("127.0.0.1", 0))
            sock.setblocking(False)
            pending = loop.sock_accept(sock)
        else:
            sock.close()
            listener = socket.create_server(("127.0.0.1", 0))
            sock = socket.socket()
            sock.setblocking(False)
            pending = loop.sock_connect(sock, listener.getsockname())
        task = loop.create_task(pending)
        await asyncio.sleep(0)
        sock.close()
        async with connected() as (transport, protocol, other):
            transport.write(b"alive")
            assert await recv_exactly(other, 5) == b"alive"
            other.send(b"as well")
            assert await protocol.until_received(7) == b"as well"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        far.close()
        if operation == "connect":
            listener.close()

    run(main())


def test_duplicate_of_a_transports_descriptor(run, errors):
    async def main():
        loop = asyncio.get_running_loop()
        async with connected() as (transport, protocol, far):
            copy = transport.get_extra_info("socket").dup()
            seen = []
            loop.add_writer(copy, seen.append, "writable")
            loop.add_reader(copy, seen.append, "readable")
            await turns()
            assert seen and set(seen) == {"writable"}
            assert loop.remove_writer(copy) and loop.remove_reader(copy)
            copy.close()
            far.send(b"goes on")
            assert await protocol.until_received(7) == b"goes on"

    run(main())
    assert errors == []


def test_closed_unremoved_and_used_again(kind, run, errors):
    only_loopmod(kind, "asyncio's selector keeps the closed descriptor and refuses the new one")

    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        number = near.fileno()
        loop.add_reader(near, int)
        await turns()
        near.close()
        far.close()
        # the same number again: a connection over it works
        fresh, other = tcp_pair()
        os.dup2(fresh.fileno(), number)
        fresh.close()
        transport, protocol = await loop.create_connection(Recorder, sock=socket.socket(fileno=number))
        transport.write(b"there")
        assert await recv_exactly(other, 5) == b"there"
        other.send(b"and back")
        assert await protocol.until_received(8) == b"and back"
        transport.abort()
        other.close()
        await turns()

    run(main())
    assert errors == []


def test_context_of_a_loss_by_close(run):
    """close() is called in a context of its own; connection_lost runs in it, as any callback scheduled there."""
    variable = contextvars.ContextVar("variable", default="nowhere")

    class Looks(Recorder):
        def connection_lost(self, exc):
            self.seen = variable.get()
            super().connection_lost(exc)

    async def main():
        near, far = tcp_pair()
        transport, protocol = await asyncio.get_running_loop().create_connection(Looks, sock=near)
        variable.set("at close()")
        transport.close()
        await protocol.lost
        assert protocol.seen == ("at close()" if sys.version_info < (3, 15) else "nowhere")
        drop(transport)
        far.close()

    run(main())


def test_the_module_is_complete(kind):
    only_loopmod(kind, "asks loopmod")
    import loopmod

    assert issubclass(loopmod.Loop, asyncio.AbstractEventLoop)
    assert callable(loopmod.run) and callable(loopmod.install) and callable(loopmod.new_event_loop)

    async def which():
        return type(asyncio.get_running_loop())

    assert loopmod.run(which()) is loopmod.Loop
