"""The books of a soak: what was begun and what became of it, and the bytes that everybody says.

Each account has two sides that must be equal once all is at rest: a callback that was asked for has run, a
connection made is lost, a byte sent is received. Whatever Python reports to nobody in particular is a complaint.
"""

import asyncio
import collections
import logging
import random
import sys
import threading
import traceback
import warnings

# Everybody says a piece of this; where it begins tells what is to come back.
BLOCK = random.Random(15).randbytes(1 << 20)


def say(rng, size):
    """A piece of that size, at a random place."""
    start = rng.randrange(len(BLOCK) - size)
    return memoryview(BLOCK)[start : start + size]


class Books:
    def __init__(self):
        self.counts = collections.Counter()
        self.complaints = []
        self.worst_lateness = 0.0

    def add(self, name, by=1):
        self.counts[name] += by

    def complain(self, text):
        """The first hundred are enough."""
        self.counts["complaints"] += 1
        if len(self.complaints) < 100:
            self.complaints.append(text)

    def unequal(self, pairs):
        """The accounts whose sides differ."""
        return [
            f"{left} {self.counts[left]}, {right} {self.counts[right]}"
            for left, right in pairs
            if self.counts[left] != self.counts[right]
        ]


PAIRS = [
    ("clients made", "clients lost"),
    ("servers made", "servers lost"),
    ("bytes asked", "bytes echoed"),
    ("datagrams sent", "datagrams answered"),
    ("endpoints made", "endpoints lost"),
    ("pipes made", "pipes lost"),
    ("pipe bytes written", "pipe bytes read"),
    ("timers set", "timers ended"),
    ("soon asked", "soon run"),
    ("threadsafe asked", "threadsafe run"),
    ("signals raised", "signals handled"),
    ("jobs asked", "jobs done"),
    ("processes started", "processes ended"),
    ("tasks made", "tasks done"),
]


class LogWatch(logging.Handler):
    def __init__(self, books):
        super().__init__(logging.WARNING)
        self.books = books

    def emit(self, record):
        self.books.complain(f"log: {self.format(record)}")


def watch(loop, books):
    """From now on whatever is reported is a complaint; returns what ends that."""

    def on_context(loop, context):
        error = context.get("exception")
        lines = "".join(traceback.format_exception(error)) if error else ""
        books.complain(f"exception handler: {context['message']} {lines}")

    def on_unraisable(report):
        books.complain(f"unraisable: {report.err_msg} {report.exc_value!r} in {report.object!r}")

    def on_warning(message, category, filename, line, file=None, text=None):
        books.complain(f"warning: {category.__name__}: {message} ({filename}:{line})")

    before = sys.unraisablehook, threading.excepthook, warnings.showwarning
    handler = LogWatch(books)
    logger = logging.getLogger("asyncio")
    logger.addHandler(handler)
    logger.propagate = False
    loop.set_exception_handler(on_context)
    warnings.simplefilter("always", ResourceWarning)
    sys.unraisablehook = on_unraisable
    threading.excepthook = lambda report: books.complain(f"thread: {report.exc_value!r}")
    warnings.showwarning = on_warning

    def end():
        logger.removeHandler(handler)
        sys.unraisablehook, threading.excepthook, warnings.showwarning = before

    return end


def task(loop, books, coroutine):
    """A task of the load, whose end is written down; what it raises is a complaint."""

    async def kept():
        try:
            await coroutine
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            books.complain("".join(traceback.format_exception(error)))
        finally:
            books.add("tasks done")

    books.add("tasks made")
    return loop.create_task(kept())
