"""pyleak: finds the tasks that a block left behind, and what blocked the loop in it.

python -m loopmod examples/recipes/tools/pyleak_tasks.py
"""

import asyncio
import time

from pyleak import EventLoopBlockError, TaskLeakError, no_event_loop_blocking, no_task_leaks


async def forever() -> None:
    await asyncio.Event().wait()


def block() -> None:
    time.sleep(0.3)


async def main() -> None:
    print(type(asyncio.get_running_loop()).__module__)
    try:
        async with no_task_leaks(action="raise"):
            left = asyncio.create_task(forever(), name="left")
            await asyncio.create_task(asyncio.sleep(0), name="ended")
            await asyncio.sleep(0)
    except TaskLeakError as error:
        (leaked,) = error.leaked_tasks
        where = [frame.name for frame in leaked.current_stack or []]
        print(leaked.name, where[:1])
    left.cancel()
    try:
        async with no_event_loop_blocking(action="raise", threshold=0.1):
            await asyncio.sleep(0.05)
            block()
            await asyncio.sleep(0.05)
    except EventLoopBlockError as error:
        print("block" in {found.blocking_stack[-1].name for found in error.blocking_events})
    async with no_task_leaks(action="raise"), no_event_loop_blocking(action="raise", threshold=5):
        await asyncio.create_task(asyncio.sleep(0.01))
    print("nothing left")


if __name__ == "__main__":
    asyncio.run(main())
