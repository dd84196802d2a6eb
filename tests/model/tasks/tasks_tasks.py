"""Operations on tasks, and the statements of their coroutines."""

import asyncio
import sys

from tasks_kinds import OrderedSet
from tasks_rules import rule
from tasks_world import StuckError, is_closing, is_in_circle


class TaskOperations:
    def set_up(self):
        super().set_up()
        self.ended, self.settled = [], []

    def on_beat(self):
        super().on_beat()
        self.settled, self.ended = self.ended, [task for task in self.tasks if task.done()]

    @rule("task always", "B k n c")
    def op_task(self, who, ops, kind, name, context):
        coro = self.new_coroutine(ops)
        return self.add_future(self.kinds.task(self.loop, coro, kind, name, self.context(context)))

    @rule("task", "i m")
    def op_cancel_task(self, who, index, message):
        task = self.pick(self.tasks, index)
        return task, is_in_circle(task) or task.cancel(*message), min(task.cancelling(), 100), task._must_cancel

    @rule("task", "m")
    def op_cancel_self(self, who, message):
        task = asyncio.current_task()
        return task, is_in_circle(task) or task.cancel(*message)

    @rule("task", "i")
    def op_uncancel(self, who, index):
        return min(self.pick(self.tasks, index).uncancel(), 100)

    @rule("task", "i n")
    def op_set_name(self, who, index, name):
        task = self.pick(self.tasks, index)
        before = task.get_name()
        return before, task.set_name(name), task.get_name()

    @rule("task", "i")
    def op_task_state(self, who, index):
        task = self.pick(self.tasks, index)
        # A task that runs, or ended, shows asyncio's frames as well, which are C here.
        frames = 0 if task.done() or getattr(task.get_coro(), "cr_running", True) else len(task.get_stack())
        return (
            *(task, min(task.cancelling(), 100), task._must_cancel, type(task.get_coro()), frames),
            *(self.add_future(task._fut_waiter), task in asyncio.all_tasks(self.loop)),
        )

    @rule("task", "i", since=(3, 12))
    def op_task_context(self, who, index):
        task = self.pick(self.tasks, index)
        self.contexts.append(task.get_context())
        return len(task.get_context())

    @rule("task odd", "i B")
    def op_init_task(self, who, index, ops):
        """A task that is over, and whose waiters have run, begins anew."""
        done = [task for task in self.settled if task.done()]
        task = self.pick(done, index)
        return task, task.__init__(self.new_coroutine(ops), loop=self.loop)

    @rule("task odd", "i n")
    def op_bad_task(self, who, index, kind):
        bad = [3, None, self.pick(self.futures, index), lambda: None, int][kind % 5]
        return self.loop.create_task(bad)

    @rule("task odd", "i")
    def op_ensure_future(self, who, index):
        future = self.pick(self.futures, index)
        return asyncio.ensure_future(future, loop=self.loop) is future

    # Statements

    async def awaits(self, who, expression):
        return await self.make(who, expression)

    @rule("always", "e ?")
    async def do_await(self, who, expression, is_kept):
        """Await; what comes out of it is kept from going on, or not."""
        try:
            outcome = await self.make(who, expression)
        except StuckError:
            raise
        except BaseException as exc:
            if is_closing(exc):
                raise
            self.note(who, f"await {expression[0]} {'catches' if is_kept else 'meets'}", exc)
            if not is_kept:
                raise
        else:
            self.note(who, f"await {expression[0]}", outcome)

    @rule("always", "v")
    async def do_return(self, who, value):
        """Ends the body: see run_body."""

    @rule("try", "B h B x")
    async def do_try(self, who, ops, kind, after, name):
        try:
            await self.run_body(who, ops)
        except asyncio.CancelledError as exc:
            self.note(who, "is cancelled", exc)
            await self.handle(who, kind, after, name, exc)
        except Exception as exc:
            self.note(who, "catches", exc)
            await self.handle(who, kind, after, name, exc)
        finally:
            if not is_closing(sys.exc_info()[1]):
                # A task in Python, which nest_asyncio makes of all, has an exception of its own in hand.
                self.note(who, "finally", None if self.program.is_nested else sys.exc_info()[1])

    async def handle(self, who, kind, after, name, exc):
        if kind == "raise":
            raise  # noqa: PLE0704 (the caller's except clause)
        if kind == "raise other":
            raise self.exception(name)
        if kind == "raise from":
            raise RuntimeError("from") from exc
        await self.run_body(who, after)
        if kind == "after":
            raise exc

    @rule("try", "B B")
    async def do_finally(self, who, ops, after):
        try:
            await self.run_body(who, ops)
        finally:
            if not is_closing(sys.exc_info()[1]):
                await self.run_body(who, after)

    @rule("group", "B d")
    async def do_timeout(self, who, ops, delay):
        async with asyncio.timeout(self.delay(delay, True)) as timeout:
            self.timeouts.append(timeout)
            await self.run_body(who, ops)
        self.note(who, "timeout", [timeout.expired(), timeout.when() is None])

    @rule("group", "B ?")
    async def do_timeout_at(self, who, ops, is_none):
        when = None if is_none else self.loop.time() + self.delay(2)
        async with asyncio.timeout_at(when) as timeout:
            self.timeouts.append(timeout)
            await self.run_body(who, ops)

    @rule("group", "i d")
    def op_reschedule(self, who, index, delay):
        timeout = self.pick(self.timeouts, index)
        return timeout.reschedule(self.loop.time() + self.delay(delay)), timeout.expired()

    @rule("group", "E B")
    async def do_group(self, who, bodies, ops):
        async with asyncio.TaskGroup() as group:
            group._tasks = OrderedSet()
            self.groups.append(group)
            for body in bodies:
                self.add_future(group.create_task(self.awaits("in group", body)))
            await self.run_body(who, ops)
        self.note(who, "group is over", repr(group))

    @rule("group", "i B")
    def op_group_task(self, who, index, ops):
        group = self.pick(self.groups, index)
        coro = self.new_coroutine(ops)
        try:
            return self.add_future(group.create_task(coro))
        finally:
            coro.close() if not self.is_owned(coro) else None

    def is_owned(self, coro):
        return any(task.get_coro() is coro for task in self.tasks)

    def undone(self, who, expressions):
        """Futures for as_completed, which tells of those that are done already in the order of their addresses."""
        waited = [self.add_future(asyncio.ensure_future(one)) for one in self.awaitables(who, expressions)]
        return [one for one in waited if not one.done()] or waited[:1]

    @rule("group", "E d n")
    async def do_as_completed(self, who, expressions, delay, most):
        waited = self.undone(who, expressions)
        for number, future in enumerate(asyncio.as_completed(waited, timeout=self.delay(delay, True))):
            if number >= most:
                break
            try:
                outcome = await future
            except Exception as exc:
                outcome = ["!", exc]
            self.note(who, "completed", outcome)

    @rule("group", "E d", since=(3, 13))
    async def do_async_completed(self, who, expressions, delay):
        waited = self.undone(who, expressions)
        async for future in asyncio.as_completed(waited, timeout=self.delay(delay, True)):
            self.note(who, "completed", [future, future.cancelled()])
