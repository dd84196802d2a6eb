"""A small program for the tools that start one or attach to it: coverage, debugpy, py-spy and viztracer.

    python -m loopmod examples/recipes/tools/target.py 0.1

The argument says for how many seconds it works.
"""

import asyncio
import sys
import time


def compute(seconds: float) -> int:
    until = time.perf_counter() + seconds
    rounds = 1
    while time.perf_counter() < until:
        rounds += sum(range(10_000)) > 0
    return rounds


async def leaf(seconds: float) -> int:
    rounds = compute(seconds)
    await asyncio.sleep(0)
    return rounds


async def branch(seconds: float) -> bool:
    total = 0
    for _ in range(4):
        total += await leaf(seconds / 4)
    return total > 0


async def main() -> None:
    print(type(asyncio.get_running_loop()).__module__, flush=True)
    seconds = float(sys.argv[1])
    tasks = [asyncio.create_task(branch(seconds / 2), name=f"branch-{number}") for number in range(2)]
    print(await asyncio.gather(*tasks))


if __name__ == "__main__":
    asyncio.run(main())
