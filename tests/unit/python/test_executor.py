"""run_in_executor, the default executor's life, and the name look-ups that run on it.

Covers the look-ups of loopmod.Loop and what it does with asyncio's executor. Relies on the fixtures of
tests/conftest.py.
"""

import asyncio
import concurrent.futures
import gc
import socket
import sys
import threading
import warnings

import pytest
from loop_support import spin

pytestmark = pytest.mark.timeout(60)


def test_default_executor(loop):
    def job(one, two):
        return one + two, threading.current_thread() is not threading.main_thread()

    future = loop.run_in_executor(None, job, 1, 2)
    assert isinstance(future, asyncio.Future) and future.get_loop() is loop
    assert loop.run_until_complete(future) == (3, True)
    name = loop.run_until_complete(loop.run_in_executor(None, lambda: threading.current_thread().name))
    assert name.startswith("asyncio_")


def test_own_executor(loop):
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="own") as executor:
        name = loop.run_until_complete(loop.run_in_executor(executor, lambda: threading.current_thread().name))
    assert name.startswith("own_")


def test_exceptions(loop):
    def job():
        raise LookupError("in the thread")

    with pytest.raises(LookupError, match="in the thread"):
        loop.run_until_complete(loop.run_in_executor(None, job))


def test_stop_iteration(loop, errors):
    def job():
        raise StopIteration(3)

    future = loop.run_in_executor(None, job)
    if sys.version_info >= (3, 13):
        with pytest.raises(RuntimeError) as info:
            loop.run_until_complete(future)
        assert type(info.value.__cause__) is StopIteration
    else:
        # Refused by set_exception, in a callback: the waiter never hears of it.
        loop.set_exception_handler(lambda loop, context: (errors.append(context), loop.stop()))
        loop.run_forever()
        assert [type(context["exception"]) for context in errors] == [TypeError]
        future.cancel()
        spin(loop)


def test_cancellation(loop):
    started, release = threading.Event(), threading.Event()

    def job():
        started.set()
        release.wait(30)

    async def main():
        future = loop.run_in_executor(None, job)
        while not started.is_set():
            await asyncio.sleep(0.001)
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        release.set()
        await loop.shutdown_default_executor()

    loop.run_until_complete(main())


def test_not_callable_in_debug_mode(loop, debug):
    async def coroutine():
        pass

    if not debug:
        pytest.skip("checked in debug mode only")
    with pytest.raises(TypeError, match=r"a callable object was expected by run_in_executor\(\), got 3"):
        loop.run_in_executor(None, 3)
    with pytest.raises(TypeError, match=r"coroutines cannot be used with run_in_executor\(\)"):
        loop.run_in_executor(None, coroutine)


def test_not_callable_otherwise(loop, debug):
    if debug:
        pytest.skip("refused at once in debug mode")
    with pytest.raises(TypeError):
        loop.run_until_complete(loop.run_in_executor(None, 3))


@pytest.mark.parametrize("bad", [None, 3, object(), "text"])
def test_set_default_executor_refuses_other_types(loop, bad):
    with pytest.raises(TypeError):
        loop.set_default_executor(bad)


def test_set_default_executor(loop):
    executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine")
    loop.set_default_executor(executor)
    name = loop.run_until_complete(loop.run_in_executor(None, lambda: threading.current_thread().name))
    assert name.startswith("mine_")
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError):
        executor.submit(int)


def test_after_shutdown(loop):
    assert loop.run_until_complete(loop.run_in_executor(None, int)) == 0
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
        loop.run_in_executor(None, int)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        assert loop.run_until_complete(loop.run_in_executor(executor, int)) == 0
    loop.run_until_complete(loop.shutdown_default_executor())


def test_shutdown_without_use(loop):
    assert loop.run_until_complete(loop.shutdown_default_executor()) is None
    with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
        loop.run_in_executor(None, int)


def test_shutdown_waits_for_the_jobs(loop):
    release, done = threading.Event(), []

    def job():
        assert release.wait(30)
        done.append(True)

    async def main():
        future = loop.run_in_executor(None, job)
        loop.call_later(0.01, release.set)
        await loop.shutdown_default_executor()
        assert done == [True]
        await future

    loop.run_until_complete(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="shutdown_default_executor takes no timeout")
def test_shutdown_with_a_timeout(loop):
    release, begun = threading.Event(), threading.Event()

    def job():
        begun.set()
        assert release.wait(30)

    async def main():
        future = loop.run_in_executor(None, job)
        while not begun.is_set():
            await asyncio.sleep(0.001)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # Before 3.13 asyncio joins here until the job ends, though the timeout is over.
            loop.call_later(0.2, release.set)
            await loop.shutdown_default_executor(0.01)
        release.set()
        await future
        return [each.category for each in caught]

    caught = loop.run_until_complete(main())
    if sys.version_info >= (3, 13):
        assert RuntimeWarning in caught
    gc.collect()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="shutdown_default_executor takes no timeout")
def test_shutdown_with_a_timeout_that_suffices(loop):
    async def main():
        await loop.run_in_executor(None, int)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await loop.shutdown_default_executor(timeout=30)

    loop.run_until_complete(main())


def test_a_thousand_threads(loop, debug):
    # All of them live at once: each waits until the last one has been started.
    count = 100 if debug else 1000
    release = threading.Event()

    def job(number):
        assert release.wait(60)
        return number

    async def main(executor):
        jobs = [loop.run_in_executor(executor, job, number) for number in range(count)]
        assert len(executor._threads) == count
        release.set()
        return await asyncio.gather(*jobs)

    with concurrent.futures.ThreadPoolExecutor(count) as executor:
        try:
            assert loop.run_until_complete(main(executor)) == list(range(count))
        finally:
            release.set()


def test_results_after_the_loop_was_closed_are_dropped(loop):
    release = threading.Event()
    executor = concurrent.futures.ThreadPoolExecutor(1)
    failures = []
    before, threading.excepthook = threading.excepthook, failures.append
    try:
        loop.run_in_executor(executor, release.wait, 30)
        spin(loop)
        loop.close()
        release.set()
        executor.shutdown()
    finally:
        threading.excepthook = before
    assert failures == []


@pytest.mark.parametrize(
    "args, kwargs",
    [
        (("127.0.0.1", 80), {}),
        (("127.0.0.1", "80"), {"type": socket.SOCK_STREAM}),
        ((b"127.0.0.1", 80), {"family": socket.AF_INET}),
        (("::1", 80), {"type": socket.SOCK_DGRAM}),
        (("localhost", 80), {"type": socket.SOCK_STREAM}),
        ((None, 80), {"flags": socket.AI_PASSIVE, "type": socket.SOCK_STREAM}),
        (("127.0.0.1", None), {"proto": socket.IPPROTO_TCP}),
        (("127.0.0.1", 0), {"flags": socket.AI_CANONNAME | socket.AI_NUMERICHOST}),
        (("127.0.0.1", 80), {"flags": socket.AI_CANONNAME | socket.AI_ADDRCONFIG}),
        (("127.0.0.1", 80), {"family": socket.AF_INET6}),
        (("127.0.0.1", 80), {"family": socket.AF_INET6, "flags": socket.AI_V4MAPPED}),
        (("127.1", 80), {}),
        (("1", 80), {}),
        (("::ffff:1.2.3.4", True), {}),
        (("fe80::1%lo", 1), {"type": socket.SOCK_RAW, "proto": 17}),
        (("10.0.0.1", -1), {}),
        (("10.0.0.1", 70000), {"type": socket.SOCK_STREAM}),
        (("10.0.0.256", 80), {}),
        (("1:2", 80), {}),
        (("::1", 80), {"family": 9999}),
        (("::1", 80), {"type": 9999}),
    ],
)
def test_getaddrinfo(loop, args, kwargs):
    try:
        expected = socket.getaddrinfo(*args, **kwargs)
    except (OSError, OverflowError) as exc:
        with pytest.raises(type(exc)) as info:
            loop.run_until_complete(loop.getaddrinfo(*args, **kwargs))
        assert info.value.args == exc.args
    else:
        found = loop.run_until_complete(loop.getaddrinfo(*args, **kwargs))
        assert repr(found) == repr(expected), "families and kinds are the enums' members"


def test_replaced_executor_is_asked_for_addresses_too(loop, monkeypatch):
    async def run_in_executor(executor, func, *args):
        return executor, func, args

    monkeypatch.setattr(loop, "run_in_executor", run_in_executor)
    executor, _, args = loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))
    assert executor is None and args == ("127.0.0.1", 80, 0, 0, 0, 0)


def test_addresses_after_the_executor_is_shut_down(loop):
    loop.run_until_complete(loop.shutdown_default_executor())
    with pytest.raises(RuntimeError, match="shutdown"):
        loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80))


@pytest.mark.parametrize("args", [("127.0.0.1", "no such service"), ("300.300.300.300.", "no such service")])
def test_getaddrinfo_failures(loop, args):
    with pytest.raises(socket.gaierror):
        loop.run_until_complete(loop.getaddrinfo(*args, flags=socket.AI_NUMERICHOST))


def test_getnameinfo(loop):
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    for address in (("127.0.0.1", 80), ("127.0.0.1", 65535)):
        expected = socket.getnameinfo(address, flags)
        assert loop.run_until_complete(loop.getnameinfo(address, flags)) == expected
    with pytest.raises((socket.gaierror, TypeError)):
        loop.run_until_complete(loop.getnameinfo(("not an address", 80), flags))


def test_patched_look_ups_are_used(loop, monkeypatch):
    # Test suites replace these to answer without a resolver.
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answer)
    monkeypatch.setattr(socket, "getnameinfo", lambda *args: ("patched", "name"))
    assert loop.run_until_complete(loop.getaddrinfo("127.0.0.1", 80)) == answer
    assert loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80))) == ("patched", "name")


def test_patched_look_up_is_used_by_connections(loop, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        asked = []

        def look_up(host, port, *args, **kwargs):
            asked.append((host, port))
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address)]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, "patched.invalid", 4321))
        assert transport.get_extra_info("peername") == address
        assert asked == [("patched.invalid", 4321)]
        transport.close()
        spin(loop, 2)
