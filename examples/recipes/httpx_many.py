"""httpx on loopmod: one client, a hundred requests at a time.

python examples/recipes/httpx_many.py [URL]         (without a URL it asks a small server of its own)
"""

import asyncio
import sys
from collections import Counter

import httpx

import loopmod


class Hello(asyncio.Protocol):
    """Answers every request; whole requests arrive, as small as these are."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")


async def ask(url: str, times: int = 100) -> Counter[int]:
    async with httpx.AsyncClient(timeout=60) as client:
        responses = await asyncio.gather(*(client.get(url) for _ in range(times)))
    return Counter(response.status_code for response in responses)


async def main(url: str | None = None) -> dict[int, int]:
    if url is not None:
        return dict(await ask(url))
    server = await asyncio.get_running_loop().create_server(Hello, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        return dict(await ask(f"http://{host}:{port}/"))


if __name__ == "__main__":
    print(loopmod.run(main(*sys.argv[1:])))
