"""The native gear of TLS: where it is used, where it is not, and all other TLS tests without it.

Covers tls/gear.c.
"""

import _ssl
import ctypes
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tcp_support import pattern, turns
from tls_support import client_context, quiet_drop, replace_method, server_context, tls_pair
from tree import ROOT

OTHERS = sorted(str(path) for path in Path(__file__).parent.glob("test_tls*.py") if path != Path(__file__))


def reaches_openssl():
    if not hasattr(_ssl, "__file__"):
        return False
    if sysconfig.get_config_var("Py_GIL_DISABLED") and sys.version_info[:2] != (3, 14):
        return False
    return hasattr(ctypes.CDLL(_ssl.__file__), "SSL_read")


pytestmark = pytest.mark.skipif(not reaches_openssl(), reason="this Python's OpenSSL cannot be reached")


@pytest.fixture
def kind():
    pytest.importorskip("loopmod")
    return "loopmod"


async def gears(client, server):
    """Of a connection that works: whether its client and its server have the native gear; the server's context."""
    (near_transport, near), (far_transport, far) = await tls_pair(client, server)
    near_transport.write(pattern(50_000))
    assert await far.until_received(50_000) == pattern(50_000)
    far_transport.write(pattern(50_000, 2))
    assert await near.until_received(50_000) == pattern(50_000, 2)
    used = tuple(transport._ssl_protocol._is_native for transport in (near_transport, far_transport))
    context = far_transport.get_extra_info("ssl_object").context
    quiet_drop(near_transport)
    quiet_drop(far_transport)
    await turns(8)
    return used, context


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_it_is_used(run, version):
    used, _ = run(gears(client_context(version), server_context(version)))
    assert used == (True, True)


def test_the_environment_turns_it_off(run, monkeypatch):
    monkeypatch.setenv("LOOPMOD_NATIVE_TLS", "0")
    used, _ = run(gears(client_context(), server_context()))
    assert used == (False, False)


@pytest.mark.parametrize("method", ["read", "write"])
def test_methods_of_others_turn_it_off(run, monkeypatch, method):
    replace_method(monkeypatch, method)
    used, _ = run(gears(client_context(), server_context()))
    assert used == (False, False)


def test_a_message_callback_turns_it_off(run):
    server = server_context()
    server._msg_callback = lambda *args: None
    used, _ = run(gears(client_context(), server))
    assert used == (True, False)


def test_another_context_by_sni(run):
    """The callback's context takes the place of the one that the SSL was found by."""
    outer, inner = server_context(), server_context()
    outer.sni_callback = lambda sslobject, name, context: setattr(sslobject, "context", inner)
    used, context = run(gears(client_context(), outer))
    assert used == (True, True)
    assert context is inner


@pytest.mark.timeout(600)
def test_all_others_without_it():
    env = dict(os.environ, LOOPMOD_NATIVE_TLS="0", LOOPMOD_TEST_ONLY="loopmod")
    env = {name: value for name, value in env.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:randomly", *OTHERS]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
