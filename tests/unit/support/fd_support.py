"""What the tests of descriptors share: a stranger that gets a number, and one run of a scenario on a loop.

A scenario ends the hold of an object on its descriptor behind a transport's back (close or detach), lets somebody
else have the number, goes on with the transport, and notes what everybody saw. It has to be the same on every loop.
"""

import asyncio
import contextlib
import errno
import os
import socket
import tempfile
import warnings

import loopmod

LOOPS = {
    "ordinary": loopmod.new_event_loop,
    "step": lambda: loopmod.Loop(join_writes="step"),
    "turn": loopmod.new_server_loop,
}


class WithFileno:
    """Anything with a fileno() method may be watched."""

    def __init__(self, fd):
        self.fd = fd

    def fileno(self):
        return self.fd


class Stranger:
    """Somebody who gets the number `fd`, by chance; `told` is what was sent to him, `own` what was meant for him."""

    def __init__(self, kind, fd):
        self.kind = kind
        if kind in ("socket", "datagrams"):
            type_ = socket.SOCK_STREAM if kind == "socket" else socket.SOCK_DGRAM
            self.ends = [end.detach() for end in socket.socketpair(type=type_)]
        elif kind == "pipe":
            self.ends = list(os.pipe())
        else:
            file, path = tempfile.mkstemp()
            os.unlink(path)
            self.ends = [file]
        self.ends = [os.dup(end) if end == fd and i > 0 else end for i, end in enumerate(self.ends)]
        if self.ends[0] != fd:
            os.dup2(self.ends[0], fd)
            os.close(self.ends[0])
            self.ends[0] = fd
        for end in self.ends:
            os.set_blocking(end, False)

    def speak(self):
        """Have something come for him."""
        if self.kind == "file":
            os.pwrite(self.ends[0], b"mine", 0)
        else:
            os.write(self.ends[1], b"mine")

    @staticmethod
    def read(fd):
        try:
            return os.read(fd, 1000)
        except OSError as exc:
            return errno.errorcode[exc.errno]

    def finish(self):
        """Return what he was told, what he got, and whether he may still speak; close all."""
        if self.kind == "file":
            os.lseek(self.ends[0], 0, os.SEEK_SET)
            seen = [self.read(self.ends[0])]
        elif self.kind == "pipe":
            seen = [self.read(self.ends[0])]
        else:
            os.write(self.ends[0], b"alive")
            seen = [self.read(self.ends[0]), self.read(self.ends[1])]
        for end in self.ends:
            os.close(end)
        return seen


def name_of(exc):
    """A name of an exception that two loops can be compared by."""
    if isinstance(exc, OSError) and exc.errno is not None:
        return errno.errorcode[exc.errno]
    return type(exc).__name__


class Notes(asyncio.Protocol, asyncio.DatagramProtocol):
    """Notes what it is told."""

    def __init__(self):
        self.events = []

    def data_received(self, data):
        self.events.append(("data", bytes(data)))

    def datagram_received(self, data, addr):
        self.events.append(("datagram", data))

    def error_received(self, exc):
        self.events.append(("error", name_of(exc)))

    def eof_received(self):
        self.events.append("eof")

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")

    def connection_lost(self, exc):
        self.events.append(("lost", name_of(exc)))


def without_repeats(events):
    """A number that nobody reads from any more is reported in each turn, and so are its errors."""
    return [event for before, event in zip([None, *events], events, strict=False) if event != before]


def play(factory, scenario, *args):
    """Run scenario(seen, *args) on a loop; return what it noted, with faults told to the exception handler."""
    seen = []
    loop = factory()
    loop.set_exception_handler(lambda _, context: seen.append(("fault", name_of(context.get("exception")))))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loop.run_until_complete(asyncio.wait_for(scenario(seen, *args), 20))
    finally:
        loop.close()
    return seen


@contextlib.contextmanager
def noting(seen):
    """Note an exception that leaves the block."""
    try:
        yield
    except Exception as exc:
        seen.append(("raised", name_of(exc)))
