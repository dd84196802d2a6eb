"""trio on loopmod: a trio program runs as a guest of the loop, and the two sides talk.

python examples/recipes/trio_guest.py
"""

import asyncio

import trio

import loopmod


async def on_trio(answers: list[str]) -> str:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 0.01)
        answers.append("trio")
    return "done"


async def main() -> list[str]:
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    answers: list[str] = []
    trio.lowlevel.start_guest_run(
        on_trio,
        answers,
        run_sync_soon_threadsafe=loop.call_soon_threadsafe,
        done_callback=over.set_result,
    )
    await asyncio.sleep(0)
    answers.append("asyncio")
    answers.append((await over).unwrap())
    return sorted(answers)


if __name__ == "__main__":
    print(loopmod.run(main()))
