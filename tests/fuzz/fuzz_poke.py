"""Target `poke`: methods and attributes of every exported type, in any order, with arguments of any kind.

Relies on tests/isolated: the objects, and the arguments that act when they are asked for something (end, close, run
the loop, initialise anew, free, find), are those of hostile_types.py, the garbage that of poke_types.py. Those
programs make each call once; here an input is a list of calls on several objects of one loop, whose results and
attributes are arguments of the next ones. Whatever a call raises is fine, but SystemError, and the process must go
on.
"""

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
import time
import types
from pathlib import Path

from fuzz_addresses import leave_network
from fuzz_draw import Draw, expect, run_turns

ISOLATED = Path(__file__).resolve().parent.parent / "isolated"
MOST_STEPS = 24
MOST_THINGS = 8
MOST_ACTS = 3
MOST_RUNS = 3  # within each other
SIGNALS = (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGINT)
# These start threads or processes, look names up, or go on behind the input.
LEFT_OUT = {
    "getaddrinfo", "getnameinfo", "set_default_executor", "create_connection", "create_datagram_endpoint",
    "create_unix_connection", "create_server", "create_unix_server", "sock_sendfile", "sendfile", "faulthandler",
    "_run_nested", "__init_subclass__", "__class__", "__getattribute__",
}  # fmt: skip

hostile = poke_types = watchdog = None


def prepare():
    """Import the two programs; what they write to is put away. Nothing is sent to where a call may name."""
    global hostile, poke_types, watchdog
    leave_network()
    sys.path.insert(0, str(ISOLATED))
    import hostile_types
    import poke_types as poke

    import loopmod

    hostile, poke_types = hostile_types, poke
    watchdog = Watchdog()
    hostile.turns = watchdog.turns
    loopmod.allow_nested_runs()
    sys.unraisablehook = note_unraisable
    threading.excepthook = lambda args: None
    sys.stderr = open(os.devnull, "w")
    gc.collect()
    gc.freeze()


class Watchdog:
    """Stops a run of the loop that goes on and on: a call may have taken away what ends it, as `loop.stop = 1` does.

    A loop that does not stop then hangs, which is found.
    """

    PATIENCE = 0.5

    def __init__(self):
        self.loop, self.until, self.depth = None, 0.0, 0
        threading.Thread(target=self.watch, daemon=True).start()

    def watch(self):
        import loopmod

        while True:
            time.sleep(self.PATIENCE / 2)
            loop = self.loop
            if loop is not None and time.monotonic() > self.until:
                with contextlib.suppress(BaseException):
                    loopmod.Loop.call_soon_threadsafe(loop, loopmod.Loop.stop, loop)
            del loop

    @contextlib.contextmanager
    def over(self, loop):
        before = self.loop, self.until
        self.loop, self.until = loop, time.monotonic() + self.PATIENCE
        try:
            yield
        finally:
            self.loop, self.until = before

    def turns(self, loop):
        """In the place of hostile_types.turns: nothing of the loop is used that an instance may have replaced.

        A run within a run takes the stop of the outer one away, and so puts it back.
        """
        if self.depth == MOST_RUNS:
            return
        self.depth += 1
        with self.over(loop):
            for _ in range(2):
                with contextlib.suppress(BaseException):
                    type(loop).call_soon(loop, type(loop).stop, loop)
                    type(loop).run_forever(loop)
            self.depth -= 1
            if self.depth:
                with contextlib.suppress(BaseException):
                    type(loop).call_soon(loop, type(loop).stop, loop)


system_errors = []


def note_unraisable(unraisable):
    if isinstance(unraisable.exc_value, SystemError):
        system_errors.append(repr(unraisable.exc_value))


def call(function, *args, **more):
    """What it returns; None where it raises."""
    try:
        return function(*args, **more)
    except SystemError as exc:
        # `raise` of nothing and the like are Python's own words for what the arguments did.
        system_errors.append(f"{function!r:.200}: {exc}")
    except BaseException:
        return None


NOTHING = lambda *args: None


class Scene(Draw):
    """Objects of one loop and the calls on them."""

    def begin(self):
        import loopmod

        self.loop = loopmod.new_event_loop()
        self.scene = hostile.Scene(self.choice(hostile.ACTIONS))
        self.loop.set_exception_handler(hostile.Hostile(self.scene) if self.one_in(2) else NOTHING)
        self.scene.loop = self.loop
        self.things = [self.loop]
        self.results = []

    def make(self):
        makers = [make for kinds in hostile.MAKERS.values() for make in kinds]
        made = call(self.choice(makers), self.scene)
        if made is not None:
            self.things = [*self.things[-MOST_THINGS:], made]

    def argument(self):
        kind = self.below(8)
        if kind == 0:
            return self.integer()
        if kind == 1:
            return self.bytes(20)
        if kind == 2:
            return self.choice(self.things)
        if kind == 3 and self.results:
            return self.choice(self.results)
        if kind in (4, 5):
            return self.choice(self.garbage)
        return self.of_hostile()

    def of_hostile(self):
        made = self.choice((
            hostile.Hostile, hostile.HostileBytes, hostile.raised, hostile.hostile_context, hostile.PlainProtocol,
            hostile.HostileProtocol, hostile.pieces, lambda scene: hostile.nothing(), lambda scene: NOTHING,
            lambda scene: hostile.pair(scene)[0],
        ))  # fmt: skip
        return made(self.scene)

    @property
    def garbage(self):
        return list(poke_types.garbage())

    def names(self, thing):
        left_out = hostile.SKIPPED | LEFT_OUT
        return [name for name in dir(type(thing)) if (name not in left_out and not hasattr(type, name)) or
                name in ("__init__", "__repr__", "__del__", "__eq__", "__hash__")]  # fmt: skip

    def use(self):
        """One call, or one attribute read, set or deleted."""
        thing = self.choice(self.things)
        name = self.choice(self.names(thing))
        if isinstance(getattr(type(thing), name, None), types.FunctionType) and thing is not self.loop:
            return
        self.scene.thing, self.scene.left = thing, MOST_ACTS
        what = self.below(16)
        if what == 0:
            call(delattr, thing, name)
        elif what == 1:
            call(setattr, thing, name, self.argument())
        value = call(getattr, thing, name)
        if callable(value):
            args = [self.argument() for _ in range(self.below(6))]
            more = {self.choice(("context", "loop", "name", "msg", "x")): self.argument()} if self.one_in(6) else {}
            with watchdog.over(self.loop):
                value = call(value, *args, **more)
        del thing
        if value is not None:
            self.keep(value)

    def keep(self, value):
        if hasattr(type(value), "send") and self.one_in(2):
            call(value.send, None)
        if hasattr(type(value), "close") and hasattr(type(value), "send"):
            call(value.close)
        elif type(value).__module__.startswith("loopmod"):
            self.things.append(value)
        else:
            self.results.append(value)

    def drop(self):
        if len(self.things) > 1:
            self.scene.thing = None
            self.things.pop(1 + self.below(len(self.things) - 1))
        self.results.clear()

    def turn(self):
        self.scene.left = MOST_ACTS
        call(type(self.loop).call_soon, self.loop, NOTHING)
        hostile.turns(self.loop)

    def collect(self):
        self.scene.left = MOST_ACTS
        gc.collect(0)

    STEPS = (use, use, use, use, use, use, make, make, turn, drop, collect)

    def play(self):
        self.begin()
        self.make()
        self.make()
        for _ in range(MOST_STEPS):
            if not self:
                break
            self.choice(self.STEPS)(self)

    def finish(self):
        self.scene.left = 0
        self.scene.held.clear()
        hostile.turns(self.loop)
        things, self.things, self.results = self.things, [], []
        self.scene.thing = self.scene.loop = None
        for thing in things:
            call(getattr(type(thing), "abort", NOTHING), thing)
        with contextlib.suppress(BaseException):
            type(self.loop).close(self.loop)
        for thing in things:
            poke_types.close_by_force(thing)


def put_in_order():
    """What the calls changed in the process."""
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    asyncio._set_running_loop(None)
    asyncio.set_event_loop(None)
    hostile.LIVING.clear()


def poke(data, factory):
    scene = Scene(data)
    try:
        scene.play()
    finally:
        scene.finish()
        put_in_order()
        del scene
    if system_errors:
        told = system_errors[0]
        system_errors.clear()
        expect(False, "{}", told)
    loop = factory()
    run_turns(loop)
    loop.close()
