"""What every target is written with: choices drawn from the bytes of an input, and the rules that every input keeps.

An input is read from its front, one byte for most choices, so that what a fuzzer changes changes one choice. Behind
its end every choice is the first.
"""

import gc
import os
import struct


class Broken(Exception):
    """A rule does not hold."""


class Unavailable(Exception):
    """The machine does not give what a target needs."""


def expect(holds, text, *details):
    if not holds:
        raise Broken(text.format(*details))


class Draw:
    """Choices from an input."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def __bool__(self):
        return self.at < len(self.data)

    def raw(self, most):
        """Up to so many bytes, as many as are left."""
        taken = self.data[self.at : self.at + most]
        self.at += len(taken)
        return taken

    def byte(self):
        return self.raw(1)[0] if self else 0

    def below(self, count):
        """A number below count, which is at most 65536."""
        if count <= 256:
            return self.byte() % count
        return (self.byte() << 8 | self.byte()) % count

    def one_in(self, count):
        return self.byte() % count == count - 1

    def choice(self, options):
        return options[self.below(len(options))]

    def size(self, most):
        """Mostly small, at times near a power of two, at times large."""
        kind = self.byte()
        if kind < 128:
            return min(kind, most)
        if kind < 240:
            return max(0, min((1 << (kind & 15) + 1) + self.byte() - 128, most))
        return min(self.below(65536) << (kind & 3), most)

    def bytes(self, most):
        """Bytes of the input itself."""
        return self.raw(self.below(most + 1))

    def filler(self, most):
        """Bytes that show their place, of a drawn size: what is lost, doubled or moved is seen."""
        return pattern(self.size(most))

    def integer(self):
        """Of any size and sign."""
        return struct.unpack("<q", self.raw(8).ljust(8, b"\0"))[0] >> (self.byte() & 63)


PATTERN = bytes((i * 7 + (i >> 8)) & 255 for i in range(1 << 18))


def pattern(size, start=0):
    return PATTERN[start : start + size]


def open_descriptors():
    return set(os.listdir("/proc/self/fd"))


class Descriptors:
    """Sees that an input closed what it opened."""

    def __enter__(self):
        self.before = len(open_descriptors())
        return self

    def __exit__(self, kind, exc, trace):
        if kind is not None or len(open_descriptors()) <= self.before:
            return
        gc.collect()  # a cycle may hold a socket of a test's own
        now = len(open_descriptors())
        expect(now <= self.before, "{} descriptors, {} before", now, self.before)


def run_turns(loop, count=1):
    """Turns of the loop: what is ready runs, what waits goes on waiting."""
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


def shown(exc):
    """An exception without what differs from run to run: its class, and the number of an OSError."""
    if exc is None:
        return None
    name = type(exc).__name__
    return f"{name} {exc.errno}" if isinstance(exc, OSError) and isinstance(exc.errno, int) else name
