"""What a coroutine awaits: futures, tasks, waits, what is yielded by hand, executors, asynchronous generators."""

import asyncio
import concurrent.futures

from tasks_rules import rule
from tasks_world import yielding

WAITS = [asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION]


class ByHand(concurrent.futures.Executor):
    """An executor whose jobs are finished by the program."""

    def __init__(self, world):
        self.world = world

    def submit(self, function, /, *args, **more):
        job = concurrent.futures.Future()
        self.world.jobs.append(job)
        return job


class Awaits:
    def set_up(self):
        super().set_up()
        self.timeouts, self.groups, self.jobs, self.generators = [], [], [], []
        self.executor = ByHand(self)

    def make(self, who, expression):
        """The object to await. What making it raises comes out of the await."""
        return getattr(self, "aw_" + expression[0])(who, *expression[1:])

    def awaitables(self, who, expressions):
        return [self.make(who, expression) for expression in expressions]

    @rule("always", "i")
    def aw_future(self, who, index):
        return self.pick(self.futures, index)

    @rule("always", "i")
    def aw_task(self, who, index):
        return self.pick(self.tasks, index)

    @rule("task", "B k n c")
    def aw_new_task(self, who, *arguments):
        return self.op_task(who, *arguments)

    @rule("always", "B")
    def aw_body(self, who, ops):
        return self.new_coroutine(ops)

    @rule("always", "d v")
    def aw_sleep(self, who, delay, value):
        return asyncio.sleep(self.delay(delay, True), self.value(value))

    @rule("group", "e")
    def aw_shield(self, who, expression):
        return self.add_future(asyncio.shield(self.make(who, expression)))

    @rule("group", "e d")
    def aw_wait_for(self, who, expression, delay):
        return asyncio.wait_for(self.make(who, expression), self.delay(delay, True))

    @rule("group", "E ?")
    def aw_gather(self, who, expressions, are_returned):
        waited = self.awaitables(who, expressions)
        return self.add_future(asyncio.gather(*waited, return_exceptions=bool(are_returned)))

    @rule("group", "E d n")
    def aw_wait(self, who, expressions, delay, mode):
        waited = [self.add_future(asyncio.ensure_future(one)) for one in self.awaitables(who, expressions)]
        return asyncio.wait(waited, timeout=self.delay(delay, True), return_when=WAITS[mode % 3])

    @rule("yield", "n i")
    def aw_yield(self, who, kind, index):
        """Something that no coroutine of asyncio yields."""
        future = self.pick(self.futures, index) if self.futures else None
        current = asyncio.current_task()
        return yielding([None, future, 3, "text", current, self.loop, [future], None][kind % 8])

    @rule("yield", "i")
    def aw_marked(self, who, index):
        """A future as its iterator yields it."""
        future = self.pick(self.futures, index)
        future._asyncio_future_blocking = True
        return yielding(future)

    @rule("yield", "i n")
    def aw_by_hand(self, who, index, kind):
        return [ByIter(self.pick(self.futures, index)), NotAnIterator(), 3, Twice(self.pick(self.futures, index))][
            kind % 4
        ]

    @rule("yield")
    def aw_self(self, who):
        return asyncio.current_task()

    # Executors

    @rule("executor", "n")
    def aw_executor(self, who, number):
        return self.add_future(self.loop.run_in_executor(self.executor, int, number))

    @rule("executor", "i v")
    def op_finish_job(self, who, index, value):
        job = self.pick([job for job in self.jobs if not job.done()], index)
        job.set_running_or_notify_cancel()
        return job.set_result(self.value(value))

    @rule("executor", "i x")
    def op_fail_job(self, who, index, name):
        return self.pick([job for job in self.jobs if not job.done()], index).set_exception(self.exception(name))

    @rule("executor", "i")
    def op_cancel_job(self, who, index):
        return self.pick(self.jobs, index).cancel()

    # Asynchronous generators

    async def generator(self, who, ops, after):
        self.note(who, "begins")
        try:
            for number, op in enumerate(ops):
                got = yield number
                self.note(who, "goes on", got)
                await self.run_body(who, [op])
        finally:
            if not self.is_over:
                self.note(who, "ends")
                await self.run_body(who, after)

    @rule("generator", "B B")
    def op_generator(self, who, ops, after):
        generator = self.generator(f"gen{len(self.generators)}", ops, after)
        self.generators.append(generator)
        return self.label(generator, "G")

    @rule("generator", "i")
    def aw_anext(self, who, index):
        return self.pick(self.generators, index).__anext__()

    @rule("generator", "i v")
    def aw_asend(self, who, index, value):
        return self.pick(self.generators, index).asend(self.value(value))

    @rule("generator", "i x")
    def aw_athrow(self, who, index, name):
        return self.pick(self.generators, index).athrow(self.exception(name))

    @rule("generator", "i")
    def aw_aclose(self, who, index):
        return self.pick(self.generators, index).aclose()

    @rule("generator")
    def aw_shutdown_generators(self, who):
        return self.loop.shutdown_asyncgens()

    @rule("generator", "B B n")
    async def do_async_for(self, who, ops, after, most):
        """Goes through a generator that nobody else has, and may leave it before its end."""
        async for number in self.generator(who + "+", ops, after):
            if number >= most:
                break
            self.note(who, "item", number)


class ByIter:
    def __init__(self, future):
        self.future = future

    def __await__(self):
        return iter(self.future)


class NotAnIterator:
    def __await__(self):
        return 3


class Twice:
    """Awaits one future two times, by two kinds of iterator."""

    def __init__(self, future):
        self.future = future

    def __await__(self):
        first = yield from self.future
        second = yield from self.future.__await__()
        return first, second
