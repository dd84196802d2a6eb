"""The loops that are compared, by name: how one is made, and what version it has.

A name with `+aiofastnet` is a loop whose network methods that package replaced; it takes part in the server
cases alone, as does, but for cases that say otherwise, `loopmod+joined`, the loop of loopmod.new_server_loop. Relies
on nothing but the standard library until a loop is asked for.
"""

import asyncio
import importlib
import sys
from collections.abc import Callable
from importlib.metadata import version as metadata_version

Factory = Callable[[], asyncio.AbstractEventLoop]

OURS = "loopmod"
JOINED = OURS + "+joined"
FLOOR = "C"  # not a loop: the same work in C on bare libev, where floor/ has it
PATCHED = "+aiofastnet"
LOOPS = (
    "asyncio",
    "uvloop",
    "rloop",
    "zuvloop",
    "rsloop",
    "talyn",
    OURS,
    JOINED,
    "asyncio" + PATCHED,
    "uvloop" + PATCHED,
    "zuvloop" + PATCHED,
    FLOOR,
)
PEERS = tuple(name for name in LOOPS if name not in ("asyncio", OURS, JOINED, FLOOR))


def is_for_servers(name: str) -> bool:
    """Whether it differs from another loop in the server cases alone."""
    return name == JOINED or name.endswith(PATCHED)


def takes_part(name: str, kind: str, is_joined: bool) -> bool:
    """Whether it differs in a case of that kind, which the loop that joins may take part in besides servers."""
    return kind == "server" or not is_for_servers(name) or (is_joined and name == JOINED)


def factory_of(name: str) -> Factory:
    if name.endswith(PATCHED):
        aiofastnet = importlib.import_module("aiofastnet")
        patched: Factory = aiofastnet.loop_factory(factory_of(name.removesuffix(PATCHED)))
        return patched
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    if name == JOINED:
        joined: Factory = importlib.import_module(OURS).new_server_loop
        return joined
    module = importlib.import_module(name)
    factory: Factory = module.Loop if name == "talyn" else module.new_event_loop
    return factory


def version_of(name: str) -> str:
    if name.endswith(PATCHED):
        return f"{version_of(name.removesuffix(PATCHED))}+{metadata_version(PATCHED[1:])}"
    if name == "asyncio":
        return sys.version.split()[0]
    if name == JOINED:
        return version_of(OURS)
    module = importlib.import_module(name)
    return str(getattr(module, "__version__", None) or metadata_version(name))
