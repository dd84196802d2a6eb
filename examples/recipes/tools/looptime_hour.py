"""looptime: hours pass in no time, as far as the loop can tell.

python -m loopmod examples/recipes/tools/looptime_hour.py
"""

import asyncio
import socket
import time

import looptime


async def hour() -> str:
    await asyncio.sleep(3600)
    return "an hour"


async def main() -> None:
    loop = asyncio.get_running_loop()
    print(type(loop).__mro__[2].__module__)  # below it are looptime's class and its mixin
    start = time.monotonic()
    print(loop.time(), await hour(), loop.time())
    try:
        async with asyncio.timeout(60):
            await hour()
    except TimeoutError:
        print("timeout at", loop.time())
    when: list[float] = []
    for delay in (30, 10, 20):
        loop.call_later(delay, lambda: when.append(loop.time() - 3660))
    await asyncio.sleep(31)
    print(when)
    # What is real goes on beside it: bytes and threads.
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    writer.write(b"x")
    print(theirs.recv(1), await asyncio.to_thread(str, "thread"))
    theirs.send(b"y")
    print(await reader.read(1))
    writer.close()
    theirs.close()
    print("in no time" if time.monotonic() - start < 5 else "in time")


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=lambda: looptime.new_event_loop(start=0)) as runner:
        runner.run(main())
