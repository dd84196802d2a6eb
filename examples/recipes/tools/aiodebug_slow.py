"""aiodebug tells which task step or callback blocks the loop, by wrapping what runs each of them.

    python -m loopmod examples/recipes/tools/aiodebug_slow.py

It counts from `enable` on; on 3.11 from the next run of a loop on, so there `enable` comes before the loop runs.
"""

import asyncio
import re
import time

import aiodebug.log_slow_callbacks

SLOW = 0.1


def work() -> None:
    time.sleep(SLOW + 0.01)


def of_call_soon() -> None:
    work()


def of_call_later() -> None:
    work()


def of_call_soon_threadsafe() -> None:
    work()


def of_future(done: asyncio.Future[None]) -> None:
    work()


async def of_task() -> None:
    work()
    await asyncio.sleep(0)


async def main() -> None:
    loop = asyncio.get_running_loop()
    print(type(loop).__module__)
    await asyncio.create_task(of_task())
    await asyncio.create_task(asyncio.sleep(0))
    loop.call_soon(of_call_soon)
    await asyncio.sleep(0)
    loop.call_later(0.001, of_call_later)
    await asyncio.sleep(0.01)
    future = loop.create_future()
    future.add_done_callback(of_future)
    future.set_result(None)
    await asyncio.sleep(0)
    await asyncio.to_thread(loop.call_soon_threadsafe, of_call_soon_threadsafe)
    await asyncio.sleep(0)


def tell(name: str, seconds: float) -> None:
    """Print which of them it was: what aiodebug says of a handle has addresses in it."""
    for known in re.findall(r"\bof_\w+", name)[:1]:
        print(known, seconds >= SLOW)


if __name__ == "__main__":
    aiodebug.log_slow_callbacks.enable(SLOW, tell)
    asyncio.run(main())
