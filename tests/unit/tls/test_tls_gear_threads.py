"""Other threads at the SSLObject, the context and the section of a connection whose loop is at work with it.

Covers the sections of tls/session.c and tls/gear.c without a GIL; with it the same holds, and is held to. What only
asks (cipher, certificates, sessions) is anybody's to call; reading and writing is the loop's.
"""

import asyncio
import contextlib
import ctypes
import gc
import ssl
import threading
import time

import pytest
from gil_support import HAS_GIL
from tcp_support import pattern, turns
from tls_support import certificates, client_context, quiet_drop, server_context, tls_linked, tls_pair

pytestmark = pytest.mark.timeout(120)

ROUNDS = 20
SIZE = 40_000  # of a message: three records


@pytest.fixture
def kind():
    pytest.importorskip("loopmod")
    return "loopmod"


@contextlib.contextmanager
def meanwhile(*functions):
    """Call them all over and over in a thread of its own, until the block has ended; raise what they raise."""
    is_over = threading.Event()
    began = threading.Event()
    failures = []
    calls = 0

    def body():
        nonlocal calls
        try:
            while not is_over.is_set():
                for function in functions:
                    function()
                calls += 1
                began.set()
        except BaseException as exc:
            failures.append(exc)
            began.set()

    thread = threading.Thread(target=body)
    thread.start()
    try:
        assert began.wait(60)
        yield
    finally:
        is_over.set()
        thread.join()
    assert not failures, failures
    assert calls


def drop(*ends):
    for end in ends:
        quiet_drop(end.transport)


async def exchange(near, far, rounds=ROUNDS):
    """Messages to and fro between two recorders."""
    there, back = pattern(SIZE), pattern(SIZE, 2)
    for number in range(1, rounds + 1):
        near.transport.write(there)
        await far.until_received(SIZE * number)
        far.transport.write(back)
        await near.until_received(SIZE * number)
    assert bytes(far.received) == there * rounds
    assert bytes(near.received) == back * rounds


def questions(tls):
    """What an SSLObject may be asked at any time."""
    return [
        tls.cipher,
        tls.version,
        tls.getpeercert,
        lambda: tls.getpeercert(True),
        tls.shared_ciphers,
        tls.selected_alpn_protocol,
        tls.get_channel_binding,
        tls.compression,
        lambda: (tls.session, tls.session_reused, tls.context, tls.server_side, tls.server_hostname),
    ]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_ssl_object_is_asked(run, version):
    async def main():
        async with tls_linked(version=version) as (near, far):
            asked = [end.transport.get_extra_info("ssl_object") for end in (near, far)]
            with meanwhile(*questions(asked[0]), *questions(asked[1])):
                await exchange(near, far)

    run(main())


def test_another_context_is_given_to_it(run):
    """Which the SSL is bound to from then on: OpenSSL changes its certificate and looks its session up there."""
    contexts = server_context(), server_context()

    async def main():
        (_, near), (_, far) = await tls_pair(client_context(), contexts[0])
        tls = far.transport.get_extra_info("ssl_object")
        with meanwhile(*[lambda context=context: setattr(tls, "context", context) for context in contexts]):
            await exchange(near, far)
        drop(near, far)
        await turns(8)

    run(main())


def test_its_context_is_changed(run):
    """Whatever is changed, connections that stand go on; of certificates more may be trusted while others begin."""
    client, server = client_context(), server_context()
    authority = certificates().stranger.cert_pem.bytes().decode()
    trust = [
        lambda: client.load_verify_locations(cadata=authority),
        lambda: server.load_verify_locations(cadata=authority),
        client.cert_store_stats,
        server.get_ca_certs,
    ]
    change = [
        lambda: client.set_ciphers("ECDHE+AESGCM"),
        lambda: server.set_ciphers("ECDHE+CHACHA20:ECDHE+AESGCM"),
        lambda: setattr(server, "sni_callback", lambda *args: None),
        lambda: setattr(server, "sni_callback", None),
        lambda: setattr(server, "num_tickets", 1),
        lambda: setattr(client, "options", client.options | ssl.OP_NO_TICKET),
        lambda: setattr(client, "verify_flags", ssl.VERIFY_X509_STRICT),
        lambda: client.set_alpn_protocols(["http/1.1"]),
    ]

    async def main():
        (_, near), (_, far) = await tls_pair(client, server)
        with meanwhile(*trust):
            for _ in range(5):
                (_, other_near), (_, other_far) = await tls_pair(client, server)
                await exchange(other_near, other_far, 3)
                drop(other_near, other_far)
        with meanwhile(*trust, *change):
            await exchange(near, far)
        drop(near, far)
        await turns(8)

    run(main())


def test_loops_in_two_threads_share_the_contexts(new_loop):
    client, server = client_context(), server_context()
    together = threading.Barrier(2)
    failures = []

    async def main():
        together.wait()
        for _ in range(4):
            (_, near), (_, far) = await tls_pair(client, server)
            await exchange(near, far, 10)
            drop(near, far)
        await turns(8)

    def body():
        try:
            loop = new_loop()
            try:
                loop.run_until_complete(main())
            finally:
                loop.close()
        except BaseException as exc:
            failures.append(exc)
            together.abort()

    threads = [threading.Thread(target=body) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


@contextlib.contextmanager
def section_held(obj):
    """Within the block the calling thread has the critical section of an object, unless it waits for anything."""
    section = (ctypes.c_void_p * 4)()
    held = ctypes.byref(section)
    gc.disable()  # which stops all threads
    ctypes.pythonapi.PyCriticalSection_Begin(held, ctypes.py_object(obj))
    try:
        yield
    finally:
        ctypes.pythonapi.PyCriticalSection_End(held)
        gc.enable()


def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


@pytest.mark.skipif(HAS_GIL, reason="critical sections are nothing with the GIL")
@pytest.mark.parametrize("is_reading", [True, False], ids=["read", "write"])
def test_a_record_waits_for_the_section(run, is_reading):
    """While another thread is within a method of the SSLObject, the loop does not touch the SSL."""

    async def main():
        async with tls_linked() as (near, far):
            await exchange(near, far, 1)
            near.received.clear()
            far.received.clear()
            acting = far if is_reading else near
            guard = acting.transport.get_extra_info("ssl_object")._sslobj
            began, seen = [], []

            def hold():
                with section_held(guard):
                    began.append(True)
                    spin(0.3)
                    seen.append(len(far.received))

            thread = threading.Thread(target=hold)
            thread.start()
            while not began:
                await asyncio.sleep(0)
            near.transport.write(b"x" * 1000)
            await far.until_received(1000)
            await asyncio.get_running_loop().run_in_executor(None, thread.join)
            assert seen == [0]

    run(main())


@pytest.mark.skipif(HAS_GIL, reason="asked only without the GIL")
def test_an_object_of_another_size_is_left_alone(monkeypatch):
    """It may have a guard of its own, as CPython's have had before."""
    import _ssl

    from loopmod import _loopmod

    class Larger:
        __slots__ = ("mutex", "ssl")

    monkeypatch.setattr(_ssl, "_SSLSocket", Larger)
    assert not _loopmod._facts()["reaches_openssl"]
