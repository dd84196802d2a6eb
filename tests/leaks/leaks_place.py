"""What the cycles run in: the servers and loads of tests/soak, so many rounds at a time and without pauses."""

import asyncio
import functools
import os
import random
import signal
import sys
import tempfile

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "soak"))

import soak_counts
import soak_others as soak_others
import soak_servers
from soak_clients import Lives as Lives
from soak_memory import forget_names as forget_names
from soak_memory import libc_bytes as libc_bytes
from soak_run import LOOPS as LOOPS
from soak_run import make_contexts
from soak_servers import Echo as Echo

contexts = functools.cache(make_contexts)


class Place:
    """Stands in for a Soak: its time is over after `turns` looks at the clock."""

    pace = 0.001

    def __init__(self, loop):
        self.loop = loop
        self.books = soak_counts.Books()
        self.contexts = contexts()
        self.turns = 0
        self.signalled = asyncio.Event()
        self.directory = tempfile.TemporaryDirectory()

    async def open(self):
        self.servers = await soak_servers.start(self.loop, self.books, self.contexts, self.directory.name)
        self.loop.add_signal_handler(signal.SIGUSR1, self.on_signal)

    async def close(self):
        self.loop.remove_signal_handler(signal.SIGUSR1)
        for made in self.servers.values():
            for server, _ in made:
                server.close()
                await server.wait_closed()
        self.directory.cleanup()

    def on_signal(self):
        self.books.add("signals handled")
        self.signalled.set()

    def is_over(self):
        self.turns -= 1
        return self.turns < 0

    async def pause(self, rng, share=1.0):
        await asyncio.sleep(0)

    async def at_rest(self):
        """Until the servers have heard of every end."""
        while self.books.unequal(soak_counts.PAIRS):
            await asyncio.sleep(0.0005)
        for _ in range(5):
            await asyncio.sleep(0)
        if self.books.complaints:
            raise RuntimeError(self.books.complaints[0])

    def rng(self):
        """The same numbers for each block of cycles."""
        return random.Random(1)
