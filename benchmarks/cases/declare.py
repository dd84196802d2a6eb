"""How a case is declared: Case, and the decorators that enter a function in CASES.

  @core      `async def case(operations)`: does that many operations; sample.py repeats and times it
  @process   `def case(loop_factory, operations)`: the same for what lies around a loop's life
  @server    `async def case()`: starts a server on the loopback interface and returns it (whatever has
             `sockets`), or the transport of a datagram endpoint; the load drives it and reads the server's
             CPU clock. Entered once for each of its loads
  @memory    `async def case(count)`: returns that many objects; what the process grows by is measured
  @latency   `async def case()`: returns how late, in seconds, something was, time and again

The number given to @core and @process is the operations of one batch: enough for a few milliseconds, so that
reading the clock between batches costs nothing. Relies on the standard library alone.
"""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

Function = Callable[..., Any]
Around = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Load:
    """What the clients do to a server: the options of clients/load.c."""

    suffix: str = ""  # told apart in the case's name
    mode: str = "exchange"
    size: int = 1024
    connections: int = 64
    in_flight: int = 1
    answer: int = 0  # bytes of the answer; 0: the message itself
    http_path: str = ""
    shows: str = "cpu"  # what the table compares: cpu (of the server, per operation), p50 or p99 (latency)


ONE = (Load(),)
SIZES = (
    Load(),
    Load("10k", size=10 * 1024),
    Load("100k", size=100 * 1024),
    Load("1_connection", connections=1),
    Load("1000_connections", connections=1000),
    Load("pipelined", in_flight=16),
    Load("10k_pipelined", size=10 * 1024, in_flight=8),
    Load("100k_pipelined", size=100 * 1024, in_flight=4, connections=16),
)


@dataclass(frozen=True)
class Case:
    name: str
    kind: str
    operation: str  # what one operation is, for the reader of a table
    function: Function
    batch: int = 0  # unused for a server: there the load decides
    unit: str = "µs"
    load: Load = Load()
    uses_tls: bool = False
    around: Around | None = None  # entered once, outside what is timed
    is_quick: bool = True  # part of a quick look
    needs: tuple[str, ...] = ()  # modules without which there is no such case
    is_joined: bool = False  # besides servers: the loop that joins writes takes part

    @property
    def function_name(self) -> str:
        return self.function.__name__


CASES: dict[str, Case] = {}


def _enter(kind: str, **fields: Any) -> Callable[[Function], Function]:
    def enter(function: Function) -> Function:
        operation = " ".join((function.__doc__ or "").split())
        case = Case(function.__name__, kind, operation, function, **fields)
        CASES[case.name] = case
        return function

    return enter


def core(
    batch: int, around: Around | None = None, is_quick: bool = True, is_joined: bool = False
) -> Callable[[Function], Function]:
    return _enter("core", batch=batch, around=around, is_quick=is_quick, is_joined=is_joined)


def process(batch: int) -> Callable[[Function], Function]:
    return _enter("process", batch=batch)


def memory(count: int) -> Callable[[Function], Function]:
    return _enter("memory", batch=count, unit="B")


def latency(function: Function) -> Function:
    return _enter("latency")(function)


def server(
    function: Function | None = None,
    *,
    loads: tuple[Load, ...] = ONE,
    uses_tls: bool = False,
    needs: tuple[str, ...] = (),
) -> Any:
    """Enter a server case for each load; as `@server` for the usual one: 64 connections, 1 KiB, one in flight."""

    def enter(function: Function) -> Function:
        _enter("server", uses_tls=uses_tls, needs=needs)(function)
        plain = CASES.pop(function.__name__)
        for load in loads:
            name = f"{plain.name}_{load.suffix}" if load.suffix else plain.name
            CASES[name] = dataclasses.replace(
                plain,
                name=name,
                load=load,
                unit="B" if load.mode == "idle" else plain.unit,
                is_quick=not load.suffix and load.mode != "idle",
            )
        return function

    return enter(function) if function is not None else enter
