"""One sample, in a process of its own: python sample.py CASE LOOP SECONDS [BATCHES]

Core and process cases: runs batches of the case on the loop for at least SECONDS of CPU time (or just so many
BATCHES: what instructions are counted of) and prints one line of JSON with the operations done and the CPU and
wall time they took, children's time included. Memory and latency cases: prints the value. Server cases: prints
where the server listens and serves until killed (or until a generous alarm, so that no server outlives a
runner that died).

runner.py starts it; by hand it is the thing to put under a profiler. Relies on cases and loops.py.
"""

import asyncio
import contextlib
import gc
import json
import resource
import signal
import socket
import statistics
import sys
import time
from typing import Any

from cases import CASES, Case
from loops import Factory, factory_of

SERVER_LIFE = 300  # seconds


def cpu_time() -> float:
    """Of this process and of the children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Stopwatch:
    """Adds up the CPU and wall time of batches until there is enough of it."""

    def __init__(self, case: Case, seconds: float, batches: int | None) -> None:
        self.case = case
        self.seconds = seconds
        self.batches = batches
        self.operations = 0
        self.cpu = 0.0
        self.wall = 0.0

    def start(self) -> None:
        gc.collect()  # what the warm-up left is not the case's to pay
        self._cpu = cpu_time()
        self._wall = time.perf_counter()

    def enough(self) -> bool:
        """Count one more batch; true when the sample is long enough."""
        self.operations += self.case.batch
        if self.batches is not None:
            return self.operations >= self.batches * self.case.batch
        self.cpu = cpu_time() - self._cpu
        self.wall = time.perf_counter() - self._wall
        return self.cpu >= self.seconds

    def report(self) -> dict[str, object]:
        return {"operations": self.operations, "cpu": self.cpu, "wall": self.wall}


async def run_core(watch: Stopwatch) -> dict[str, object]:
    around = watch.case.around
    async with around() if around is not None else contextlib.nullcontext():
        await watch.case.function(watch.case.batch)  # warm-up
        watch.start()
        while True:
            await watch.case.function(watch.case.batch)
            if watch.enough():
                return watch.report()


def run_process(watch: Stopwatch, factory: Factory) -> dict[str, object]:
    watch.case.function(factory, watch.case.batch)  # warm-up
    watch.start()
    while True:
        watch.case.function(factory, watch.case.batch)
        if watch.enough():
            return watch.report()


def private_memory() -> int:
    """Bytes that are this process's alone and written to."""
    with open("/proc/self/smaps_rollup") as lines:
        return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) * 1024


async def run_memory(case: Case) -> dict[str, object]:
    # A first fifth stays alive: it pays for what is made once, and leaves no hole to fill.
    warm = await case.function(case.batch // 5)
    gc.collect()
    before = private_memory()
    held = await case.function(case.batch)
    gc.collect()
    grown = private_memory() - before
    for each in warm + held:
        each.cancel()
    return {"value": grown / case.batch}


async def run_latency(case: Case) -> dict[str, object]:
    late = sorted(await case.function())
    if late[0] < 0:
        raise SystemExit(f"{-late[0] * 1e6:.1f} µs early")
    p50, p99 = statistics.median(late), late[int(len(late) * 0.99)]
    return {"value": p50 * 1e6, "p50": p50 * 1e6, "p99": p99 * 1e6, "most": late[-1] * 1e6}


def address_of(server: Any) -> dict[str, str]:
    """Where a server, or a datagram transport, is reached."""
    if not hasattr(server, "sockets"):
        return {"where": str(server.get_extra_info("sockname")[1]), "family": "udp"}
    listener = server.sockets[0]
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return {"where": name, "family": "unix"}
    return {"where": str(name[1]), "family": "tcp"}


async def run_server(case: Case) -> dict[str, object]:
    signal.alarm(SERVER_LIFE)
    server = await case.function()
    print(json.dumps(address_of(server)), flush=True)
    await asyncio.get_running_loop().create_future()  # until killed
    raise AssertionError


def main() -> None:
    case, factory, seconds = CASES[sys.argv[1]], factory_of(sys.argv[2]), float(sys.argv[3])
    watch = Stopwatch(case, seconds, int(sys.argv[4]) if len(sys.argv) > 4 else None)
    if case.kind == "process":
        print(json.dumps(run_process(watch, factory)))
        return
    with asyncio.Runner(loop_factory=factory) as runner:
        runs = {"core": lambda: run_core(watch), "server": lambda: run_server(case)}
        runs |= {"memory": lambda: run_memory(case), "latency": lambda: run_latency(case)}
        print(json.dumps(runner.run(runs[case.kind]())))


if __name__ == "__main__":
    main()
