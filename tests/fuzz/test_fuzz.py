"""Fuzzing in short: the kept inputs and some hundred changes of them, always the same; `make fuzz` goes on with
coverage.

That the targets find what is wrong is shown on asyncio's own loop with a fault planted; those in the C source are
planted by `python tests/fuzz --plant`.
"""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import fuzz_corpus
import fuzz_plain
import fuzz_targets
import fuzz_tls
import pytest

ROOM = Path(__file__).resolve().parent

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(bool(os.environ.get("PYTHON")), reason="played on the default interpreter only"),
]


@pytest.mark.parametrize("target, changes", [
    ("tls", 100), ("addresses", 150), ("streams", 250), ("buffers", 200), ("poke", 200),
])  # fmt: skip
def test_no_input_breaks_a_rule(target, changes):
    command = [sys.executable, ROOM, target, "--short", str(changes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, check=False)
    if "skipped" in done.stdout:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 break a rule" in done.stdout


class LostTwice(asyncio.sslproto.SSLProtocol):
    def connection_lost(self, exc):
        protocol = self._app_protocol
        super().connection_lost(exc)
        self._loop.call_soon(protocol.connection_lost, exc)


class Forgetful(asyncio.sslproto.SSLProtocol):
    """Drops the last of several writes."""

    def _write_appdata(self, pieces):
        super()._write_appdata(pieces[:2])


class Flipping(asyncio.sslproto.SSLProtocol):
    """Changes a byte of what it sends."""

    def _process_outgoing(self):
        write = self._transport.write
        self._transport.write = lambda data: write(data[:-1] + bytes([data[-1] ^ 1]) if len(data) > 500 else data)
        super()._process_outgoing()
        self._transport.write = write


class Deaf(asyncio.selector_events._SelectorSocketTransport):
    def resume_reading(self):
        pass


class Truncating(asyncio.selector_events._SelectorDatagramTransport):
    def sendto(self, data, addr=None):
        if type(addr) is tuple and len(addr) == 2 and type(addr[1]) is int:
            addr = (addr[0], addr[1] & 0xFFFF)
        super().sendto(data, addr)


class FaultyLoop(asyncio.SelectorEventLoop):
    def _make_socket_transport(self, sock, protocol, waiter=None, **more):
        return Deaf(self, sock, protocol, waiter, **more)

    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None, extra=None, **more):
        return Truncating(self, sock, protocol, address, waiter, extra, **more)


@pytest.mark.parametrize("target, fault, text", [
    ("tls", LostTwice, "behind connection_lost"),
    ("tls", Flipping, "an honest peer met SSLError"),
    ("tls", Forgetful, "left"),
    ("streams", FaultyLoop, "where asyncio has"),
    ("addresses", FaultyLoop, "log differs"),
])  # fmt: skip
def test_a_planted_fault_is_found(target, fault, text, monkeypatch):
    """By the kept inputs alone."""
    factory = asyncio.SelectorEventLoop if target == "tls" else fault
    monkeypatch.setattr(fuzz_tls, "stock_protocol", fault)
    monkeypatch.setattr(fuzz_targets, "factory_of", lambda kind: factory)
    try:
        fuzz_targets.check(target)
    except fuzz_targets.Unavailable as exc:
        pytest.skip(str(exc))
    outcome = fuzz_plain.play(target, "faulty", lambda: fuzz_corpus.some(target, 0))
    assert any(text in told for _, told in outcome.failures), outcome.kinds()


def test_an_input_that_ends_the_process_is_told(monkeypatch):
    monkeypatch.setattr(fuzz_targets, "load", lambda target: lambda data, factory: data == b"c" and os.abort())
    outcome = fuzz_plain.play("any", "asyncio", lambda: [b"a", b"b", b"c", b"d"], most_deaths=2)
    assert outcome.played == 4
    assert outcome.failures == [(b"c", "the process ended with -6")]
