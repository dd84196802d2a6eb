"""The other families of the model of transports (README.md beside this), with fixed seeds.

Each is shown to find a fault, planted into asyncio's own loop.
"""

import asyncio
import os

import pytest
import transport_stage
from transport_differences import FACTORIES, differences, kinds_for
from transport_families import STAGES, make, name_of

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(os.environ.get("PYTHON")), reason="played on the default interpreter only"),
]
COUNTS = {"streams": 20, "socks": 20, "watches": 15, "tls_peer": 10, "datagrams": 15, "servers": 15, "children": 8}


def check(program, name):
    wrong = differences(program, FACTORIES[name])
    assert wrong == [], f"see: python tests/model/transports {name_of(program)} --factory {name} --shrink"


def test_each_family_is_played():
    assert set(COUNTS) == set(STAGES)


@pytest.mark.parametrize("family", COUNTS)
def test_same_log_as_asyncio(family):
    for seed in range(COUNTS[family]):
        check(make(family, seed), "new_event_loop")


@pytest.mark.parametrize("name, family", [("near", "pairs"), ("far", "pairs"), ("new_server_loop", "streams")])
def test_other_loops(name, family):
    played, seed = 0, 500
    while played < 12:
        program = make(family, seed)
        seed += 1
        if program.kind in kinds_for(FACTORIES[name]):
            played += 1
            check(program, name)


class LosesByte(asyncio.selector_events._SelectorSocketTransport):
    def write(self, data):
        super().write(data[:-1] if len(data) in (100, 1500) else data)


class EndsUntold(asyncio.selector_events._SelectorSocketTransport):
    def _read_ready__on_eof(self):
        self.close()


class ClosesLate(asyncio.selector_events._SelectorSocketTransport):
    def close(self):
        self._loop.call_soon(super().close)


class SendsTwice(asyncio.selector_events._SelectorDatagramTransport):
    def sendto(self, data, addr=None):
        super().sendto(data, addr)
        if len(data) == 7:
            super().sendto(data, addr)


class LosesLast(asyncio.unix_events._UnixWritePipeTransport):
    def write(self, data):
        super().write(data[:-1] if len(data) == 100 else data)


class FaultyLoop(asyncio.SelectorEventLoop):
    transport = asyncio.selector_events._SelectorSocketTransport
    fault = None

    def _make_socket_transport(self, sock, protocol, waiter=None, **more):
        return self.transport(self, sock, protocol, waiter, **more)

    def _make_datagram_transport(self, sock, protocol, address=None, waiter=None, extra=None):
        return SendsTwice(self, sock, protocol, address, waiter, extra)

    def _make_write_pipe_transport(self, pipe, protocol, waiter=None, extra=None):
        return LosesLast(self, pipe, protocol, waiter, extra)

    async def sock_recv(self, sock, size):
        return (await super().sock_recv(sock, size))[:99]

    def remove_reader(self, fd):
        super().remove_reader(fd)
        return True


TRANSPORTS = {"streams": LosesByte, "tls_peer": EndsUntold, "servers": ClosesLate}


@pytest.mark.parametrize("family", COUNTS)
def test_a_planted_fault_is_found(monkeypatch, family):
    monkeypatch.setattr(transport_stage, "PATIENCE", 0.3)
    factory = type("Faulty", (FaultyLoop,), {"transport": TRANSPORTS.get(family, FaultyLoop.transport)})
    for seed in range(60):
        if differences(make(family, seed), factory):
            return
    pytest.fail("not found")
