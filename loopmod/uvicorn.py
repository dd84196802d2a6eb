"""For uvicorn's table of loops, whose entries are no factories but return one when they are called.

A program with uvicorn inside that passes no loop on is so given one by name:

    uvicorn.config.LOOP_FACTORIES["auto"] = "loopmod.uvicorn:loop_factory"

Does not import uvicorn.
"""

from collections.abc import Callable

from .loop import Loop
from .policy import new_event_loop, new_server_loop


def loop_factory(use_subprocess: bool = False) -> Callable[[], Loop]:
    """Return `loopmod.new_event_loop`."""
    return new_event_loop


def server_loop_factory(use_subprocess: bool = False) -> Callable[[], Loop]:
    """Return `loopmod.new_server_loop`."""
    return new_server_loop
