"""Programs with runs within runs, each for a process of its own: what permits them cannot be undone.

`python nested_cases.py WAY NAME` runs one and prints "held"; test_nested_runs.py calls it. WAY says which loop it is
and how permission is given (`WAYS`). Stock asyncio with nest_asyncio is the oracle where it has an answer: on 3.14
and later that pair loses track of the current task, and what a stop() means within runs is the loop's own choice.
"""

import asyncio
import contextvars
import gc
import logging
import os
import signal
import socket
import sys
import threading
from typing import NamedTuple

WAYS = ("oracle", "patched", "allowed")
CASES = {}
# nest_asyncio puts the Python types in the place of these.
STDLIB_TASKS = [asyncio.tasks._CTask, asyncio.tasks._PyTask]
LEVEL = contextvars.ContextVar("LEVEL", default=0)


class Case(NamedTuple):
    """A program, and whether it asks for permission by itself and whether the oracle can run it."""

    program: object
    asks: bool
    has_oracle: bool


def case(*, asks=False, has_oracle=True):
    def note(program):
        CASES[program.__name__] = Case(program, asks, has_oracle)
        return program

    return note


def permit(*loops):
    """Ask for nested runs in the way of this process."""
    if WAY == "allowed":
        import loopmod

        loopmod.allow_nested_runs()
    else:
        import nest_asyncio

        nest_asyncio.apply(*loops)


async def give(value, turns=1):
    for _ in range(turns):
        await asyncio.sleep(0)
    return value


async def fail(error):
    await asyncio.sleep(0)
    raise error


def complete(awaitable):
    return asyncio.get_running_loop().run_until_complete(awaitable)


def catch(kind, function, *args):
    """Return the exception of that kind which the call must raise."""
    try:
        function(*args)
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")


def run_new(program):
    """Run a coroutine as programs without a runner do: no handler of SIGINT, no tidying up."""
    loop = asyncio.new_event_loop()
    loop.slow_callback_duration = 60.0
    try:
        return loop.run_until_complete(program)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


# Asking


@case(asks=True)
def asked_before_there_is_a_loop():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    permit()

    async def main():
        return asyncio.run(give("inner"))

    assert asyncio.run(main()) == "inner"
    assert loop.run_until_complete(main()) == "inner"
    loop.close()


@case(asks=True)
def asked_for_one_loop():
    loop = asyncio.new_event_loop()
    permit(*([loop] if WAY != "allowed" else []))

    async def main():
        return loop.run_until_complete(give("inner"))

    assert loop.run_until_complete(main()) == "inner"
    loop.close()


@case(asks=True)
def asked_while_the_loop_runs():
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)

    async def main():
        refused = give(0)
        assert "running" in str(catch(RuntimeError, loop.run_until_complete, refused))
        refused.close()
        permit()
        return [loop.run_until_complete(give(1)), asyncio.run(give(2)), await give(3)]

    if sys.version_info[:2] == (3, 13) and WAY == "oracle":
        # Stock asyncio of early 3.13 ends the outer run too once it has refused one.
        loop.close()
        return
    assert loop.run_until_complete(main()) == [1, 2, 3]
    loop.close()


@case(asks=True)
def asked_twice_and_in_both_ways():
    permit()
    permit()
    if WAY == "patched":
        import loopmod

        loopmod.allow_nested_runs()

    async def main():
        return asyncio.run(give(1)) + complete(give(2))

    assert asyncio.run(main()) == 3


# Results and errors


@case()
def results_of_every_kind():
    async def main():
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, 3)
        task = asyncio.create_task(give(4))
        done = loop.create_future()
        done.set_result(5)
        got = [asyncio.run(give(1)), complete(give(2)), complete(future), complete(task), complete(done)]
        got.append(await give(6))
        got.append(complete(asyncio.gather(give(7), give(8))))
        return got

    assert asyncio.run(main()) == [1, 2, 3, 4, 5, 6, [7, 8]]


@case()
def errors_come_out_of_the_inner_run():
    async def main():
        for run in (asyncio.run, complete):
            for kind in (ValueError, KeyError, asyncio.CancelledError, GeneratorExit):
                error = kind("inner")
                # A cancelled task raises an exception of its own.
                caught = catch(kind, run, fail(error))
                assert caught is error or kind is asyncio.CancelledError
                assert await give("goes on") == "goes on"
        return "done"

    assert asyncio.run(main()) == "done"


@case()
def exits_leave_the_inner_run_first():
    # That nobody looks at a task which ended so is reported on every loop, and not what is looked at here.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)

    async def main():
        for run in (asyncio.run, complete):
            for kind in (KeyboardInterrupt, SystemExit):
                error = kind("inner")
                assert catch(kind, run, fail(error)) is error
                assert asyncio.current_task() is task()
                assert await give("goes on") == "goes on"
        return "done"

    def task():
        return tasks[0]

    tasks = []

    async def start():
        tasks.append(asyncio.current_task())
        return await main()

    assert run_new(start()) == "done"


@case()
def exits_of_callbacks_leave_the_innermost_run():
    def leave():
        raise SystemExit(7)

    async def main():
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        loop.call_soon(leave)
        assert catch(SystemExit, complete, waiting).code == 7
        loop.call_soon(waiting.set_result, "still usable")
        return complete(waiting)

    assert run_new(main()) == "still usable"


@case()
def uncaught_exits_leave_every_level():
    # That nobody looks at a task which ended so is reported on every loop, and not what is looked at here.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)

    async def descend(levels):
        if levels == 0:
            raise SystemExit(9)
        complete(descend(levels - 1))

    async def main():
        return catch(SystemExit, complete, descend(5)).code

    assert run_new(main()) == 9


@case()
def interrupts_leave_the_innermost_run():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(os.kill, os.getpid(), signal.SIGINT)
        waiting = loop.create_future()
        catch(KeyboardInterrupt, complete, waiting)
        waiting.cancel()
        return await give("goes on")

    assert run_new(main()) == "goes on"


@case()
def errors_of_callbacks_are_reported_in_inner_runs():
    seen = []

    def bad():
        raise ValueError("reported")

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: seen.append(str(context["exception"])))
        loop.call_soon(bad)
        return complete(give("result", 3))

    assert asyncio.run(main()) == "result"
    assert seen == ["reported"]


@case()
def foreign_futures_and_strangers_are_refused():
    async def main():
        other = asyncio.new_event_loop()
        future = other.create_future()
        catch(ValueError, complete, future)
        catch(TypeError, complete, 5)
        other.close()
        catch(RuntimeError, other.run_forever)
        catch(RuntimeError, asyncio.get_running_loop().close)
        return complete(give("goes on"))

    assert asyncio.run(main()) == "goes on"


# Cancellation


@case()
def cancelling_the_inner_task_ends_the_inner_run():
    async def main():
        loop = asyncio.get_running_loop()
        inner = asyncio.create_task(asyncio.Event().wait())
        loop.call_later(0.001, inner.cancel, "enough")
        catch(asyncio.CancelledError, complete, inner)
        assert inner.cancelled() and not asyncio.current_task().cancelling()
        return await give("goes on")

    assert asyncio.run(main()) == "goes on"


@case()
def cancelling_the_outer_task_waits_for_the_inner_run():
    notes = []

    async def inner(outer):
        outer.cancel()
        notes.append(await give("inner is finished", 3))

    async def outer():
        asyncio.run(inner(asyncio.current_task()))
        notes.append("outer goes on to its next await")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            notes.append("cancelled")
            raise

    async def main():
        task = asyncio.create_task(outer())
        try:
            await task
        except asyncio.CancelledError:
            notes.append("seen")

    asyncio.run(main())
    assert notes == ["inner is finished", "outer goes on to its next await", "cancelled", "seen"]


@case()
def cancelling_a_waiting_ancestor_reaches_only_it():
    async def middle(outer):
        outer.cancel()
        return await give("middle", 2)

    async def waits():
        await asyncio.sleep(60)

    async def main():
        sleeper = asyncio.create_task(waits())
        await asyncio.sleep(0)
        assert complete(middle(sleeper)) == "middle"
        assert sleeper.cancelled()
        return await give("main")

    assert asyncio.run(main()) == "main"


@case()
def timeouts_inside_and_around():
    async def main():
        catch(TimeoutError, asyncio.run, asyncio.wait_for(asyncio.sleep(60), 0.001))
        try:
            async with asyncio.timeout(0.001) as limit:
                complete(asyncio.sleep(0.01))
                assert asyncio.current_task().cancelling() == 1
                await asyncio.sleep(60)
        except TimeoutError:
            assert limit.expired() and asyncio.current_task().cancelling() == 0
        return await give("goes on")

    assert asyncio.run(main()) == "goes on"


# What goes on meanwhile


@case()
def timers_and_tasks_go_on_meanwhile():
    async def main():
        loop = asyncio.get_running_loop()
        enough = asyncio.Event()
        ticks, timed = [], []

        async def ticker():
            while True:
                ticks.append(asyncio.current_task())
                if len(ticks) == 20 and timed:
                    enough.set()
                await asyncio.sleep(0 if len(ticks) < 19 else 0.001)
                if len(ticks) >= 20:
                    enough.set()

        other = asyncio.create_task(ticker())
        loop.call_later(0.0005, timed.append, True)
        complete(enough.wait())
        count = len(ticks)
        assert count >= 20 and set(ticks) == {other}
        while len(ticks) == count:
            await asyncio.sleep(0.001)
        other.cancel()
        return "went on"

    assert asyncio.run(main()) == "went on"


@case()
def order_of_callbacks_is_kept():
    async def main():
        loop = asyncio.get_running_loop()
        order = []
        loop.call_soon(order.append, 1)
        loop.call_soon(lambda: order.append(complete(give(4, 2))))
        loop.call_soon(order.append, 2)
        loop.call_soon(order.append, 3)
        complete(give(None, 8))
        return order

    assert asyncio.run(main()) == [1, 2, 3, 4]


@case()
def threads_reach_the_inner_run():
    async def main():
        loop = asyncio.get_running_loop()
        complete(asyncio.to_thread(int))
        from_thread = loop.create_future()
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(from_thread.set_result, "sent"))
        thread.start()
        got = complete(from_thread)
        thread.join()

        def ask():
            return asyncio.run_coroutine_threadsafe(give("answer"), loop).result(30)

        return [got, complete(loop.run_in_executor(None, ask))]

    assert asyncio.run(main()) == ["sent", "answer"]


# Where runs nest


def check_books(loop, tasks):
    """The running loop and the current task are those of the innermost level, and all levels are known."""
    assert asyncio.get_running_loop() is loop
    assert asyncio.current_task() is tasks[-1]
    assert asyncio.current_task(loop) is tasks[-1]
    assert loop.is_running()
    assert asyncio.all_tasks() >= set(tasks)
    assert LEVEL.get() == len(tasks)


@case()
def fifty_levels_deep():
    tasks = []

    async def descend(loop, level):
        tasks.append(asyncio.current_task())
        LEVEL.set(level)
        check_books(loop, tasks)
        await asyncio.sleep(0)
        check_books(loop, tasks)
        found = 0
        if level < 50:
            run = (asyncio.run, complete)[level % 2]
            found = run(descend(loop, level + 1))
        check_books(loop, tasks)
        await asyncio.sleep(0)
        check_books(loop, tasks)
        assert tasks.pop() is asyncio.current_task()
        return found + level

    async def main():
        return await asyncio.create_task(descend(asyncio.get_running_loop(), 1))

    assert asyncio.run(main()) == sum(range(51))
    assert tasks == [] and asyncio._get_running_loop() is None


@case(has_oracle=False)
def endless_nesting_ends_in_an_error():
    depth = []

    async def descend():
        depth.append(1)
        coro = descend()
        try:
            complete(coro)
        finally:
            coro.close()

    async def main():
        sys.setrecursionlimit(400)
        catch(RecursionError, complete, descend())
        return await give("goes on")

    assert run_new(main()) == "goes on"
    assert len(depth) > 20


@case()
def within_callbacks_of_every_kind():
    async def main():
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        left.setblocking(False)
        right.setblocking(False)
        finished = {name: loop.create_future() for name in ("soon", "later", "done", "reader", "writer")}

        def nest(name, *args):
            if name == "reader":
                loop.remove_reader(left)
            if name == "writer":
                loop.remove_writer(right)
            assert asyncio.current_task() is None
            assert asyncio.get_running_loop() is loop
            got = complete(give(name, 3))
            assert asyncio.current_task() is None
            assert asyncio.get_running_loop() is loop
            finished[name].set_result(got)

        loop.call_soon(nest, "soon")
        loop.call_later(0.001, nest, "later")
        future = loop.create_future()
        future.add_done_callback(lambda done: nest("done"))
        future.set_result(None)
        loop.add_reader(left, nest, "reader")
        loop.add_writer(right, nest, "writer")
        right.send(b"x")
        assert await asyncio.gather(*finished.values()) == list(finished)
        left.close()
        right.close()

    asyncio.run(main())


# Stock asyncio refuses to enter the context of a reader that is being called.
@case(has_oracle=False)
def within_callbacks_of_protocols():
    sizes = [1, 10, 100, 1000, 100_000, 300_000]

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            notes.append(complete(give("made", 2)))

        def data_received(self, data):
            # Without the pause the inner run may call this again, or stock asyncio refuse to.
            self.transport.pause_reading()
            self.transport.write(data)
            complete(give(None, 2))
            self.transport.resume_reading()
            assert asyncio.current_task() is None

        def eof_received(self):
            notes.append(asyncio.run(give("eof", 2)))

        def connection_lost(self, error):
            notes.append(complete(give(("lost", error), 2)))
            lost.set()

    notes = []
    lost = None

    async def main():
        nonlocal lost
        lost = asyncio.Event()
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for number, size in enumerate(sizes):
            sent = bytes([number]) * size
            writer.write(sent)
            assert await reader.readexactly(size) == sent
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        await lost.wait()
        server.close()
        await server.wait_closed()

    asyncio.run(main())
    assert notes == ["made", "eof", ("lost", None)]


@case()
def within_tasks_of_other_kinds():
    async def nests(run):
        me = current()
        assert run(give("inner", 2)) == "inner"
        assert current() is me
        await asyncio.sleep(0)
        assert current() is me
        return me

    def current():
        task = asyncio.current_task()
        if task is None and sys.version_info >= (3, 14):
            # Tasks in Python have a register of their own there.
            task = asyncio.tasks._py_current_task()
        return task

    async def main():
        loop = asyncio.get_running_loop()
        kinds = STDLIB_TASKS[1:] if WAY == "oracle" else STDLIB_TASKS
        made = [kind(nests(run), loop=loop) for kind in kinds for run in (asyncio.run, complete)]
        made.append(loop.create_task(nests(complete)))
        assert await asyncio.gather(*made) == made
        for kind in kinds:
            task = kind(nests(complete), loop=loop)
            assert complete(task) is task

    asyncio.run(main())


@case()
def within_groups_and_gathers():
    async def nests(value):
        async def inner():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(give(value + i, i)) for i in range(3)]
            return sum(task.result() for task in tasks)

        return complete(inner()) + sum(asyncio.run(give_all(value)))

    async def give_all(value):
        return await asyncio.gather(*(give(value, i) for i in range(3)))

    async def main():
        got = await asyncio.gather(*(nests(i * 10) for i in range(4)))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(nests(i)) for i in range(4)]
        assert got == [i * 60 + 3 for i in range(4)]
        assert [task.result() for task in tasks] == [i * 6 + 3 for i in range(4)]

        async def fails():
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(KeyError("in a group")))
                await asyncio.sleep(60)

        group_error = catch(ExceptionGroup, complete, fails())
        assert [type(error) for error in group_error.exceptions] == [KeyError]

    asyncio.run(main())


@case()
def streams_within_runs():
    async def serve(reader, writer):
        async for line in reader:
            writer.write(complete(give(line.upper())))
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def ask(address, count):
        reader, writer = await asyncio.open_connection(*address)
        got = []
        for i in range(count):
            writer.write(b"line %d\n" % i)
            got.append(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return got

    async def main():
        server = complete(asyncio.start_server(serve, "127.0.0.1", 0))
        address = server.sockets[0].getsockname()
        lines = [b"LINE %d\n" % i for i in range(20)]
        assert asyncio.run(ask(address, 20)) == lines
        got = complete(asyncio.gather(*(ask(address, 20) for _ in range(5))))
        assert got == [lines] * 5
        server.close()
        complete(server.wait_closed())
        assert await give("goes on") == "goes on"

    asyncio.run(main())


@case()
def subprocesses_within_runs():
    async def main():
        async def child():
            process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
            return (await process.communicate(b"through"))[0], process.returncode

        return complete(child()), await child()

    assert asyncio.run(main()) == ((b"through", 0),) * 2


# Books


@case()
def contexts_are_copied_inwards_only():
    async def inner(level):
        seen = LEVEL.get()
        LEVEL.set(level)
        if level < 5:
            assert complete(inner(level + 1)) == level
        assert LEVEL.get() == level
        await asyncio.sleep(0)
        assert LEVEL.get() == level
        return seen

    async def main():
        LEVEL.set(10)
        assert asyncio.run(inner(1)) == 10
        assert LEVEL.get() == 10
        context = contextvars.copy_context()
        context.run(LEVEL.set, 20)
        task = asyncio.create_task(inner(1), context=context)
        assert complete(task) == 20
        assert context[LEVEL] == 1 and LEVEL.get() == 10

    asyncio.run(main())


@case()
def all_tasks_know_every_level():
    async def inner():
        await asyncio.sleep(0)
        return asyncio.all_tasks()

    async def main():
        sleeper = asyncio.create_task(asyncio.sleep(60), name="sleeper")
        task = asyncio.create_task(inner(), name="inner")
        seen = complete(task)
        assert seen == {asyncio.current_task(), sleeper, task}
        assert asyncio.all_tasks() == {asyncio.current_task(), sleeper}
        sleeper.cancel()
        del seen, task
        gc.collect()
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


@case()
def other_tasks_are_current_while_they_run():
    seen = []

    async def other():
        for _ in range(3):
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)

    async def main():
        me = asyncio.current_task()
        tasks = [asyncio.create_task(other()) for _ in range(3)]
        complete(give(None, 6))
        assert asyncio.current_task() is me
        assert seen == tasks * 3

    asyncio.run(main())


@case(has_oracle=False)
def hooks_of_generators_are_put_back():
    closed = []

    async def numbers(name):
        try:
            for number in range(10):
                yield number
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            closed.append(name)

    async def first(name):
        async for number in numbers(name):
            return number

    async def main():
        hooks = sys.get_asyncgen_hooks()
        assert complete(first("dropped inside")) == 0
        assert asyncio.run(first("dropped in run")) == 0
        gc.collect()
        await give(None, 5)
        assert sorted(closed) == ["dropped in run", "dropped inside"]
        kept = numbers("kept")
        assert complete(anext(kept)) == 0
        assert await anext(kept) == 1
        complete(kept.aclose())
        assert closed[-1] == "kept"
        assert sys.get_asyncgen_hooks() == hooks
        catch(ValueError, complete, fail(ValueError()))
        assert sys.get_asyncgen_hooks() == hooks
        left = numbers("left for the end")
        assert complete(anext(left)) == 0
        notes.append(left)

    notes = []
    before = sys.get_asyncgen_hooks()
    run_new(main())
    assert closed[-1] == "left for the end"
    assert sys.get_asyncgen_hooks() == before


# Stopping, and runs for ever


@case()
def stop_ends_the_innermost_run_forever():
    order = []
    loop = asyncio.new_event_loop()
    loop.slow_callback_duration = 60.0

    def inner():
        loop.call_soon(order.append, "inside")
        loop.call_soon(loop.stop)
        loop.run_forever()
        order.append("inner is over")
        loop.call_soon(outer_end)

    def outer_end():
        assert loop.is_running()
        order.append("outer goes on")
        loop.stop()

    loop.call_soon(inner)
    loop.run_forever()
    assert order == ["inside", "inner is over", "outer goes on"]
    assert not loop.is_running() and asyncio._get_running_loop() is None
    loop.close()


@case()
def run_forever_within_a_task():
    async def main():
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        for _ in range(3):
            loop.call_later(0.001, loop.stop)
            loop.run_forever()
            assert asyncio.current_task() is me and loop.is_running()
            assert await give("goes on") == "goes on"

    asyncio.run(main())


@case(has_oracle=False)
def stop_within_a_run_for_a_future_is_for_the_run_around_it():
    order = []
    loop = asyncio.new_event_loop()
    loop.slow_callback_duration = 60.0

    async def inner():
        loop.stop()
        order.append(await give("inner is finished", 5))

    def outer():
        loop.run_until_complete(inner())
        loop.call_soon(order.append, "later")

    loop.call_soon(outer)
    loop.run_forever()
    # The turn in which the stop took effect still ends; what it scheduled waits for the next run.
    assert order in (["inner is finished"], ["inner is finished", "later"])
    assert not loop.is_running()
    loop.close()


@case(has_oracle=False)
def a_stop_asked_for_before_the_inner_run_is_kept():
    loop = asyncio.new_event_loop()
    loop.slow_callback_duration = 60.0
    order = []

    def outer():
        loop.stop()
        order.append(loop.run_until_complete(give("inner", 5)))

    loop.call_soon(outer)
    loop.run_forever()
    assert order == ["inner"]

    async def never():
        loop.call_soon(outer)
        await loop.create_future()

    error = catch(RuntimeError, loop.run_until_complete, never())
    assert "stopped before Future completed" in str(error)
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(give(None, 2))
    loop.close()


# Other loops


@case()
def another_loop_inside():
    async def inside(loop, outer):
        assert asyncio.get_running_loop() is loop is not outer
        me = asyncio.current_task()
        assert me.get_loop() is loop
        await asyncio.sleep(0.001)
        assert asyncio.current_task() is me and asyncio.all_tasks() == {me}
        return "other loop"

    async def main():
        outer = asyncio.get_running_loop()
        me = asyncio.current_task()
        other = asyncio.new_event_loop()
        other.slow_callback_duration = 60.0
        for _ in range(3):
            assert other.run_until_complete(inside(other, outer)) == "other loop"
            assert asyncio.get_running_loop() is outer and asyncio.current_task() is me
            assert not other.is_running()
            assert await give("goes on") == "goes on"
        catch(ValueError, other.run_until_complete, fail(ValueError()))
        assert asyncio.get_running_loop() is outer and asyncio.current_task() is me
        other.run_until_complete(other.shutdown_asyncgens())
        other.close()
        assert asyncio.get_running_loop() is outer

    asyncio.run(main())


@case()
def back_and_forth_between_two_loops():
    async def deeper(loops, level):
        loop = loops[level % 2]
        assert asyncio.get_running_loop() is loop
        me = asyncio.current_task()
        await asyncio.sleep(0)
        if level < 9:
            assert loops[(level + 1) % 2].run_until_complete(deeper(loops, level + 1)) == level + 1
        assert asyncio.get_running_loop() is loop and asyncio.current_task() is me
        await asyncio.sleep(0)
        assert asyncio.current_task() is me
        return level

    loops = [asyncio.new_event_loop(), asyncio.new_event_loop()]
    for loop in loops:
        loop.slow_callback_duration = 60.0
    assert loops[0].run_until_complete(deeper(loops, 0)) == 0
    for loop in loops:
        loop.close()


@case(has_oracle=False)
def a_loop_of_another_thread_is_refused():
    async def main():
        theirs = asyncio.new_event_loop()
        theirs.slow_callback_duration = 60.0
        started = threading.Event()
        theirs.call_soon(started.set)
        thread = threading.Thread(target=theirs.run_forever)
        thread.start()
        assert started.wait(30)
        catch(RuntimeError, theirs.run_forever)
        theirs.call_soon_threadsafe(theirs.stop)
        thread.join()
        theirs.close()
        return await give("goes on")

    assert asyncio.run(main()) == "goes on"


@case()
def nested_runs_in_several_threads():
    async def main():
        me = asyncio.current_task()
        for _ in range(50):
            assert asyncio.current_task() is me
            assert complete(give(1, 2)) == 1
            await asyncio.sleep(0)
        return "done"

    results = []
    threads = [threading.Thread(target=lambda: results.append(run_new(main()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["done"] * 4


@case(has_oracle=False)
def loopmod_run_within_a_run():
    import loopmod

    async def main():
        return loopmod.run(give("inner")), await give("goes on")

    assert loopmod.run(main()) == ("inner", "goes on")


@case(has_oracle=False)
def eager_tasks_within_runs():
    if sys.version_info < (3, 12):
        return

    async def nests():
        me = asyncio.current_task()
        got = complete(give("inner", 2))
        assert asyncio.current_task() is me
        return got

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)
        me = asyncio.current_task()
        task = asyncio.create_task(nests())
        assert asyncio.current_task() is me
        assert complete(give("eager inside", 0)) == "eager inside"
        stock = STDLIB_TASKS[0](nests(), loop=loop, eager_start=True)
        assert asyncio.current_task() is me
        return await task, await stock

    assert run_new(main()) == ("inner", "inner")


def main(way, name):
    global WAY
    WAY = way
    # How long a step takes on a busy machine is nobody's fault.
    logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Executing "))
    if way != "oracle":
        import loopmod

        loopmod.install()
    program, asks, _ = CASES[name]
    if not asks:
        # nest_asyncio wants a loop to patch; programs that have none yet get one as its users do.
        asyncio.set_event_loop(asyncio.new_event_loop())
        permit()
    program()
    print("held")


if __name__ == "__main__":
    main(*sys.argv[1:])
