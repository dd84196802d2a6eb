"""What ends a case whose callbacks come in any order. Relies on the standard library alone."""

import asyncio
from collections.abc import Callable


def countdown(operations: int) -> tuple[Callable[[], None], asyncio.Future[None]]:
    """A callback of its own, and a future of the running loop that is done when it was called so many times."""
    done = asyncio.get_running_loop().create_future()
    left = operations

    def fire() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set_result(None)

    return fire, done
