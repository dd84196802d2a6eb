"""httpx on loopmod: one client, a hundred requests at a time.

python examples/recipes/httpx_many.py [URL]         (without a URL it asks a small server of its own)
"""

import asyncio
import sys
from collections import Counter

import httpx

import loopmod


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def ask(url: str, times: int = 100) -> Counter[int]:
    async with httpx.AsyncClient() as client:
        responses = await asyncio.gather(*(client.get(url) for _ in range(times)))
    return Counter(response.status_code for response in responses)


async def main(url: str | None = None) -> dict[int, int]:
    if url is not None:
        return dict(await ask(url))
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        return dict(await ask(f"http://{host}:{port}/"))


if __name__ == "__main__":
    print(loopmod.run(main(*sys.argv[1:])))
