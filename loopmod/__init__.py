"""loopmod: an asyncio event loop in C on libev, with native Future and Task types.

    import asyncio, loopmod

    loopmod.run(main())                                                  # one program
    with asyncio.Runner(loop_factory=loopmod.new_event_loop) as runner:  # or a runner of your own
        runner.run(main())
    loopmod.install()                                                    # or every loop of the process

Everything that asyncio offers then runs on it unchanged.
"""

from . import patched as patched
from ._loopmod import (
    BoundedSemaphore,
    Event,
    Future,
    Handle,
    LifoQueue,
    Lock,
    PriorityQueue,
    Queue,
    Semaphore,
    Task,
    TimerHandle,
)
from .choice import install, uninstall
from .loop import Loop
from .nested import allow_nested_runs
from .policy import EventLoopPolicy, new_event_loop, new_server_loop, run
from .server import Server
from .threads import run_threads

__version__ = "0.1.0"

__all__ = (
    "BoundedSemaphore",
    "Event",
    "EventLoopPolicy",
    "Future",
    "Handle",
    "LifoQueue",
    "Lock",
    "Loop",
    "PriorityQueue",
    "Queue",
    "Semaphore",
    "Server",
    "Task",
    "TimerHandle",
    "__version__",
    "allow_nested_runs",
    "install",
    "new_event_loop",
    "new_server_loop",
    "run",
    "run_threads",
    "uninstall",
)
