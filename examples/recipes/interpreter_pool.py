"""InterpreterPoolExecutor on loopmod: each interpreter has a GIL, a loop and connections of its own.

    python examples/recipes/interpreter_pool.py

Needs Python 3.14. An interpreter imports this file, and loopmod, anew.
"""

import asyncio
from concurrent.futures import InterpreterPoolExecutor

import loopmod

WORKERS = 3


async def upper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def ask(port: int, number: int) -> str:
    """What a worker's loop runs: a connection, a timer and tasks."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(0.001))
        writer.write(b"worker %d\n" % number)
        answer = group.create_task(reader.readline())
    writer.close()
    await writer.wait_closed()
    return f"{answer.result().decode().strip()}, {type(asyncio.get_running_loop()).__module__}"


def work(port: int, number: int) -> str:
    """Runs in an interpreter of the pool, and perhaps after another call in the same one."""
    return loopmod.run(ask(port, number))


async def main() -> list[str]:
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(upper, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with InterpreterPoolExecutor(WORKERS) as pool:
        calls = [loop.run_in_executor(pool, work, port, number) for number in range(2 * WORKERS)]
        answers = await asyncio.gather(*calls)
    server.close()
    await server.wait_closed()
    return answers


if __name__ == "__main__":
    print(loopmod.run(main()))
