"""What the plays of coroutines share: a log for each actor, operations as tasks, and coming to rest between steps.

A scenario is plain data, as a program of `transport_program.py` is: steps, each a burst of operations of an actor
that begin within one callback. An operation that is a coroutine goes on as a task, until it ends or a later operation
cancels it; how it ended is noted in its actor's log. Each log is in order; between actors there is none, since which
of several descriptors comes first is the kernel's choice.
"""

import asyncio
import fcntl
import inspect
import json
import logging
import os
import random
import shutil
import socket
import sys
import tempfile
import termios
import warnings
import zlib

PATIENCE = 5.0
BIG = 400_000
TEXT = bytes(random.Random(7).choices(b"abcdefgh\n;|", k=65537)) * (BIG // 65537 + 2)


class Scenario:
    """Seed, family, kind within it, options of the kind, the steps."""

    # Of programs for pairs, for `transport_shrink.py`.
    ends = ()
    tls_version = None

    def __init__(self, seed, family, kind, debug, options, steps):
        self.seed = seed
        self.family = family
        self.kind = kind
        self.debug = debug
        self.options = options
        self.steps = steps

    def to_json(self):
        return json.dumps(vars(self))

    def show(self):
        lines = [f"seed {self.seed}, {self.kind} {self.options or ''}{', debug mode' if self.debug else ''}"]
        for number, step in enumerate(self.steps):
            lines.append(f"step {number}")
            lines += [f"  {actor}: {operation}" for actor, operation in step]
        return "\n".join(lines)


def make_scenario(seed, family):
    """The scenario of a seed, by what the family's module draws: kind, options, operations."""
    chance = random.Random(f"{family.NAME}{seed}")
    kind = chance.choice(family.KINDS)
    options = family.draw_options(chance, kind)
    steps, count = [], chance.choice([2, 4, 6, 10, 14])
    for number in range(count):
        burst = [family.draw(chance, kind, options, number / count) for _ in range(chance.choice([1, 1, 2, 3, 5]))]
        steps.append([list(item) for item in burst])
    return Scenario(seed, family.NAME, kind, chance.random() < 0.2, options, steps)


def pick(chance, weights):
    """One of the names of a dict of weights."""
    return chance.choices(list(weights), list(weights.values()))[0]


def queued(number, request):
    """How many bytes the kernel holds for a descriptor: TIOCOUTQ or FIONREAD."""
    count = bytearray(4)
    try:
        fcntl.ioctl(number, request, count)
    except OSError:
        return 0
    return int.from_bytes(count, sys.byteorder)


def unsent(number):
    return queued(number, termios.TIOCOUTQ)


def unread(number):
    return queued(number, termios.FIONREAD)


class LogWatch(logging.Handler):
    """Passes what asyncio's logger is told on."""

    def __init__(self, note):
        super().__init__(logging.WARNING)
        self.note = note

    def emit(self, record):
        self.note(["log", record.getMessage().split(" <")[0]])


class Stage:
    """A play of a scenario.

    A family's class has `op_` and `may_` for its operations, and `begin`, `finish`, `waits_for`, `at_rest`.
    """

    rounds = 3

    def __init__(self, scenario, loop, directory, is_joined):
        self.scenario = scenario
        self.kind = scenario.kind
        self.options = scenario.options
        self.loop = loop
        self.directory = directory
        self.is_joined = is_joined
        self.logs = {"complaints": []}
        self.pending = {}
        self.count = 0
        self.is_stuck = False
        self.waited = 0
        self.bell, self.bell_peer = socket.socketpair()

    def note(self, actor, *entry):
        self.logs.setdefault(str(actor), []).append(list(entry))

    def show_exception(self, exc):
        if isinstance(exc, asyncio.IncompleteReadError):
            return ["IncompleteReadError", self.show(exc.partial), exc.expected]
        if isinstance(exc, asyncio.LimitOverrunError):
            return ["LimitOverrunError", str(exc), exc.consumed]
        if isinstance(exc, OSError) and exc.errno is not None and not exc.strerror:
            return f"{type(exc).__name__} {exc.errno}"
        if isinstance(exc, AttributeError):
            return "AttributeError"
        text = str(exc)
        return f"{type(exc).__name__}: {text.split(' at 0x')[0].split('fd=')[0].replace(str(self.directory), 'DIR')}"

    def show(self, value):
        if isinstance(value, (bytes, bytearray, memoryview)):
            return ["bytes", len(value), zlib.crc32(value)]
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, str):
            return value.replace(str(self.directory), "DIR")
        if isinstance(value, (tuple, list)):
            return [self.show(item) for item in value]
        return type(value).__name__

    def on_exception(self, loop, context):
        message = context["message"]
        if message.startswith("Exception in callback"):
            message = "Exception in callback"
        if message.startswith("Unhandled exception in client_connected_cb"):
            message = "Unhandled exception in client_connected_cb"
        keys = sorted(set(context) - {"source_traceback", "handle_traceback"})
        exc = context.get("exception")
        shown = None if exc is None else self.show_exception(exc)
        self.logs["complaints"].append(["handler", message, shown, keys])

    # Operations

    def may(self, actor, *arguments):
        return True

    def do(self, actor, operation):
        name, *arguments = operation
        if not getattr(self, f"may_{name}", self.may)(actor, *arguments):
            self.note(actor, "left out", name)
            return
        self.count += 1
        label = f"{self.count} {name}"
        method = getattr(self, f"op_{name}")
        if inspect.iscoroutinefunction(method):
            task = self.loop.create_task(self.attempt(actor, label, method, arguments))
            self.pending.setdefault(actor, []).append((label, task))
            return
        try:
            answer = method(actor, *arguments)
        except Exception as exc:
            self.note(actor, label, "raises", self.show_exception(exc))
        else:
            self.note(actor, label, "gives", self.show(answer))

    async def attempt(self, actor, label, method, arguments):
        if "sendfile" in label:
            # Its thread decides where it ends among the others.
            log = f"{actor} sendfile"
        else:
            log = actor
        try:
            answer = await method(actor, *arguments)
        except asyncio.CancelledError:
            self.note(log, label, "is cancelled")
            raise
        except Exception as exc:
            self.note(log, label, "raises", self.show_exception(exc))
        else:
            self.note(log, label, "gives", self.show(answer))

    def running(self, actor, *names):
        """Whether an operation of one of these names goes on."""
        self.pending[actor] = [(label, task) for label, task in self.pending.get(actor, []) if not task.done()]
        return any(label.split()[1] in names for label, _ in self.pending[actor])

    def op_cancel(self, actor):
        """Cancel the operation that the actor began last."""
        self.running(actor)
        if not self.pending[actor]:
            return None
        label, task = self.pending[actor][-1]
        return [label, task.cancel()]

    # The course of a play

    async def run(self):
        self.loop.set_exception_handler(self.on_exception)
        logger = logging.getLogger("asyncio")
        watch = LogWatch(self.logs["complaints"].append)
        logger.addHandler(watch)
        logger.propagate = False
        try:
            await self.begin()
            await self.settle("begin")
            for number, step in enumerate(self.scenario.steps):
                if self.is_stuck:
                    break
                self.new_step(number)
                for actor, operation in step:
                    self.do(actor, operation)
                await self.settle(number)
                self.at_rest()
            for tasks in self.pending.values():
                for _, task in tasks:
                    task.cancel()
            await self.settle("cancelled")
            await self.finish()
        finally:
            logger.removeHandler(watch)
            self.bell.close()
            self.bell_peer.close()
        self.logs["complaints"].sort(key=str)
        return self.logs

    def new_step(self, number):
        for name, log in self.logs.items():
            if name != "complaints":
                log.append([f"-- {number}"])

    def state(self):
        return sum(map(len, self.logs.values()))

    def waits_for(self):
        return None

    def at_rest(self):
        pass

    async def turns(self):
        """A few turns of the loop, in which it surely asks the kernel: a loop may leave that out while it is busy."""
        for _ in range(2):
            done = self.loop.create_future()
            self.loop.add_writer(self.bell, done.set_result, None)
            await done
            self.loop.remove_writer(self.bell)
            await asyncio.sleep(0)

    def is_busy(self, *names):
        """Whether such an operation goes on, which may have its file read in a thread; but it may also be stuck."""
        if self.waited > 100 or not any(self.running(actor, *names) for actor in list(self.pending)):
            return False
        self.waited += 1
        return True

    async def settle(self, name):
        self.waited = 0
        deadline = self.loop.time() + PATIENCE
        calm = rounds = 0
        before = None
        while calm < self.rounds:
            await self.turns()
            rounds += 1
            now = self.state()
            why = self.waits_for()
            calm = calm + 1 if now == before and why is None else 0
            before = now
            if rounds > 30 and not calm:
                await asyncio.sleep(0.0005)
            if self.loop.time() > deadline:
                self.is_stuck = True
                self.logs["complaints"].append(["STUCK", name, why])
                break


def play_stage(stage, scenario, factory, is_joined=False):
    """Play a scenario on a loop of this factory; return the logs."""
    directory = tempfile.mkdtemp(prefix="model")
    try:
        with warnings.catch_warnings(), asyncio.Runner(loop_factory=factory) as runner:
            warnings.simplefilter("ignore")
            loop = runner.get_loop()
            loop.set_debug(scenario.debug)
            loop.slow_callback_duration = 60.0
            return runner.run(stage(scenario, loop, directory, is_joined).run())
    finally:
        shutil.rmtree(directory)


def open_sockets():
    """The numbers of this process's sockets."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                found.add(int(name))
        except OSError:
            pass
    return found
