"""Exceptions of signal handlers, at any point of a load; after each, every callback has run or is queued.

A point is a number. It says which load, which exception, and how and when it comes:

- `opcode`: raised in the place of the n-th instruction of Python code, the load's or asyncio's own
- `queue`: a callback in C sets the signal off, and the next place that looks for signals raises
- `clock`: a real signal after some microseconds, wherever the loop is then

Points of `runner` send SIGINT to an `asyncio.Runner`, whose own handler answers it.
"""

import _thread
import asyncio
import gc
import random
import signal
import sys

from tasks_load import Load
from tasks_world import OwnBaseError, OwnError

WAYS = ["opcode", "opcode", "opcode", "queue", "clock", "clock", "runner"]
EXCEPTIONS = [KeyboardInterrupt, KeyboardInterrupt, OwnError, OwnBaseError, SystemExit]
QUIET = 2
TURNS = 12
LONGEST_DELAY = 6e-5


class Point:
    def __init__(self, number):
        self.number = number
        self.random = random.Random(number)
        self.way = self.random.choice(WAYS)
        self.exception = KeyboardInterrupt if self.way == "runner" else self.random.choice(EXCEPTIONS)
        self.debug = self.random.random() < 0.2
        self.countdown = int(2 ** self.random.uniform(3, 13))
        self.delay = 10 ** self.random.uniform(-5, -2.8)
        self.has_fired = False
        self.is_over = False
        self.place = ""

    def show(self):
        return f"{self.way}, {self.exception.__name__}{', debug' if self.debug else ''} at {self.place}"

    # How it comes

    def handler(self, number, frame):
        self.fire()

    def fire(self):
        if not self.has_fired and not self.is_over:
            self.has_fired = True
            self.place = place_of(sys._getframe(2))
            raise self.exception("interrupted")

    def trace(self, frame, event, arg):
        """Counts the instructions of the load and of asyncio."""
        name = frame.f_code.co_filename
        if self.has_fired or not (name.endswith("tasks_load.py") or "/asyncio/" in name):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        self.countdown -= 1
        if self.countdown == 0:
            sys.settrace(None)
            self.fire()
        return self.trace

    def interrupt(self):
        """The load has come to its point."""
        if self.random.random() < 0.3:
            _thread.interrupt_main(self.signal)
        elif self.random.random() < 0.6:
            self.loop.call_soon(_thread.interrupt_main, self.signal)
        else:
            self.loop.call_later(0, _thread.interrupt_main, self.signal)

    @property
    def signal(self):
        return signal.SIGINT if self.way == "runner" else signal.SIGUSR1

    def arm(self, load):
        if self.way == "opcode":
            sys.settrace(self.trace)
        elif self.way == "clock":
            signal.setitimer(signal.ITIMER_REAL, self.delay)
        else:
            load.interrupt_at = self.random.randrange(load.left)

    def disarm(self):
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_REAL, 0)

    # A play

    def play(self, factory):
        """What is wrong after this point; nothing where the rule holds."""
        self.loop = loop = factory()
        self.wrong = []
        loop.set_debug(self.debug)
        loop.slow_callback_duration = 60.0
        load = Load(loop, self.random, self.interrupt)
        loop.set_exception_handler(lambda loop, context: self.note(load, context.get("exception")))
        loop.run_until_complete(load.connect())
        old = [(number, signal.signal(number, self.handler)) for number in (signal.SIGUSR1, signal.SIGALRM)]
        try:
            self.run(load)
            self.settle(load)
            self.is_over = True
            self.wrong += load.wrong()
            load.close()
            self.finish(load)
        finally:
            self.disarm()
            for number, handler in old:
                signal.signal(number, handler)
        return self.wrong

    def note(self, load, exc):
        if exc is not None and self.has_fired:
            load.note_frames(exc)

    def run(self, load):
        """Until the load is over, or the exception has left the loop."""
        self.loop.call_soon(load.act)
        load.do_task()
        load.do_later()
        load.do_write()
        stops = [self.loop.call_later(delay, self.loop.stop) for delay in (2e-3, 3e-3)]
        try:
            self.arm(load)
            self.loop.run_forever()
        except BaseException as exc:
            self.disarm()
            self.left(load, exc)
        self.disarm()
        for stop in stops:
            stop.cancel()

    def left(self, load, exc):
        """An exception has left the loop: the state that it leaves behind."""
        if not self.has_fired:
            raise exc
        self.note(load, exc)
        exc.__traceback__ = None
        if self.loop.is_running() or asyncio._get_running_loop() is not None:
            self.wrong.append("the loop runs still")
            self.loop._thread_id = None  # what is played next shall not find it so
            asyncio._set_running_loop(None)
        if asyncio.current_task(self.loop) is not None:
            self.wrong.append("a task is current still")

    def hop(self, turns, until):
        if until != self.until:
            return
        if turns > 0 or self.loop.time() < until:
            self.loop.call_soon(self.hop, turns - 1, until)
        else:
            self.loop.stop()

    def some_turns(self, load):
        # Two times: where the exception comes as late as this, asyncio may lose one.
        self.until = self.loop.time() + LONGEST_DELAY
        self.hop(TURNS, self.until)
        self.hop(TURNS, self.until)
        try:
            self.loop.run_forever()
        except BaseException as exc:
            self.left(load, exc)
        self.until = None

    def settle(self, load):
        """Run until nothing happens any more."""
        calm, last = 0, None
        while calm < QUIET:
            self.some_turns(load)
            for task in load.tasks:
                if task.done() and not task.cancelled() and task.exception() is not None:
                    self.note(load, task.exception())
            now = load.is_quiet()
            calm, last = calm + 1 if now == last else 0, now

    def finish(self, load):
        """The loop serves as ever: all tasks end, and it closes."""
        loop = self.loop
        for task in asyncio.all_tasks(loop):
            task.cancel()
        self.some_turns(load)
        if loop.run_until_complete(asyncio.sleep(0, 5)) != 5 or asyncio.all_tasks(loop):
            self.wrong.append("the loop does not run on")
        loop.close()


class RunnerPoint(Point):
    """SIGINT while an asyncio.Runner runs: the main task is cancelled, and KeyboardInterrupt comes out."""

    async def main(self, load):
        try:
            self.arm(load)
            for _ in range(8):
                load.act()
                await asyncio.sleep(0)
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    def run(self, load):
        self.cancelled = 0
        try:
            runner = asyncio.Runner(loop_factory=lambda: self.loop, debug=self.debug)
            runner.run(self.main(load))
        except KeyboardInterrupt as exc:
            self.has_fired = True
            self.left(load, exc)
            if self.cancelled > 1:
                self.wrong.append("cancelled twice")
        if self.cancelled and not self.has_fired:
            self.wrong.append("KeyboardInterrupt is lost")
        self.has_fired = True


def place_of(frame):
    """Where an exception is raised: the innermost frames."""
    names = []
    while frame is not None and len(names) < 12:
        names.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(names)


def play_point(number, factory):
    """Play one point: whether the exception came, and what is wrong."""
    point = Point(number)
    if point.way == "runner":
        point = RunnerPoint(number)
    gc.disable()
    try:
        wrong = point.play(factory)
    finally:
        gc.enable()
    return point, wrong
