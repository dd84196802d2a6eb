"""aiomonitor: the tasks of a running program, asked for over telnet from another thread.

    python -m loopmod examples/recipes/tools/aiomonitor_tasks.py

While a program runs, `python -m aiomonitor.cli -p 20101` or any telnet client talks to it.
"""

import asyncio
import contextlib
import re
import socket

import aiomonitor

# What a telnet client says of itself: its terminal and the size of it; then where the cursor stands.
HELLO = b"\xff\xfb\x18\xff\xfa\x18\x00xterm\xff\xf0" + b"\xff\xfb\x1f\xff\xfa\x1f\x00\xc8\x00\x50\xff\xf0"
WHERE, HERE = b"\x1b[6n", b"\x1b[1;1R"
# The line editor turns them on where it takes a line, and off when it has one.
PASTES, NO_PASTES = b"\x1b[?2004h", b"\x1b[?2004l"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [one.getsockname()[1] for one in made]


def ask(port: int, *lines: str) -> list[str]:
    """What the monitor answers to each line."""
    answers = []
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client, client.makefile("rb", 0) as stream:

        def until(mark: bytes) -> bytes:
            said = b""
            while not said.endswith(mark):
                byte = stream.read(1)
                if not byte:
                    raise ConnectionError(said)
                said += byte
            return said

        client.sendall(HELLO)
        until(WHERE)
        client.sendall(HERE)
        until(b"monitor >>> ")
        for line in lines:
            client.sendall(line.encode() + b"\r")
            until(NO_PASTES)
            answers.append(until(PASTES).decode(errors="replace"))
        client.sendall(b"exit\r")
        while stream.read(1):
            pass
    return [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", answer) for answer in answers]


async def waits() -> None:
    await asyncio.Event().wait()


async def main() -> None:
    loop = asyncio.get_running_loop()
    print(type(loop).__module__)
    task = asyncio.create_task(waits(), name="waits-for-ever")
    await asyncio.sleep(0)
    terminal, web, console = free_ports(3)
    with aiomonitor.start_monitor(loop, port=terminal, webui_port=web, console_port=console, hook_task_factory=True):
        traced = asyncio.create_task(waits(), name="made-under-it")
        await asyncio.sleep(0)
        number = id(traced)
        listed, stack, _ = await asyncio.to_thread(ask, terminal, "ps", f"where {number}", f"cancel {number}")
        print("waits-for-ever" in listed, "made-under-it" in listed)
        print("in waits" in stack, "in main" in stack)
        await asyncio.wait([traced], timeout=5)
        (ended,) = await asyncio.to_thread(ask, terminal, "ps-terminated")
        print(traced.cancelled(), "made-under-it" in ended)
    task.cancel()


if __name__ == "__main__":
    asyncio.run(main())
