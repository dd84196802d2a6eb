"""One sample, in a process of its own: python sample.py CASE LOOP SECONDS

Core and process cases: runs batches of the case on the loop for at least SECONDS of CPU time and prints one
line of JSON with the operations done and the CPU and wall time they took. Server cases: prints its address as a
line of JSON (a port, or `@` and the name of an abstract Unix socket) and serves until killed (or until a generous
alarm, so that no server outlives a runner that died).

compare.py starts it; by hand it is the thing to put under a profiler. Relies on cases.py.
"""

import asyncio
import gc
import json
import signal
import sys
import time
from collections.abc import Callable

from cases import CASES, Case

LOOPS = ("asyncio", "uvloop", "loopmod", "rloop")
SERVER_LIFE = 300  # seconds


def factory_of(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    module = __import__(name)
    factory: Callable[[], asyncio.AbstractEventLoop] = module.new_event_loop
    return factory


def version_of(name: str) -> str:
    if name == "asyncio":
        return sys.version.split()[0]
    module = __import__(name)
    version = getattr(module, "__version__", None)
    if version is None:
        from importlib.metadata import version as metadata_version

        version = metadata_version(name)
    return str(version)


class Stopwatch:
    """Adds up the CPU and wall time of batches until there is enough of it."""

    def __init__(self, case: Case, seconds: float) -> None:
        self.case = case
        self.seconds = seconds
        self.operations = 0
        self.cpu = 0.0
        self.wall = 0.0

    def start(self) -> None:
        gc.collect()  # what the warm-up left is not the case's to pay
        self._cpu = time.process_time()
        self._wall = time.perf_counter()

    def enough(self) -> bool:
        """Count one more batch; true when the sample is long enough."""
        self.operations += self.case.batch
        self.cpu = time.process_time() - self._cpu
        self.wall = time.perf_counter() - self._wall
        return self.cpu >= self.seconds


async def run_core(watch: Stopwatch) -> None:
    await watch.case.function(watch.case.batch)  # warm-up
    watch.start()
    while True:
        await watch.case.function(watch.case.batch)
        if watch.enough():
            return


def run_process(watch: Stopwatch, factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    watch.case.function(factory, watch.case.batch)  # warm-up
    watch.start()
    while True:
        watch.case.function(factory, watch.case.batch)
        if watch.enough():
            return


async def run_server(case: Case) -> None:
    server = await case.function()
    address = server.sockets[0].getsockname()
    shown = "@" + address[1:].decode() if isinstance(address, bytes) else address[1]
    print(json.dumps({"address": shown}), flush=True)
    await asyncio.get_running_loop().create_future()  # until killed


def main() -> None:
    case, factory, seconds = CASES[sys.argv[1]], factory_of(sys.argv[2]), float(sys.argv[3])
    watch = Stopwatch(case, seconds)
    if case.kind == "process":
        run_process(watch, factory)
    else:
        with asyncio.Runner(loop_factory=factory) as runner:
            if case.kind == "server":
                signal.alarm(SERVER_LIFE)
                runner.run(run_server(case))
            runner.run(run_core(watch))
    print(json.dumps({"operations": watch.operations, "cpu": watch.cpu, "wall": watch.wall}))


if __name__ == "__main__":
    main()
