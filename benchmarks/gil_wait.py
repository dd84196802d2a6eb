"""How long another thread waits for the GIL beside callbacks that are C only: python benchmarks/gil_wait.py

The loop watches sockets that stay readable, a hundred to a turn, and the callback of each is C without a line of
Python, of several lengths. The other thread sleeps for a millisecond, which lets go of the GIL, and notes by how much
that took longer. In milliseconds: the median, the 99th percentile and the longest wait, beside what is promised: two
switch intervals beyond the longest callback. Relies on loops.py.
"""

import argparse
import asyncio
import contextlib
import functools
import socket
import statistics
import sys
import threading
import time

from loops import OURS, factory_of
from rich.console import Console
from rich.table import Table

LENGTHS = (0, 100_000, 1_000_000, 10_000_000)  # bytes that a callback looks through
SOCKETS = 100
AWAY = 0.001  # seconds


def waits(loop: asyncio.AbstractEventLoop, samples: int) -> list[float]:
    """Take the GIL that often beside the loop; return the waits in milliseconds."""
    found: list[float] = []
    running = threading.Event()

    def take_turns() -> None:
        running.wait()
        for _ in range(samples):
            began = time.perf_counter()
            time.sleep(AWAY)  # long enough for the loop to take the GIL
            found.append((time.perf_counter() - began - AWAY) * 1e3)
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=take_turns)
    thread.start()
    loop.call_soon(running.set)
    loop.run_forever()
    thread.join()
    return found


def measure(name: str, length: int, samples: int) -> tuple[float, list[float]]:
    """Return how long a callback takes, and the waits, in milliseconds."""
    callback = functools.partial(bytes(length).count, b"x")
    times = []
    for _ in range(50):
        began = time.perf_counter()
        callback()
        times.append(time.perf_counter() - began)
    loop = factory_of(name)()
    with contextlib.ExitStack() as stack:
        for _ in range(SOCKETS):
            ours, theirs = (stack.enter_context(end) for end in socket.socketpair())
            theirs.send(b"x")
            loop.add_reader(ours, callback)
        try:
            return statistics.median(times) * 1e3, waits(loop, samples)
        finally:
            loop.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the waits for the GIL beside C-only callbacks.")
    parser.add_argument("--loops", metavar="A,B", default=f"asyncio,{OURS}")
    parser.add_argument("--samples", metavar="N", type=int, default=300)
    args = parser.parse_args()
    table = Table("loop", "a callback", "median", "p99", "longest", "promised", box=None, pad_edge=False)
    for length in LENGTHS:
        for name in args.loops.split(","):
            each, found = measure(name, length, args.samples)
            found.sort()
            shown = (each, statistics.median(found), found[len(found) * 99 // 100], found[-1])
            promised = each + 2 * sys.getswitchinterval() * 1e3
            table.add_row(name, *(f"{value:.2f} ms" for value in shown), f"{promised:.2f} ms")
    Console(width=100, highlight=False).print(table)


if __name__ == "__main__":
    main()
