"""Plays a program on one loop and returns what was noted: for each end its log, and what the loop complained of.

Between two steps everything comes to rest: what was sent has arrived where somebody reads, whoever has to hear of an
end has, and the kernel has nothing for a transport. So what is compared does not depend on the kernel's timing; what
would within a step is left out by the rules of `transport_operations.py`.
"""

import asyncio
import contextlib
import logging
import shutil
import tempfile
import warnings

from transport_ends import RawEnd, TransportEnd, Way
from transport_links import connect, upgrade
from transport_operations import Operations
from transport_program import DATAGRAMS, PIPES, TLS

PATIENCE = 5.0


class LogWatch(logging.Handler):
    """Passes what asyncio's logger is told on."""

    def __init__(self, note):
        super().__init__(logging.WARNING)
        self.note = note

    def emit(self, record):
        self.note(["log", record.getMessage()])


class Play(Operations):
    def __init__(self, program, loops, directory, is_joined):
        self.program = program
        # Of each end; the player lives on the first.
        self.loops = loops
        self.loop = loops[0]
        self.directory = directory
        self.is_datagram = program.kind in DATAGRAMS
        self.is_pipe = program.kind in PIPES
        self.is_over_tcp = program.kind.startswith("tcp") or program.kind in TLS
        self.is_tls = program.kind in TLS
        # One of the loops compared joins writes. It stops that where the number of a socket is asked for, and hears
        # later that the other end is gone.
        self.is_joined = is_joined
        self.is_tcp = program.kind.startswith("tcp")
        self.ways = [Way(0), Way(1)]
        self.ends = []
        self.ends += [(RawEnd if plan["raw"] else TransportEnd)(n, plan, self) for n, plan in enumerate(program.ends)]
        self.complaints = []
        self.is_stuck = False
        self.within = None
        # The way that bytes flow along in bulk in this step.
        self.moving = None
        # Ends that wrote to one that is gone, in this step.
        self.sent_to_gone = set()
        # Ends that may not send in a reaction any more, in this step.
        self.has_sent = set()

    # What is shown in the logs

    def show_exception(self, exc):
        if exc is None:
            return None
        if isinstance(exc, OSError):
            return f"{type(exc).__name__} {exc.errno}"
        if isinstance(exc, AttributeError):
            return "AttributeError"
        return f"{type(exc).__name__}: {exc}"

    def show(self, value):
        """An address or another answer, as text that is the same in each run."""
        for end in self.ends:
            if end.address is not None and value == end.address:
                return f"address of {end.number}"
        if isinstance(value, tuple):
            return [item if isinstance(item, str) else type(item).__name__ for item in value]
        if isinstance(value, (str, bytes)):
            return str(value).replace(str(self.directory), "DIR")
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, asyncio.trsock.TransportSocket):
            return "TransportSocket"
        return type(value).__name__

    def on_exception(self, loop, context):
        message = context["message"]
        if message.startswith("Exception in callback"):
            message = "Exception in callback"
        keys = sorted(set(context) - {"source_traceback", "handle_traceback"})
        entry = ["handler", message, self.show_exception(context.get("exception")), keys]
        for end in self.ends:
            is_its = context.get("transport") is end.transport and end.transport is not None
            if is_its or context.get("protocol") in end.protocols:
                end.log.append(entry)
                return
        self.complaints.append(entry)

    # The course of a play

    async def run(self):
        for loop in self.loops:
            loop.set_exception_handler(self.on_exception)
        watch = LogWatch(self.complaints.append)
        logging.getLogger("asyncio").addHandler(watch)
        logging.getLogger("asyncio").propagate = False
        try:
            self.is_connecting = True
            await connect(self.ends, self.program.kind, self.directory, self.program.tls_version)
            self.is_connecting = False
            await self.settle("made")
            if self.program.kind == "start_tls" and not self.is_stuck:
                await self.start_tls()
            for number, step in enumerate(self.program.steps):
                if self.is_stuck:
                    break
                self.new_step(number)
                for end, operation in step:
                    self.do(self.ends[end], operation)
                await self.settle(number)
            self.new_step("end")
            await self.clean_up()
        finally:
            logging.getLogger("asyncio").removeHandler(watch)
        return self.result()

    async def start_tls(self):
        self.is_tls = False
        for end in self.ends:
            self.op_resume_reading(end)
            end.flutter = 0
        await self.settle("before TLS")
        self.is_tls = True
        await upgrade(self.ends, self.program.tls_version)
        await self.settle("start_tls")

    def new_step(self, number):
        self.moving = None
        self.sent_to_gone = set()
        self.has_sent = set()
        for end in self.ends:
            end.note(f"-- {number}")

    async def clean_up(self):
        for end in self.ends:
            end.reactions = {}
            if end.is_lost:
                continue
            if end.is_raw:
                end.close()
            else:
                self.op_abort(end) if hasattr(end.transport, "abort") else end.transport.close()
        await self.settle("end")

    def result(self):
        logs = {"complaints": sorted(self.complaints, key=str)}
        for end in self.ends:
            way = end.way_in
            log = end.log
            if way.is_cut:
                log = [entry for entry in log if entry[0] != "data" or entry[1] < way.cut_from]
                log = [e if e[0] != "data" or e[2] <= way.cut_from else ["data", e[1], "..."] for e in log]
            logs[f"end {end.number}"] = log
        return logs

    # Coming to rest

    async def settle(self, name):
        deadline = self.loop.time() + PATIENCE
        calm = rounds = 0
        is_acknowledged = not self.is_tcp or self.is_tls
        while calm < (6 if self.is_tls else 3):
            for _ in range(3):
                await asyncio.sleep(0)
            rounds += 1
            if self.is_calm():
                calm += 1
                if calm == 3 and not is_acknowledged and any(way.is_bulk for way in self.ways):
                    calm = 0
                    is_acknowledged = True
                    await self.acknowledgements()
            else:
                calm = 0
                if rounds > 30:
                    await asyncio.sleep(0.0005)
                if self.loop.time() > deadline:
                    self.is_stuck = True
                    self.complaints.append(["STUCK", name, self.why_not_calm()])
                    break
        for way, end in zip(self.ways, self.ends, strict=True):
            way.settled(self.is_datagram)
            is_open = not end.is_lost and not end.is_closing_now() and not end.peer.is_lost
            if self.is_tls and end.is_writing_paused and is_open and not (way.outstanding or end.is_toggling):
                end.note("STILL PAUSED")

    async def acknowledgements(self):
        """After a bulk the kernel may keep what is sent next until the last is acknowledged, in 40 ms at most."""
        for _ in range(60):
            await asyncio.sleep(0.001)
            if not self.is_joined and not any(end.unacknowledged() for end in self.ends):
                break

    def is_calm(self):
        moved = [end.drain() for end in self.ends if end.is_raw]
        return not any(moved) and not self.why_not_calm()

    def why_not_calm(self):
        for end in self.ends:
            if why := self.end_waits_for(end):
                return f"end {end.number} {why}"
        for way in self.ways:
            if why := self.way_waits_for(self.ends[way.number], self.ends[1 - way.number], way):
                return f"way {way.number} {why}"
        return None

    def end_waits_for(self, end):
        if end.is_lost:
            return None
        if end.ready_events():
            return "has events"
        is_waiting = self.is_tls and ((not end.peer.is_lost and end.peer.is_paused) or end.is_paused)
        if not end.is_raw and end.transport.is_closing() and not end.buffered() and not is_waiting:
            return "is closing"
        if end.errors_expected and end.is_reading():
            return "waits for an error"
        if end.was_sent_to_gone and end.peer.is_lost and not end.is_raw and not end.has_error():
            return "waits for a reset"
        return None

    def way_waits_for(self, sender, receiver, way):
        if self.is_datagram:
            if not receiver.is_lost and receiver.is_reading() and way.messages:
                return "has messages"
            return None
        if receiver.is_lost:
            if self.is_pipe and way.number == 0 and not sender.is_lost and not sender.is_raw:
                return "ends"
            return "cannot be emptied" if sender.buffered() else None
        if not receiver.is_reading():
            return None
        if sender.buffered() or (way.outstanding and not way.is_cut and not way.is_broken):
            return "has bytes"
        if (sender.is_lost or sender.is_eof_sent) and not (self.is_pipe and way.number == 1):
            return "ends"
        return None


def prepare(loop, program):
    loop.set_debug(program.debug)
    loop.slow_callback_duration = 60.0
    return loop


def run_apart(loops, coroutine):
    """Run a coroutine on the first of two loops, of which each has a turn after the other's."""
    task = loops[0].create_task(coroutine)
    while not task.done():
        for loop in loops:
            loop.call_soon(loop.stop)
            loop.run_forever()
    return task.result()


def play(program, factory, is_joined=False):
    """Play a program on a loop of this factory, or each end on one of two; return what was noted."""
    directory = tempfile.mkdtemp(prefix="model")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if isinstance(factory, tuple):
                with contextlib.ExitStack() as stack:
                    loops = [prepare(stack.enter_context(contextlib.closing(make())), program) for make in factory]
                    return run_apart(loops, Play(program, loops, directory, is_joined).run())
            with asyncio.Runner(loop_factory=factory) as runner:
                loop = prepare(runner.get_loop(), program)
                return runner.run(Play(program, [loop, loop], directory, is_joined).run())
    finally:
        shutil.rmtree(directory)
