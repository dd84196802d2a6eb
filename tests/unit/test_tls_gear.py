"""The native gear of TLS: where it is used, where it is not, and all other TLS tests without it."""

import _ssl
import asyncio
import ctypes
import os
import ssl
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tcp_support import pattern
from tls_support import HOST, client_context, quiet_drop, server_context, tls_linked

HERE = Path(__file__).parent
OTHERS = sorted(str(path) for path in HERE.glob("test_tls*.py") if path != Path(__file__))


def reaches_openssl():
    if sysconfig.get_config_var("Py_GIL_DISABLED") or not hasattr(_ssl, "__file__"):
        return False
    return hasattr(ctypes.CDLL(_ssl.__file__), "SSL_read")


def native(protocol):
    return protocol.transport._ssl_protocol._is_native


pytestmark = pytest.mark.skipif(not reaches_openssl(), reason="this Python's OpenSSL cannot be reached")


@pytest.fixture
def kind():
    pytest.importorskip("loopmod")
    return "loopmod"


async def check(near, far):
    near.transport.write(pattern(50_000))
    assert await far.until_received(50_000) == pattern(50_000)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_it_is_used(run, version):
    async def main():
        async with tls_linked(version=version) as (near, far):
            await check(near, far)
            assert native(near) and native(far)

    run(main())


def test_the_environment_turns_it_off(run, monkeypatch):
    monkeypatch.setenv("LOOPMOD_NATIVE_TLS", "0")

    async def main():
        async with tls_linked() as (near, far):
            await check(near, far)
            assert not native(near) and not native(far)

    run(main())


@pytest.mark.parametrize("method", ["read", "write"])
def test_methods_of_others_turn_it_off(run, monkeypatch, method):
    original = getattr(ssl.SSLObject, method)
    monkeypatch.setattr(ssl.SSLObject, method, lambda *args: original(*args))

    async def main():
        async with tls_linked() as (near, far):
            await check(near, far)
            assert not native(near) and not native(far)

    run(main())


def test_a_message_callback_turns_it_off(run):
    async def main():
        loop = asyncio.get_running_loop()
        context = server_context()
        context._msg_callback = lambda *args: None
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=context)
        protocols = []

        def factory():
            protocols.append(asyncio.Protocol())
            return protocols[-1]

        transport, _ = await loop.create_connection(
            factory, *server.sockets[0].getsockname(), ssl=client_context(), server_hostname=HOST
        )
        assert transport._ssl_protocol._is_native
        quiet_drop(transport)
        server.close()

    run(main())


def test_another_context_by_sni(run):
    """The callback's context takes the place of the one that the SSL was found by."""

    async def main():
        loop = asyncio.get_running_loop()
        outer, inner = server_context(), server_context()
        outer.sni_callback = lambda sslobject, name, context: setattr(sslobject, "context", inner)
        seen = loop.create_future()

        async def serve(reader, writer):
            seen.set_result((writer.transport._ssl_protocol._is_native, writer.get_extra_info("ssl_object").context))
            writer.write(await reader.readexactly(50_000))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=outer)
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(), ssl=client_context(), server_hostname=HOST
        )
        writer.write(pattern(50_000))
        assert await reader.readexactly(50_000) == pattern(50_000)
        is_native, context = await seen
        assert is_native and context is inner
        writer.close()
        server.close()

    run(main())


@pytest.mark.timeout(600)
def test_all_others_without_it():
    env = dict(os.environ, LOOPMOD_NATIVE_TLS="0", LOOPMOD_TEST_ONLY="loopmod")
    env = {name: value for name, value in env.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *OTHERS]
    done = subprocess.run(command, cwd=HERE.parents[1], env=env, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
