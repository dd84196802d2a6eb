"""Random programs for transports, with fixed seeds; `make model-transports` plays any number of them.

Covers whole lives of every kind of transport beside asyncio's, call by call and byte by byte. That the comparison
finds what is wrong is shown on asyncio's own loop with a fault planted.
"""

import asyncio
import os

import pytest
import transport_play as play
from transport_differences import FACTORIES, differences, kinds_for
from transport_program import KINDS, STREAMS, make_program
from transport_shrink import shrink

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(os.environ.get("PYTHON")), reason="played on the default interpreter only"),
]


def seeds_of(first, count, kinds):
    """So many seeds from the first on whose programs are for these kinds of link."""
    seeds, seed = [], first
    while len(seeds) < count:
        if make_program(seed).kind in kinds:
            seeds.append(seed)
        seed += 1
    return seeds


@pytest.mark.parametrize("name, first, count", [
    *(("new_event_loop", first, 40) for first in (0, 1000, 2000, 3000, 4000)),
    ("new_server_loop", 5000, 40),
])  # fmt: skip
def test_same_log_as_asyncio(name, first, count):
    factory = FACTORIES[name]
    for seed in seeds_of(first, count, kinds_for(factory)):
        wrong = differences(make_program(seed), factory)
        assert wrong == [], f"see: python tests/model/transports {seed} --factory {name} --shrink"


class FaultyTransport(asyncio.selector_events._SelectorSocketTransport):
    """One of asyncio's, with a fault."""

    fault = None

    def write(self, data):
        if self.fault == "a byte lost" and len(data) == 1500:
            data = data[:-1]
        super().write(data)

    def resume_reading(self):
        if self.fault != "deaf":
            super().resume_reading()

    def _call_connection_lost(self, exc):
        super()._call_connection_lost(None if self.fault == "error kept back" else exc)

    def abort(self):
        if self.fault == "abort closes":
            self.close()
        else:
            super().abort()

    def set_write_buffer_limits(self, high=None, low=None):
        if self.fault != "limits ignored":
            super().set_write_buffer_limits(high, low)


def faulty_loop(fault):
    """A factory of asyncio's loops whose stream transports have a fault."""
    transport = type("Faulty", (FaultyTransport,), {"fault": fault})

    class Loop(asyncio.SelectorEventLoop):
        def _make_socket_transport(self, sock, protocol, waiter=None, **more):  # 3.15 has a context
            return transport(self, sock, protocol, waiter, **more)

    return Loop


@pytest.mark.parametrize("fault", ["a byte lost", "deaf", "error kept back", "abort closes", "limits ignored"])
def test_a_planted_fault_is_found(monkeypatch, fault):
    monkeypatch.setattr(play, "PATIENCE", 0.5)
    factory = faulty_loop(fault)
    for seed in seeds_of(0, 150, STREAMS):
        if differences(make_program(seed), factory):
            return
    pytest.fail("not found")


def test_a_failing_program_shrinks():
    """To the operation that matters."""

    def fails(program):
        return any(operation[0] == "close" for step in program.steps for _, operation in step)

    program = next(program for seed in range(100) if fails(program := make_program(seed)))
    smaller = shrink(program, fails)
    assert [[operation for _, operation in step] for step in smaller.steps] == [[["close"]]]


def test_a_seed_is_a_program():
    for seed in range(50):
        program = make_program(seed)
        assert vars(program) == vars(make_program(seed))
        assert program.kind in KINDS
