"""A round of one loop, in a process of its own: python thread_sample.py CASE LOOP THREADS SECONDS CYCLES

Prints a line of JSON: the four phases that gains.py has, CYCLES times, and whether the GIL is on. In a phase each
thread makes a loop, warms it up, waits for the others, and does batches of the case for SECONDS; then it waits for
the others again, so that nobody makes or closes a loop beside one that is timed. Relies on thread_cases.py and
loops.py.
"""

import asyncio
import dataclasses
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from gains import Phase
from loops import Factory, factory_of
from thread_cases import CONTROL_BATCH, WORKLOADS, Workload, count

TICK = 1.0 / os.sysconf("SC_CLK_TCK")


def waited() -> float:
    """Seconds in which the calling thread was ready to run and another ran."""
    with open("/proc/thread-self/schedstat", "rb") as line:
        return int(line.read().split()[1]) * 1e-9


def stolen() -> float:
    with open("/proc/stat", "rb") as lines:
        return int(lines.readline().split()[8]) * TICK


class Clock:
    """Of one thread."""

    def start(self) -> None:
        self._waited, self._cpu, self._wall = waited(), time.thread_time(), time.perf_counter()

    def seconds(self) -> float:
        return time.perf_counter() - self._wall

    def stop(self, operations: int) -> None:
        self.wall = time.perf_counter() - self._wall
        self.cpu = time.thread_time() - self._cpu
        self.waited = waited() - self._waited
        self.rate = operations / self.wall


class Threads:
    """One phase."""

    def __init__(self, threads: int, seconds: float, run: Callable[["Threads", Clock], None]) -> None:
        self.seconds = seconds
        self._run = run
        self._gate = threading.Barrier(threads)
        self._clocks = [Clock() for _ in range(threads)]
        self._faults: list[BaseException] = []

    def meet(self) -> None:
        self._gate.wait()

    def _work(self, clock: Clock) -> None:
        try:
            self._run(self, clock)
        except threading.BrokenBarrierError:
            pass  # another one says why
        except BaseException as exc:
            self._faults.append(exc)
            self._gate.abort()

    def phase(self) -> Phase:
        gc.collect()
        threads = [threading.Thread(target=self._work, args=(clock,)) for clock in self._clocks]
        before = stolen()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._faults:
            raise self._faults[0]
        fields = zip(*((c.rate, c.wall, c.cpu, c.waited) for c in self._clocks), strict=True)
        return Phase(*fields, stolen() - before)


def run_control(threads: Threads, clock: Clock) -> None:
    count(CONTROL_BATCH)
    threads.meet()
    clock.start()
    batches = 0
    while clock.seconds() < threads.seconds:
        count(CONTROL_BATCH)
        batches += 1
    clock.stop(batches * CONTROL_BATCH)
    threads.meet()


def runner_of(workload: Workload, factory: Factory) -> Callable[[Threads, Clock], None]:
    async def work(threads: Threads, clock: Clock) -> None:
        async with workload.opened() as batch:
            await batch(workload.batch)  # warm-up
            threads.meet()
            clock.start()
            batches = 0
            while clock.seconds() < threads.seconds:
                await batch(workload.batch)
                batches += 1
            clock.stop(batches * workload.batch)
            threads.meet()

    def run(threads: Threads, clock: Clock) -> None:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(work(threads, clock))

    return run


def measure(workload: Workload, factory: Factory, threads: int, seconds: float, cycles: int) -> list[dict[str, Any]]:
    """Phases that are compared stand beside each other, and every other cycle is in reverse: speed may drift."""
    run = runner_of(workload, factory)
    phases = [
        ("control_alone", 1, run_control),
        ("alone", 1, run),
        ("together", threads, run),
        ("control_together", threads, run_control),
    ]
    return [
        {name: dataclasses.asdict(Threads(n, seconds, what).phase()) for name, n, what in phases[:: 1 - i % 2 * 2]}
        for i in range(cycles)
    ]


def main() -> None:
    case, loop, threads, seconds, cycles = sys.argv[1:]
    measured = measure(WORKLOADS[case], factory_of(loop), int(threads), float(seconds), int(cycles))
    is_gil_enabled = getattr(sys, "_is_gil_enabled", lambda: True)
    print(json.dumps({"cycles": measured, "gil": is_gil_enabled()}))


if __name__ == "__main__":
    main()
