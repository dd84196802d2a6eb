"""One aiohttp application on a loop in each of several threads, which share the port and their data.

    python examples/recipes/threads_aiohttp.py [PORT [THREADS]]

The application object belongs to a loop, so each thread makes its own; what they share is handed to each. The port is
shared by SO_REUSEPORT. Ctrl-C ends all, and each thread cleans up on its own loop.
"""

import asyncio
import contextlib
import json
import sys
import threading
from collections import Counter

from aiohttp import web

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


HITS = web.AppKey("hits", Hits)


async def answer(request: web.Request) -> web.Response:
    loop = type(asyncio.get_running_loop()).__module__
    return web.json_response({"loop": loop, **request.app[HITS].add()})


async def serve(port: int, hits: Hits) -> None:
    """The main of each thread."""
    app = web.Application()
    app[HITS] = hits
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port, reuse_port=True).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main(port: int, threads: int | None = None) -> Counter[str]:
    hits = Hits()
    with contextlib.suppress(KeyboardInterrupt):
        loopmod.run_threads(serve, port, hits, threads=threads, loop_factory=loopmod.new_server_loop)
    return hits.by_thread


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:]] or [8080]
    print(json.dumps(main(*numbers)))
