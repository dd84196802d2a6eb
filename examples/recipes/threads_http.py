"""One HTTP server of bare Protocols on a loop in each of several threads, which share the port and their data.

    python examples/recipes/threads_http.py [PORT [THREADS]]

Each loop listens on a socket of its own with SO_REUSEPORT: the kernel gives each new connection to one of them. What
the loops share is an object of the process, with a lock of threading's around each change. Ctrl-C ends all.
"""

import asyncio
import contextlib
import json
import sys
import threading
from collections import Counter

import loopmod


class Hits:
    """How many requests each thread answered."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_thread: Counter[str] = Counter()

    def add(self) -> dict[str, object]:
        thread = threading.current_thread().name
        with self.lock:
            self.by_thread[thread] += 1
            return {"thread": thread, "total": self.by_thread.total()}


class Http(asyncio.Protocol):
    """Answers requests without a body, also several at once."""

    def __init__(self, hits: Hits) -> None:
        self.hits = hits
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self.received = (self.received + data).split(b"\r\n\r\n")
        for _ in requests:
            loop = type(asyncio.get_running_loop()).__module__
            body = json.dumps({"loop": loop, **self.hits.add()}).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def serve(port: int, hits: Hits) -> None:
    """The main of each thread."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Http(hits), "127.0.0.1", port, reuse_port=True)
    async with server:
        await server.serve_forever()


def main(port: int, threads: int | None = None) -> Counter[str]:
    hits = Hits()
    with contextlib.suppress(KeyboardInterrupt):
        loopmod.run_threads(serve, port, hits, threads=threads, loop_factory=loopmod.new_server_loop)
    return hits.by_thread


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]] or [8080]
    print(json.dumps(main(*numbers)))
