"""Name look-ups: what is an address already is answered at once, names by threads of the loop's own.

The answer is the system's own. An address is asked for with the flags that keep the system from looking anything up;
names are asked for by threads in C (src/os/resolver.h), which no other work of the default executor holds up. Only
while `socket.getaddrinfo` is CPython's own: test suites and proxies replace it.
"""

import _socket
import os
import socket
import sys
from typing import Any

from . import _loopmod

_own = socket.getaddrinfo if socket.getaddrinfo.__module__ == "socket" else None
_own_call = _socket.getaddrinfo
_NUMERIC = int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
# As CPython's function does it, but without asking the enum for each number.
_families: dict[int, Any] = {member.value: member for member in socket.AddressFamily}
_kinds: dict[int, Any] = {member.value: member for member in socket.SocketKind}

os.register_at_fork(before=_loopmod._end_idle_lookups)


def is_stock() -> bool:
    """Whether nobody has replaced the functions of the socket module."""
    return socket.getaddrinfo is _own and _socket.getaddrinfo is _own_call


def shown(found: list[Any]) -> list[Any]:
    """Return what the system answered as the socket module does."""
    return [
        (_families.get(af, af), _kinds.get(kind, kind), number, name, address)
        for af, kind, number, name, address in found
    ]


def _is_address(host: object) -> bool:
    return type(host) is str and (":" in host or (host != "" and not host.strip("0123456789.")))


def look_up_numeric(host: Any, port: Any, family: int, type: int, proto: int, flags: int) -> list[Any] | None:
    """Return what getaddrinfo gives for a host and port that are numbers; None where a thread has to ask.

    That is also the case for what fails: the real look-up then fails in its own way.
    """
    if not is_stock() or not _is_address(host) or not (port is None or isinstance(port, int)):
        return None
    try:
        return shown(_own_call(host, port, family, type, proto, flags | _NUMERIC))
    except (OSError, ValueError, TypeError, OverflowError):
        return None


def _plain_host(host: Any) -> bool:
    """Whether the IDNA codec leaves the name as it is."""
    if host is None:
        return True
    if type(host) is not str or not host.isascii() or "\0" in host:
        return False
    *labels, last = host.split(".")
    return all(0 < len(label) < 64 for label in labels) and 0 < len(last or host) < 64 and host != "."


def _service(port: Any) -> str | None:
    """Return what names the port to the system; "" for what is left to the socket module."""
    if type(port) is int and 0 <= port <= 0xFFFF:
        return str(port)
    return port if port is None or (type(port) is str and port.isascii() and "\0" not in port) else ""


def ask(loop: Any, host: Any, port: Any, *numbers: int) -> Any:
    """Return a future of what the loop's threads find out; None for what is left to the socket module.

    numbers: family, type, proto, flags. Raises what an audit hook raises.
    """
    service = _service(port)
    if service == "" or not is_stock() or not _plain_host(host):
        return None
    sys.audit("socket.getaddrinfo", host, port, *numbers[:3])
    return loop._look_up(host, service, *numbers)


def answer(found: Any) -> list[Any]:
    """Return what a future of ask() gave, or raise what the socket module raises then."""
    if type(found) is list:
        return shown(found)
    code, err, message = found
    if code == socket.EAI_SYSTEM:
        raise OSError(err, os.strerror(err))
    raise socket.gaierror(code, message)
