"""What the tests of Unix sockets share: names to listen on, connected ends, a user without privileges.

A name is a path in the test's own directory or an abstract one with the process's id in it, so that runs at the same
time do not meet. Relies on tcp_support for the recording protocol.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import stat

from tcp_support import Recorder, open_fds

NOBODY = 65534
NUMBERS = itertools.count()

# What create_unix_server and create_unix_connection take for a path.
NAMES = {
    "str": lambda tmp_path: str(tmp_path / "s"),
    "bytes": lambda tmp_path: os.fsencode(tmp_path / "s"),
    "path": lambda tmp_path: tmp_path / "s",
    "umlaut": lambda tmp_path: str(tmp_path / "gr\xfcn"),
    "surrogate": lambda tmp_path: os.fsdecode(os.fsencode(tmp_path) + b"/\xff"),
    "abstract": lambda tmp_path: f"\0loopmod-{os.getpid()}-{next(NUMBERS)}",
    "abstract bytes": lambda tmp_path: b"\0loopmod-%d-%d\0\xff" % (os.getpid(), next(NUMBERS)),
}


def shown(name):
    """How the socket module shows a name: abstract ones as bytes, all others as str."""
    text = os.fsdecode(name)
    return os.fsencode(name) if text[0] == "\0" else text


class Listed(Recorder):
    """Puts itself on the list `made` of its factory."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self.made.append(self)


def listed(base=Listed):
    """A factory and the list of the protocols it made that are connected."""
    made = []
    return type("Here", (base,), {"made": made}), made


async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)


def is_socket(path):
    return os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode)


def leave_stale(path):
    """A socket file that nobody listens on."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@contextlib.contextmanager
def unprivileged():
    """For root, who may do everything with every file: be nobody meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextlib.contextmanager
def no_fd_left():
    before = open_fds()
    yield
    assert open_fds() == before


async def raw_client(name):
    """A raw non-blocking socket connected to `name`."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, os.fspath(name))
    return sock
