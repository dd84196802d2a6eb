"""Fail one allocation after the other in calls of the C core: nothing but MemoryError comes of it.

    python no_memory.py [CASE]

Needs _testcapi; says so and ends well without it. What must not come out is a SystemError, which is a call that fails
without an exception or succeeds with one. Only calls that are C all through: the interpreter itself does not survive
each failure within a frame.
"""

import asyncio
import faulthandler
import logging
import os
import socket
import ssl
import sys
import warnings
from functools import partial

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]

import loopmod  # noqa: E402
from loopmod import _loopmod  # noqa: E402

FOUND = []
CONTEXT = ssl.create_default_context()
QUIET = 40  # so many calls that did not fail end a case


def note(exc):
    seen = set()
    while exc is not None and id(exc) not in seen:
        seen.add(id(exc))
        if isinstance(exc, SystemError):
            FOUND.append(str(exc))
        exc = exc.__cause__ or exc.__context__


class Below:
    """A transport below, of C functions."""

    write = close = _force_close = abort = is_closing = staticmethod(id)


async def nothing():
    pass


def pair(kind=socket.SOCK_STREAM):
    ends = socket.socketpair(type=kind)
    for sock in ends:
        sock.setblocking(False)
    return ends


def tls(loop, begins=True):
    made = _loopmod.SSLProtocol(loop, asyncio.Protocol(), CONTEXT, None, False, "localhost")
    if begins:
        made.connection_made(Below())
    return made


def stream(loop):
    near, far = pair()
    made = loop._make_socket_transport(near, asyncio.Protocol())
    turn(loop)
    return made, far


def turn(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


def done_future(loop, count):
    made = loop.create_future()
    for _ in range(count):
        made.add_done_callback(id)
    return made


def failed_future(loop):
    made = loop.create_future()
    made.set_exception(ValueError("x"))
    made.exception()
    return made


def made_twice(loop):
    made = done_future(loop, 2)
    made.set_result(1)
    return made


def with_tasks(loop):
    future = loop.create_future()
    for made in (future, loop.create_future()):
        loop.create_task(wait_for(made))
        made.set_result(1)
    loop.call_soon(loop.stop)
    return loop


async def wait_for(future):
    await future


def queued(loop):
    for _ in range(3):
        loop.call_soon(id, 1)
    loop.call_later(0, id, 1)
    loop.call_soon(loop.stop)
    return loop


# A name, and what makes the call to be tried of a loop: no frame of Python's, whose own failures are not ours.
CASES = {
    "call_soon": lambda loop: partial(loop.call_soon, id, 1, 2, 3),
    "call_later": lambda loop: partial(loop.call_later, 1, id, 1),
    "call_at": lambda loop: partial(loop.call_at, 1, id),
    "call_soon_threadsafe": lambda loop: partial(loop.call_soon_threadsafe, id),
    "create_future": lambda loop: loop.create_future,
    "create_task": lambda loop: partial(loop.create_task, nothing()),
    "create_task_named": lambda loop: partial(loop.create_task, nothing(), name="name"),
    "add_done_callback": lambda loop: partial(done_future(loop, 3).add_done_callback, id),
    "callbacks": lambda loop: partial(getattr, done_future(loop, 5), "_callbacks"),
    "remove_done_callback": lambda loop: partial(done_future(loop, 5).remove_done_callback, id),
    "set_result": lambda loop: partial(done_future(loop, 5).set_result, 1),
    "set_exception": lambda loop: partial(done_future(loop, 5).set_exception, ValueError),
    "cancel": lambda loop: partial(done_future(loop, 5).cancel, "message"),
    "result": lambda loop: failed_future(loop).result,
    "iter": lambda loop: partial(iter, made_twice(loop)),
    "await": lambda loop: partial(iter(made_twice(loop)).send, None),
    "await_failed": lambda loop: partial(next, iter(failed_future(loop))),
    "cancel_task": lambda loop: loop.create_task(nothing()).cancel,
    "task_name": lambda loop: loop.create_task(nothing()).get_name,
    "run": lambda loop: queued(loop).run_forever,
    "run_tasks": lambda loop: with_tasks(loop).run_forever,
    "ready": lambda loop: partial(getattr, queued(loop), "_ready_items"),
    "add_reader": lambda loop: partial(loop._add_reader, pair()[0].detach(), id),
    "watch_once": lambda loop: partial(loop._watch_once, pair()[0].detach(), id),
    "watched": lambda loop: partial(loop._watched, pair()[0].detach()),
    "socket_transport": lambda loop: partial(loop._make_socket_transport, pair()[0], asyncio.Protocol()),
    "datagram_transport": lambda loop: partial(
        loop._make_datagram_transport, pair(socket.SOCK_DGRAM)[0], asyncio.DatagramProtocol()
    ),
    "write": lambda loop: partial(stream(loop)[0].write, b"x" * 10_000_000),
    "writelines": lambda loop: partial(stream(loop)[0].writelines, [b"x" * 1_000_000, bytearray(9)] * 9),
    "close_transport": lambda loop: stream(loop)[0].close,
    "abort_transport": lambda loop: stream(loop)[0].abort,
    "sock_recv": lambda loop: partial(loop._start_recv, pair()[0], 10),
    "sock_sendall": lambda loop: partial(loop._start_sendall, pair()[0], b"x" * 10_000_000),
    "tls_new": lambda loop: partial(tls, loop, False),
    "tls_lost": lambda loop: partial(tls(loop).connection_lost, None),
    "tls_eof": lambda loop: tls(loop).eof_received,
    "tls_write": lambda loop: partial(tls(loop)._app_transport.write, b"x" * 100_000),
    "tls_writelines": lambda loop: partial(tls(loop)._app_transport.writelines, [b"x", bytearray(9)] * 9),
    "tls_close": lambda loop: tls(loop)._app_transport.close,
    "tls_extra": lambda loop: partial(tls(loop)._get_extra_info, "sslcontext"),
}


def attempt(testcapi, name, number):
    loop = loopmod.new_event_loop()
    loop.set_exception_handler(lambda loop, context: note(context.get("exception")))
    use = CASES[name](loop)
    failed = False
    testcapi.set_nomemory(number, number + 1)
    try:
        use()
    except BaseException as exc:
        testcapi.remove_mem_hooks()
        note(exc)
        failed = isinstance(exc, MemoryError | SystemError)
    finally:
        testcapi.remove_mem_hooks()
    asyncio._set_running_loop(None)  # before 3.12 that needs memory, and so may have failed where the run ended
    try:
        turn(loop)
    except BaseException as exc:
        note(exc)
    del use
    loop.close()
    return failed


def enumerate_failures(testcapi, name):
    quiet = number = failures = 0
    while quiet < QUIET:
        failed = attempt(testcapi, name, number)
        failures += failed
        quiet = 0 if failed else quiet + 1
        number += 1
    return failures


def main(names):
    faulthandler.enable()
    try:
        import _testcapi
    except ImportError:
        print("ok: no _testcapi here")
        return 0
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda unraisable: note(unraisable.exc_value)
    bad = False
    for name in names or CASES:
        FOUND.clear()
        failures = enumerate_failures(_testcapi, name)
        if FOUND:
            bad = True
            print("bad", name, len(FOUND), set(FOUND), flush=True)
        elif names:
            print(name, "failed", failures, "times")
    print("bad" if bad else "ok")
    return bad


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
