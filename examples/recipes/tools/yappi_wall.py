"""yappi: wall time of coroutines, so that what a coroutine waits for counts for it.

python -m loopmod examples/recipes/tools/yappi_wall.py
"""

import asyncio
import time

import yappi


async def waits() -> None:
    for _ in range(3):
        await asyncio.sleep(0.02)


async def works() -> None:
    time.sleep(0.03)
    await asyncio.sleep(0)


async def main() -> None:
    print(type(asyncio.get_running_loop()).__module__)
    await asyncio.gather(waits(), waits(), works())


if __name__ == "__main__":
    yappi.set_clock_type("wall")
    yappi.start()
    asyncio.run(main())
    yappi.stop()
    for stats in sorted(yappi.get_func_stats(), key=lambda stats: stats.name):
        if stats.name in ("waits", "works"):
            least = {"waits": 0.12, "works": 0.03}[stats.name]
            print(stats.name, stats.ncall, "enough" if least <= stats.ttot < 5 else stats.ttot)
