"""Answers for uvloop: who imports that name gets modules whose public names, those of uvloop 0.23, are ours.

For programs that can be told no loop but take uvloop where it can be imported. Whether uvloop is installed makes no
difference, and it is not loaded. Where it was imported before, the very modules that its importers hold get the
names; classes that they took out of them stay uvloop's.
"""

import asyncio
import importlib
import importlib.machinery
import sys
import types
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from . import _loopmod, policy
from .loop import Loop
from .server import Server

_T = TypeVar("_T")

# Some compare it, so it is the version whose names these are and nothing else.
VERSION = "0.23.0"
_DOC = "loopmod, which answers for uvloop here: see loopmod.install(as_uvloop=True)."


class StandIn(types.ModuleType):
    """A module of ours under a name of uvloop's."""

    def __repr__(self) -> str:
        return f"<module {self.__name__!r} (loopmod in its place)>"


def run(
    main: Awaitable[_T],
    *,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = policy.new_event_loop,
    debug: bool | None = None,
) -> _T:
    """Run an awaitable on a new loop and return its result, as `uvloop.run` does.

    Raises TypeError if loop_factory makes a loop of another kind, RuntimeError inside a running loop.
    """

    async def wrapper() -> _T:
        if not isinstance(asyncio.get_running_loop(), Loop):
            raise TypeError("uvloop.run() uses a non-uvloop event loop")
        return await main

    if loop_factory is policy.new_event_loop:
        return policy.run(wrapper(), debug=debug)
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("asyncio.run() cannot be called from a running event loop")
    with asyncio.Runner(debug=debug, loop_factory=loop_factory) as runner:
        return runner.run(wrapper())


def _package_names() -> dict[str, Any]:
    names: dict[str, Any] = {"new_event_loop": policy.new_event_loop, "run": run}
    if policy.has_policies():
        names |= {"install": policy.install_policy, "EventLoopPolicy": policy.EventLoopPolicy}
    return {**names, "__all__": tuple(names), "__doc__": _DOC, "__version__": VERSION, "Loop": Loop}


def _loop_names() -> dict[str, Any]:
    return {
        "__doc__": _DOC,
        "Handle": _loopmod.Handle,
        "Loop": Loop,
        "ReadUnixTransport": _loopmod.ReadPipeTransport,
        "SSLProtocol": _loopmod.SSLProtocol,
        "Server": Server,
        "TCPTransport": _loopmod.SocketTransport,
        "TimerHandle": _loopmod.TimerHandle,
        "UDPTransport": _loopmod.DatagramTransport,
        "UnixTransport": _loopmod.SocketTransport,
        "WriteUnixTransport": _loopmod.WritePipeTransport,
    }


_NAMES = {"uvloop": _package_names, "uvloop.loop": _loop_names}


class _Finder:
    """Finds the modules before those who look for files do, and makes them."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in _NAMES:
            return None
        return importlib.machinery.ModuleSpec(name, self, origin="loopmod", is_package=name == "uvloop")  # type: ignore[arg-type]

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        vars(module).update(_NAMES[module.__name__]())
        if module.__name__ == "uvloop":
            importlib.import_module("uvloop.loop")


_finder = _Finder()
# The modules of uvloop that were there before, each with its class and contents.
_dressed: list[tuple[types.ModuleType, type[types.ModuleType], dict[str, Any]]] = []


def is_installed() -> bool:
    """Return whether uvloop's name is answered for."""
    return _finder in sys.meta_path


def install() -> None:
    """Answer for uvloop from here on. Idempotent."""
    if is_installed():
        return
    sys.meta_path.insert(0, _finder)
    for name, names in _NAMES.items():
        if name in sys.modules:
            # Where a thread is importing it just now, this waits: the rest of its own code would undo all.
            module = importlib.import_module(name)
            _dressed.append((module, type(module), vars(module).copy()))
            module.__class__ = StandIn
            vars(module).update(names())


def uninstall() -> None:
    """Leave the name to uvloop again. Who holds a module that was made here keeps it. Idempotent."""
    if not is_installed():
        return
    sys.meta_path.remove(_finder)
    while _dressed:
        module, kind, contents = _dressed.pop()
        module.__class__ = kind
        vars(module).clear()
        vars(module).update(contents)
    for name in _NAMES:
        if isinstance(sys.modules.get(name), StandIn):
            del sys.modules[name]
