"""Name look-ups that need no thread: what is an address already is answered at once.

The answer is the system's own, asked with the flags that keep it from looking anything up, so it is the one that a
thread would have brought. Only while `socket.getaddrinfo` is CPython's own: test suites and proxies replace it.
"""

import _socket
import socket
from typing import Any

_own = socket.getaddrinfo if socket.getaddrinfo.__module__ == "socket" else None
_NUMERIC = int(socket.AI_NUMERICHOST | socket.AI_NUMERICSERV)
# As CPython's function does it, but without asking the enum for each number.
_families: dict[int, Any] = {member.value: member for member in socket.AddressFamily}
_kinds: dict[int, Any] = {member.value: member for member in socket.SocketKind}


def _is_address(host: object) -> bool:
    return type(host) is str and (":" in host or (host != "" and not host.strip("0123456789.")))


def look_up_numeric(host: Any, port: Any, family: int, type: int, proto: int, flags: int) -> list[Any] | None:
    """Return what getaddrinfo gives for a host and port that are numbers; None where a thread has to ask.

    That is also the case for what fails: the real look-up then fails in its own way.
    """
    if socket.getaddrinfo is not _own or not _is_address(host) or not (port is None or isinstance(port, int)):
        return None
    try:
        found = _socket.getaddrinfo(host, port, family, type, proto, flags | _NUMERIC)
    except (OSError, ValueError, TypeError, OverflowError):
        return None
    return [
        (_families.get(af, af), _kinds.get(kind, kind), number, name, address)
        for af, kind, number, name, address in found
    ]
