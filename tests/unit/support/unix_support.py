"""What the tests of Unix sockets share: names to listen on, connected ends, a user without privileges.

A name is a path in the test's own directory or an abstract one with the process's id in it, so that runs at the same
time do not meet.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import ssl
import stat

import pytest
from tcp_support import open_fds

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


async def refused(call, arguments, error, text):
    """The call fails so; where the arguments name a socket or a context, one is made."""
    with (
        socket.socket(socket.AF_UNIX) as unix,
        socket.socket() as inet,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
    ):
        given = dict(arguments)
        if "sock" in given:
            given["sock"] = {"unix": unix, "inet": inet, "datagram": datagram}[given["sock"]]
        if given.get("ssl") == "context":
            given["ssl"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(error) as caught:
            await call(**given)
        assert text in str(caught.value)


async def raw_client(name):
    """A raw non-blocking socket connected to `name`."""
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, os.fspath(name))
    return sock
