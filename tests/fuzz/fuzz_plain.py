"""Fuzzing without coverage, on the module as it is built and on asyncio: inputs one after the other in a forked
child.

The child writes each input down before it plays it, so that the one which killed it is known; then another child
goes on behind it.
"""

import collections
import faulthandler
import itertools
import json
import logging
import os
import select
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings

import fuzz_targets

HANG = 30


class Outcome:
    """What was played and what broke a rule."""

    def __init__(self):
        self.played = 0
        self.failures = []  # pairs of input and text

    def kinds(self):
        """How often what broke, without the numbers in it."""
        return collections.Counter(text.splitlines()[-1][:70] for _, text in self.failures)


class Notes:
    """What a child leaves behind whatever becomes of it: the input that it plays, how many it began, what failed."""

    def __init__(self):
        self.current = tempfile.TemporaryFile()
        self.failed = tempfile.TemporaryFile("w+")

    def begin(self, count, data):
        os.pwrite(self.current.fileno(), struct.pack("<QI", count, len(data)) + data, 0)

    def began(self):
        """How many, and the last one."""
        header = os.pread(self.current.fileno(), 12, 0)
        count, size = struct.unpack("<QI", header) if header else (0, 0)
        return count, os.pread(self.current.fileno(), size, 12)

    def fail(self, data, text):
        self.failed.write(json.dumps([data.hex(), text]) + "\n")
        self.failed.flush()

    def failures(self):
        self.failed.seek(0)
        return [(bytes.fromhex(data), text) for data, text in map(json.loads, self.failed)]

    def close(self):
        self.current.close()
        self.failed.close()


def play_inputs(target, kind, inputs, until, notes):
    faulthandler.enable(sys.__stderr__)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    function = fuzz_targets.load(target)
    factory = fuzz_targets.factory_of(kind)
    for number, data in enumerate(inputs, 1):
        if time.monotonic() > until:
            break
        notes.begin(number, data)
        try:
            function(data, factory)
        except BaseException:
            notes.fail(data, traceback.format_exc())


def wait_for(child, notes):
    """Until it has ended or hangs in one input. A watch within it would need a thread of the parent's."""
    began, number = -1, signal.SIGABRT  # which shows where it is, unless that has another handler by now
    watched = os.pidfd_open(child)
    while not select.select([watched], [], [], HANG)[0]:
        before, began = began, notes.began()[0]
        if began == before:
            os.kill(child, number)
            number = signal.SIGKILL
    os.close(watched)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def play_in_child(*work):
    """Return how it ended: 0, or minus a signal."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            play_inputs(*work)
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(status)
    return wait_for(child, work[-1])


def play(target, kind, make_inputs, seconds=1e9, most_deaths=1):
    """Play what make_inputs() yields, which may have no end, for so long; behind so many deaths give up."""
    outcome = Outcome()
    until = time.monotonic() + seconds
    for _ in range(most_deaths):
        notes = Notes()
        inputs = itertools.islice(make_inputs(), outcome.played, None)
        status = play_in_child(target, kind, inputs, until, notes)
        count, last = notes.began()
        outcome.played += count
        outcome.failures += notes.failures()
        notes.close()
        if status == 0:
            break
        outcome.failures.append((last, f"the process ended with {status}"))
    return outcome
