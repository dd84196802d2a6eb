"""Runs beside and within runs: other loops, runs again and again, and runs of the loop that runs already.

The operations of the family `run` are for any program: another loop that runs in a thread, or where none runs, and
what refuses to run beside another. Those of the family `nested` are for programs of their own (`--nested`): what
permits them cannot be undone, on asyncio's loop nest_asyncio, on ours `loopmod.allow_nested_runs`. A nested run ends
when what it is for is done, or some heart beats later.
"""

import asyncio
import functools
import sys
import threading

from tasks_oracle import OracleLoop
from tasks_rules import rule
from tasks_world import VARIABLE

import loopmod

DEEPEST_RUN = 5
# Later ones have a current task that nest_asyncio knows nothing of.
HAS_ORACLE = sys.version_info < (3, 14)
# Left out of programs with nested runs: a stop ends whichever run nest_asyncio looks at first; it does not see to
# generators; tasks in Python say other things of what cannot be awaited; what is sent from a thread asyncio learns of
# by a callback more, which makes a turn longer; and a callback in a context that is entered already is refused by
# asyncio, and runs in a copy on loopmod.
UNNESTED_FAMILIES = {"generator", "context", "yield", "thread", "executor"}
UNNESTED_OPERATIONS = {"stop", "call_soon_threadsafe", "profile"}


@functools.cache
def permit():
    """Permit nested runs on both kinds of loop, for good; what `asyncio.run` is then on each.

    That of nest_asyncio sets the debug mode besides, which takes a callback.
    """
    loopmod.allow_nested_runs()
    ours = asyncio.run
    import nest_asyncio

    loop = OracleLoop()
    nest_asyncio.apply(loop)
    loop.close()
    of_nest_asyncio = OracleLoop._run_once

    def run_once(loop):
        """Without cancelled timers, which loopmod forgets at once: they make a turn longer."""
        loop._scheduled[:] = sorted(handle for handle in loop._scheduled if not handle.cancelled())
        of_nest_asyncio(loop)

    OracleLoop._run_once = run_once
    return {True: ours, False: lambda main: asyncio.get_running_loop().run_until_complete(main)}


class Elsewhere:
    """A short program on a loop of its own, which logs by itself."""

    def __init__(self, make_loop, number):
        self.make_loop, self.number = make_loop, number
        self.log = []

    async def child(self, loop, number):
        for turn in range(number % 3):
            await asyncio.sleep(0)
            self.log.append(f"child {number} turn {turn} {asyncio.get_running_loop() is loop}")
        return number * 10

    async def main(self, loop):
        self.log.append(f"running {asyncio.get_running_loop() is loop} {len(asyncio.all_tasks())} {VARIABLE.get()}")
        got = await asyncio.gather(*(self.child(loop, number) for number in range(self.number)))
        future = loop.create_future()
        loop.call_soon(future.set_result, "result")
        return got, await future, asyncio.current_task().get_loop() is loop

    def run(self):
        """Run a new loop two times, then close it."""
        loop = self.make_loop()
        try:
            for _ in range(2):
                coro = self.main(loop)
                try:
                    self.log.append(loop.run_until_complete(coro))
                finally:
                    coro.close()
        except Exception as exc:
            self.log.append(exc)
        finally:
            loop.close()
        return self.log

    def run_runner(self):
        """The same by a Runner."""
        coros = []

        async def main():
            return await self.main(asyncio.get_running_loop())

        with asyncio.Runner(loop_factory=self.make_loop) as runner:
            for _ in range(2):
                coros.append(main())
                try:
                    self.log.append(runner.run(coros[-1]))
                except Exception as exc:
                    self.log.append(exc)
                finally:
                    coros[-1].close()
        return self.log


class Runs:
    def set_up(self):
        super().set_up()
        self.depth = 0
        self.is_stopping = False
        self.patient = []

    # Beside a run

    @rule("run", "n ?")
    def op_run_in_thread(self, who, number, is_runner):
        """Another loop in another thread; this one waits for it."""
        other = Elsewhere(self.make_loop, number)
        thread = threading.Thread(target=other.run_runner if is_runner else other.run)
        thread.start()
        thread.join()
        return other.log, asyncio._get_running_loop() is self.loop

    @rule("run", "n ?")
    def op_run_other(self, who, number, is_runner):
        """Another loop in this thread, which is refused while one runs."""
        other = Elsewhere(self.make_loop, number)
        running = asyncio._get_running_loop()
        if self.program.is_nested and running is not None:
            return None
        log = other.run_runner() if is_runner else other.run()
        return log, asyncio._get_running_loop() is running

    @rule("run")
    def op_run_asyncio(self, who):
        """Refused while a loop runs, and nothing but the refusal comes of it."""
        if asyncio._get_running_loop() is None or self.program.is_nested:
            return None
        coro = asyncio.sleep(0)
        try:
            return asyncio.run(coro)
        finally:
            coro.close()

    # Within a run

    def on_beat(self):
        """End the runs that have lasted for long enough."""
        super().on_beat()
        for turn, end in list(self.patient):
            if turn <= self.turn and end():
                self.patient.remove((turn, end))

    def patience(self, future, beats):
        """A future that is done when this one is, or so many beats later."""
        waiter = self.loop.create_future()

        def end(future=None):
            if not waiter.done():
                waiter.set_result("done" if future else "no more patience")
            return True

        future.add_done_callback(end)
        self.patient.append((self.turn + beats, end))
        return waiter

    def may_nest(self):
        """Not while the run around it stops: what that means then is the loop's own."""
        return self.depth < DEEPEST_RUN and not self.is_stopping and asyncio._get_running_loop() is not None

    def nest(self, who, run, *args):
        """A run within the one that runs now."""
        if not self.may_nest():
            return "no run"
        current = asyncio.current_task()
        self.depth += 1
        self.note(who, f"nests {self.depth}")
        try:
            outcome = run(*args)
        finally:
            self.depth -= 1
            self.is_stopping = False
        return outcome, asyncio._get_running_loop() is self.loop, asyncio.current_task() is current

    @rule("nested", "i n")
    def op_nest_future(self, who, index, beats):
        waiter = self.patience(self.pick(self.futures, index), beats)
        return self.nest(who, self.loop.run_until_complete, waiter)

    @rule("nested", "B n")
    def op_nest_body(self, who, ops, beats):
        task = self.add_future(self.loop.create_task(self.new_coroutine(ops)))
        return task, self.nest(who, self.loop.run_until_complete, self.patience(task, beats))

    @rule("nested", "B")
    def op_nest_whole(self, who, ops):
        """Without patience: a body that awaits nothing but turns of the loop."""

        async def main():
            for op in ops:
                self.call("whole", op)
                await asyncio.sleep(0)
            return 5

        ops = [op for op in ops if hasattr(self, "op_" + op[0])]
        coro = main()
        try:
            return self.nest(who, self.run, coro)
        finally:
            coro.close()

    @rule("nested", "n")
    def op_nest_forever(self, who, beats):
        """Until a stop, which comes when no other run is within this one."""
        depth = self.depth + 1

        def end():
            if self.depth == depth:
                self.is_stopping = True
                self.loop.stop()
            return self.depth <= depth

        if self.may_nest():
            self.patient.append((self.turn + beats, end))
        return self.nest(who, self.loop.run_forever)
