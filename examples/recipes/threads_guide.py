"""The two patterns of the standard library's guide to asyncio in threads, which name no loop: `install` is all.

    python examples/recipes/threads_guide.py

A loop in each thread by `asyncio.run`, and a plain thread that hands work to a loop by `queue.Queue`.
"""

import asyncio
import queue
import threading

import loopmod

WORKERS = 4


async def worker(number: int, found: list[str]) -> None:
    await asyncio.sleep(0.001)
    found[number] = type(asyncio.get_running_loop()).__name__


def run_worker(number: int, found: list[str]) -> None:
    asyncio.run(worker(number, found))


def loop_per_thread() -> list[str]:
    found = [""] * WORKERS
    threads = [threading.Thread(target=run_worker, args=(number, found)) for number in range(WORKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


async def consume(items: "queue.Queue[int | None]", consumed: list[int]) -> None:
    while True:
        try:
            item = items.get_nowait()
        except queue.Empty:
            await asyncio.sleep(0.001)
            continue
        if item is None:
            return
        await asyncio.sleep(0)
        consumed.append(item)


def producer_and_consumer() -> list[int]:
    items: queue.Queue[int | None] = queue.Queue()
    consumed: list[int] = []
    thread = threading.Thread(target=lambda: asyncio.run(consume(items, consumed)))
    thread.start()
    for item in (*range(5), None):
        items.put(item)
    thread.join()
    return consumed


def main() -> tuple[list[str], list[int]]:
    return loop_per_thread(), producer_and_consumer()


if __name__ == "__main__":
    loopmod.install()
    print(main())
