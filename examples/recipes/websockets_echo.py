"""websockets on loopmod: a server and ten clients that talk to it.

python examples/recipes/websockets_echo.py
"""

import asyncio

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

import loopmod


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def talk(url: str, name: int) -> int:
    async with connect(url) as connection:
        for size in (1, 1_000, 100_000):
            await connection.send(f"{name}" * size)
            assert await connection.recv() == f"{name}" * size
        await (await connection.ping())
        return name


async def main() -> list[int]:
    async with serve(echo, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        return await asyncio.gather(*(talk(f"ws://{host}:{port}", name) for name in range(10)))


if __name__ == "__main__":
    print(loopmod.run(main()))
