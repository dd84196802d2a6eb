"""freezegun: the loop's time stands still with the rest, and timers come when the test moves it.

python -m loopmod examples/recipes/tools/freezegun_time.py
"""

import asyncio
import datetime
import time

from freezegun import freeze_time


async def stands_and_moves() -> list[object]:
    """Frozen: a timer of an hour is due when the clock is moved by an hour, and not before."""
    loop = asyncio.get_running_loop()
    fired: list[object] = []
    with freeze_time("2030-01-01") as frozen:
        start = loop.time()
        loop.call_later(3600, fired.append, "hour")
        time.sleep(0.01)
        fired.append(loop.time() - start)
        frozen.tick(3599)
        for _ in range(3):
            await asyncio.sleep(0)
        fired.append(datetime.datetime.now().isoformat())
        frozen.tick(2)
        for _ in range(3):
            await asyncio.sleep(0)
        fired.append(loop.time() - start)
    return fired


async def ticks() -> list[object]:
    """Ticking: another date, but it goes on from there, and sleeping works."""
    with freeze_time("2030-01-01", tick=True):
        await asyncio.sleep(0.02)
        return [datetime.date.today().isoformat(), datetime.datetime.now().microsecond >= 20_000]


async def real_for_asyncio() -> list[object]:
    """`real_asyncio`: the date stands still and the loop goes on, so what sleeps is waited for."""
    loop = asyncio.get_running_loop()
    with freeze_time("2030-01-01", real_asyncio=True):
        start = loop.time()
        await asyncio.sleep(0.02)
        return [datetime.datetime.now().isoformat(), loop.time() - start >= 0.02]


async def main() -> None:
    print(type(asyncio.get_running_loop()).__module__)
    print(await stands_and_moves())
    print(await ticks())
    print(await real_for_asyncio())
    start = time.monotonic()
    await asyncio.sleep(0.02)
    print(time.monotonic() - start >= 0.02)


if __name__ == "__main__":
    asyncio.run(main())
