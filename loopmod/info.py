"""What `python -m loopmod info` prints: the versions that matter in a report, and which fast paths are open here.

A fast path is named only where it can be closed: by the system, by this Python, or by a program that has replaced a
function it stands in for. Relies on the C core for what it alone knows.
"""

import asyncio
import errno
import importlib.metadata
import os
import platform
import socket
import sys

from . import _loopmod, gil, resolver


def text() -> str:
    """Return the report, one fact a line."""
    facts = _loopmod._facts()
    rows = [*_versions(facts), *_paths(facts)]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def _versions(facts: "_loopmod._Facts") -> list[tuple[str, str]]:
    libev = "{}.{}".format(*facts["libev"])
    return [
        ("loopmod", _loopmod.__version__),
        ("libev", f"{libev}, {'compiled in' if facts['is_embedded'] else 'linked'}"),
        ("backend", facts["backend"]),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"),
        ("GIL", gil.described()),
        ("OpenSSL", _openssl()),
        ("system", f"{platform.system()} {platform.release()}, {platform.machine()}"),
        ("extension", str(_loopmod.__file__)),
        ("import uvloop", _uvloop()),
    ]


def _openssl() -> str:
    try:
        import ssl
    except ImportError:
        return "none: this Python has no ssl module"
    return ssl.OPENSSL_VERSION


def _uvloop() -> str:
    """Who answers for that name in this process."""
    stand_in = sys.modules.get(f"{__package__}.stand_in")
    if stand_in is not None and stand_in.is_installed():
        return f"loopmod, with the names of uvloop {stand_in.VERSION}"
    try:
        return f"uvloop {importlib.metadata.version('uvloop')}"
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _paths(facts: "_loopmod._Facts") -> list[tuple[str, str]]:
    return [
        ("near timers", _choose(facts["has_alarm"], "timerfd", "milliseconds of epoll: no timerfd here")),
        ("sock_* waits", _choose(facts["has_once"], "one-shot set of their own", "no set: descriptors ran out")),
        ("watch ends", _choose(facts["knows_set"], "told to epoll at once", "when next ready: its set is not known")),
        ("wake-ups", _choose(facts["has_eventfd"], "eventfd", "a pipe: no eventfd here")),
        ("sendfile", _choose(_has_sendfile(), "by the system", "read and sent: no sendfile here")),
        ("child's end", _choose(_has_pidfd(), "pidfd", "looked for 20 times a second: no pidfd here")),
        (
            "numeric hosts",
            _choose(_looks_up(), "without a thread", "in a thread: socket.getaddrinfo is replaced"),
        ),
        (
            "TLS records",
            _choose(facts["reaches_openssl"], "by OpenSSL itself", "by methods of ssl, which let go of the GIL"),
        ),
        ("task inspectors", _inspectors(facts["shows_tasks"])),
    ]


def _choose(is_open: bool, fast: str, slow: str) -> str:
    return f"yes: {fast}" if is_open else f"no: {slow}"


def _has_pidfd() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def _has_sendfile() -> bool:
    try:
        os.sendfile(-1, -1, 0, 0)
    except AttributeError:
        return False
    except OSError as exc:
        return exc.errno not in (errno.ENOSYS, errno.EPERM)
    return True


def _looks_up() -> bool:
    return resolver.look_up_numeric("127.0.0.1", 0, socket.AF_INET, socket.SOCK_STREAM, 0, 0) is not None


def _inspectors(shows_tasks: bool) -> str:
    if not hasattr(asyncio, "capture_call_graph"):
        return "not needed: this Python has none that read tasks from memory"
    return _choose(shows_tasks, "tasks show what they await", "tasks stay out of the list that they walk")
