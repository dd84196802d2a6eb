"""Plays a program on one loop, and returns what was logged.

A heart beats once in each turn of the loop and counts them; the loop never sleeps. By the clock "turns" the loop's
time *is* that count, so a timer is due in a turn that is the same on each loop; by the clock "ties" too, and there
many timers have the same deadline. By the clock "real" all timers are due at once or never, and `time` is the loop's
own. A phase of a program makes things from outside of the loop, then runs it for some turns: for ever, turn by turn,
until a future is done, or one after the other, or until a coroutine is; what leaves the loop is logged, and it runs
on.
"""

import asyncio
import gc
import logging
import signal
import sys
import threading
import warnings

from tasks_awaits import Awaits
from tasks_futures import FutureOperations
from tasks_kinds import Kinds, OrderedWeakSet
from tasks_locks import Locks
from tasks_nested import Runs, permit
from tasks_tasks import TaskOperations
from tasks_world import VARIABLE, StuckError, World, same_text

import loopmod

LONGEST = 10
AGAIN = 4


class TasksWorld(FutureOperations, TaskOperations, Locks, Awaits, Runs, World):
    pass


class LogWatch(logging.Handler):
    """Notes what asyncio's logger is told, but for what goes with the death of an object."""

    def __init__(self, note):
        super().__init__(logging.WARNING)
        self.note = note

    def emit(self, record):
        self.note("logger: " + same_text(record.getMessage().split("\n")[0]))


class Play:
    def __init__(self, program, factory, is_python):
        self.program = program
        self.loop = factory()
        self.world = None
        if program.clock != "real":
            self.loop.time = self.time
        self.loop.set_debug(program.debug)
        self.loop.slow_callback_duration = 60.0
        self.loop._asyncgens = OrderedWeakSet()
        kinds = Kinds(isinstance(self.loop, loopmod.Loop), is_python)
        if is_python:
            self.loop.set_task_factory(kinds.factory("python"))
        self.kinds = kinds
        self.until = 0
        asyncio._set_running_loop(self.loop)
        self.world = TasksWorld(program, self.loop, kinds)
        asyncio._set_running_loop(None)
        self.world.make_loop = factory
        if program.is_nested:
            self.world.run = permit()[isinstance(self.loop, loopmod.Loop)]
        self.loop.set_exception_handler(self.world.on_exception)
        self.loop.call_soon(self.beat)

    def time(self):
        return float(self.world.turn if self.world is not None else 0)

    def beat(self):
        self.world.turn += 1
        self.world.on_beat()
        if self.world.turn >= self.until and self.world.depth == 0:
            self.world.is_stopping = True
            self.loop.stop()
        self.loop.call_soon(self.beat)

    # Phases

    def run(self):
        for name, turns, ops in self.program.phases:
            self.phase(name, turns, ops)
        if self.program.ending != "close":
            self.cancel_all()
        if self.program.ending == "runner":
            self.run_until(self.world.turn + 10, self.loop.shutdown_asyncgens())
        self.world.run_callback("end", [["look"], ["loop_state"]], ())
        self.close()

    def phase(self, name, turns, ops):
        world = self.world
        world.note("--", name, turns)
        world.run_callback("outside", [op for op in ops if op[0] != "raise"], ())
        until = world.turn + turns
        if name == "until future" and world.futures:
            self.run_until(until, world.futures[-1])
        elif name == "again and again":
            for future in world.futures[-AGAIN:]:
                self.run_until(world.turn + 2, future)
        elif name == "turn by turn":
            while world.turn < until:
                self.run_turn()
        elif name == "until coroutine":
            self.run_until(until, world.new_coroutine([["await", ["sleep", 2, 5], 0], ["return", 6]]))
        while world.turn < until:
            self.run_forever(until)
        world.run_callback("outside", [["look"], ["loop_state"]], ())

    def run_until(self, until, future):
        """Until it is done, or for some turns."""
        self.until = until
        self.world.is_stopping = False
        try:
            self.world.note("--", "gave", self.loop.run_until_complete(future))
        except StuckError:
            raise
        except BaseException as exc:
            self.world.note("--", "raised", exc)

    def run_turn(self):
        """A run that is asked to stop before it begins."""
        self.loop.stop()
        self.run_forever(self.world.turn + 2)

    def run_forever(self, until):
        self.until = until
        self.world.is_stopping = False
        try:
            self.loop.run_forever()
            self.world.note("--", "stopped")
        except StuckError:
            raise
        except BaseException as exc:
            self.world.note("--", "raised", exc)

    # The end

    def cancel_all(self):
        for _ in range(5):
            pending = [task for task in self.world.tasks if not task.done()]
            for task in pending:
                self.world.call("end", ["cancel_task", self.world.tasks.index(task), ["the end"]])
            if not pending:
                break
            self.run_forever(self.world.turn + 3)

    def close(self):
        world = self.world
        self.loop.close()
        world.run_callback("closed", [["look"], ["loop_state"], ["call_soon", [], "none"], ["future", "loop"]], ())
        for at in range(3):
            world.run_callback("closed", [["cancel", at, []], ["set_result", at + 3, 1], ["cancel_handle", at]], ())
        world.run_callback("closed", [["look"], ["task_state", 0], ["loop_state"]], ())
        world.is_over = True


def drop(play):
    """Let go of all that a play has made, and collect it, while its log is still written to."""
    world = play.world
    log, late = world.log, world.late
    vars(world).update(futures=[], tasks=[], handles=[], callbacks=[], contexts=[], generators=[], jobs=[])
    vars(world).update(groups=[], timeouts=[], patient=[], ended=[], settled=[])
    play.loop = play.world = None
    del play
    vars(world).update(log=[], late=late, labels={})
    del world
    gc.collect()
    gc.collect()
    return log, late


def on_alarm(number, frame):
    raise StuckError


def play(program, factory, is_python=False):
    """Play a program on a loop of this factory; return what was logged, and what died, sorted."""
    late = []
    watch = LogWatch(late.append)
    logger = logging.getLogger("asyncio")
    logger.addHandler(watch)
    logging.getLogger("concurrent.futures").setLevel(logging.CRITICAL + 1)
    was_propagating, logger.propagate = logger.propagate, False
    hooks = sys.unraisablehook, threading.excepthook
    one = None

    def on_unraisable(told):
        if one is None or (one.world is not None and not one.world.is_over):
            late.append(f"unraisable: {same_text(repr(told.exc_value))}")

    sys.unraisablehook = on_unraisable
    old_alarm = signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(LONGEST)
    gc.disable()
    token = VARIABLE.set("-")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, *more: late.append(f"warning: {same_text(str(message))}")
            one = Play(program, factory, is_python)
            try:
                one.run()
            except StuckError:
                one.world.log.append("STUCK")
            log, more = drop(one)
    finally:
        VARIABLE.reset(token)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old_alarm)
        gc.enable()
        logger.removeHandler(watch)
        logger.propagate = was_propagating
        sys.unraisablehook, threading.excepthook = hooks
    return {"log": log, "late": sorted(late + more)}
