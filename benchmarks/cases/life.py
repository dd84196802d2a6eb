"""The life of a loop, and of the module that it comes from."""

import asyncio
import subprocess
import sys
from collections.abc import Callable

from cases.declare import process


async def _nothing() -> None:
    pass


@process(batch=20)
def start_stop(loop_factory: Callable[[], asyncio.AbstractEventLoop], operations: int) -> None:
    """a loop made, an empty coroutine run on it, all closed, as `asyncio.run` does"""
    for _ in range(operations):
        # `asyncio.run` itself takes a loop factory only from Python 3.12 on.
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_nothing())


@process(batch=1)
def import_time(loop_factory: Callable[[], asyncio.AbstractEventLoop], operations: int) -> None:
    """a fresh interpreter that imports the loop's module, and asyncio with it"""
    module = loop_factory.__module__.partition(".")[0]
    for _ in range(operations):
        subprocess.run([sys.executable, "-c", f"import asyncio, {module}"], check=True)
