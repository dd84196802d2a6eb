"""One HTTP server on a loop in each of several interpreters, each with a GIL of its own, which share the port.

    python examples/recipes/interpreters_http.py [PORT [INTERPRETERS]]

Needs Python 3.14. An interpreter imports this file, and loopmod, anew, and shares no object with the others; what it
has found out comes back as its result. Signals come to the main interpreter alone: at Ctrl-C it closes a pipe, whose
other end each loop reads.
"""

import asyncio
import contextlib
import os
import sys
import threading
from concurrent.futures import InterpreterPoolExecutor

import loopmod


class Http(asyncio.Protocol):
    """Answers requests without a body with the loop's kind."""

    hits = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        *requests, self.received = (self.received + data).split(b"\r\n\r\n")
        for _ in requests:
            Http.hits += 1  # of this interpreter's class
            body = type(asyncio.get_running_loop()).__module__.encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


async def serve(port: int, end: int) -> int:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    loop.add_reader(end, over.set)
    server = await loop.create_server(Http, "127.0.0.1", port, reuse_port=True)
    await over.wait()
    loop.remove_reader(end)
    server.close()
    return Http.hits


def work(port: int, end: int) -> int:
    """Runs in an interpreter of the pool, as long as the pipe is open."""
    return loopmod.run(serve(port, end))


def main(port: int, count: int = os.cpu_count() or 1) -> list[int]:
    end, holder = os.pipe()
    with InterpreterPoolExecutor(count) as pool:
        calls = [pool.submit(work, port, end) for _ in range(count)]
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
        os.close(holder)
        hits = [call.result() for call in calls]
    os.close(end)
    return hits


if __name__ == "__main__":
    print(main(*([int(word) for word in sys.argv[1:]] or [8080])))
