"""taskiq: a broker whose worker shows its loop. There is no queue behind it, so it ends the program then."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator

from taskiq import InMemoryBroker


class Broker(InMemoryBroker):
    async def listen(self) -> AsyncGenerator[bytes, None]:
        print(type(asyncio.get_running_loop()).__module__, flush=True)
        os.kill(os.getppid(), signal.SIGINT)
        await asyncio.Event().wait()
        yield b""


broker = Broker()
