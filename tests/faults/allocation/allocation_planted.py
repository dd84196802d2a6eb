"""Loops with a fault that shows when memory is out: what the instrument has to find."""

import os

import loopmod

KEPT = []


class Swallows(loopmod.Loop):
    """Says that it has taken a callback."""

    def call_soon(self, callback, *args, context=None):
        try:
            return super().call_soon(callback, *args, context=context)
        except MemoryError:
            return None


class Mistakes(loopmod.Loop):
    """Another exception in the place of MemoryError."""

    def call_soon(self, callback, *args, context=None):
        try:
            return super().call_soon(callback, *args, context=context)
        except MemoryError:
            raise SystemError("error return without exception set") from None


class Leaks(loopmod.Loop):
    def call_soon(self, callback, *args, context=None):
        try:
            return super().call_soon(callback, *args, context=context)
        except MemoryError:
            os.dup(0)
            raise


class Keeps(loopmod.Loop):
    def call_soon(self, callback, *args, context=None):
        try:
            return super().call_soon(callback, *args, context=context)
        except MemoryError:
            KEPT.append(self.create_future())
            raise


class Crashes(loopmod.Loop):
    def call_soon(self, callback, *args, context=None):
        try:
            return super().call_soon(callback, *args, context=context)
        except MemoryError:
            os.abort()


class Breaks(loopmod.Loop):
    """Does not run any more."""

    is_broken = False

    def call_soon(self, callback, *args, context=None):
        try:
            return super().call_soon(callback, *args, context=context)
        except MemoryError:
            self.is_broken = True
            raise

    def run_until_complete(self, future):
        if self.is_broken:
            raise MemoryError
        return super().run_until_complete(future)


# What each is found by.
PLANTED = {
    "swallows": (Swallows, "callbacks lost"),
    "mistakes": (Mistakes, "SystemError"),
    "leaks": (Leaks, "descriptors left"),
    "keeps": (Keeps, "left alive"),
    "crashes": (Crashes, "ended by SIGABRT"),
    "breaks": (Breaks, "does not work afterwards"),
}
