"""Operations on futures, which tasks are too, on handles and timers, contexts, and on the loop itself."""

import asyncio
import sys
import threading

from tasks_rules import rule
from tasks_world import VARIABLE, is_in_circle


def when_of(handle):
    return handle.when() if hasattr(handle, "when") else None


class FutureOperations:
    # Futures, and tasks as futures

    @rule("future", "k")
    def op_future(self, who, kind):
        return self.add_future(self.kinds.future(self.loop, kind))

    @rule("future", "i v")
    def op_set_result(self, who, index, value):
        future = self.pick(self.futures, index)
        return future, future.set_result(self.value(value))

    @rule("future", "i x")
    def op_set_exception(self, who, index, name):
        future = self.pick(self.futures, index)
        return future, future.set_exception(self.exception(name))

    @rule("future", "i m")
    def op_cancel(self, who, index, message):
        future = self.pick(self.futures, index)
        return future, is_in_circle(future) or future.cancel(*message)

    @rule("future", "i")
    def op_result(self, who, index):
        return self.pick(self.futures, index).result()

    @rule("future", "i")
    def op_exception(self, who, index):
        return self.pick(self.futures, index).exception()

    @rule("future", "i")
    def op_state(self, who, index):
        future = self.pick(self.futures, index)
        return future, future.done(), future.cancelled(), future.get_loop() is self.loop, repr(future)

    @rule("future", "i")
    def op_inside(self, who, index):
        future = self.pick(self.futures, index)
        callbacks = [(callback, context is not None) for callback, context in future._callbacks or ()]
        return (
            *(future, len(callbacks), future._state, future._asyncio_future_blocking),
            *(future._cancel_message, future._log_traceback, future._source_traceback is None),
            *(type(future._exception), future._loop is self.loop),
        )

    @rule("future", "i b c")
    def op_add_done_callback(self, who, index, ops, context):
        callback = self.make_callback(ops)
        self.pick(self.futures, index).add_done_callback(callback, context=self.context(context))
        return None

    @rule("future", "i i")
    def op_remove_done_callback(self, who, index, which):
        callables = [callback for callback in self.callbacks if callable(callback) and not asyncio.isfuture(callback)]
        return self.pick(self.futures, index).remove_done_callback(self.pick(callables, which))

    @rule("future odd", "i")
    def op_blocking(self, who, index):
        future = self.pick(self.futures, index)
        future._asyncio_future_blocking = not future._asyncio_future_blocking

    @rule("future odd", "i")
    def op_quiet(self, who, index):
        self.pick(self.futures, index)._log_traceback = False

    @rule("future odd", "i")
    def op_cancelled_error(self, who, index):
        return self.pick(self.futures, index)._make_cancelled_error()

    @rule("future odd", "i n v")
    def op_iterate(self, who, index, steps, value):
        """By hand what `await` does."""
        future = self.pick(self.futures, index)
        iterator = future.__await__()
        try:
            got = [iterator.send(None if step < 2 else value) for step in range(steps)]
        finally:
            future._asyncio_future_blocking = False
        return got, iterator.close()

    @rule("future odd", "i x")
    def op_iterate_throw(self, who, index, name):
        return iter(self.pick(self.futures, index)).throw(self.exception(name))

    @rule("future odd", "i")
    def op_init_future(self, who, index):
        future = self.pick([future for future in self.futures if not hasattr(future, "get_coro")], index)
        return future, future.__init__(loop=self.loop)

    @rule("future odd", "i i")
    def op_chain(self, who, source, destination):
        return asyncio.futures._chain_future(self.pick(self.futures, source), self.pick(self.futures, destination))

    @rule("future odd", "v")
    def op_stranger(self, who, value):
        """A future of a loop that does not run."""
        return self.add_future(self.kinds.stranger())

    @rule("future odd", "i", since=(3, 14))
    def op_awaited_by(self, who, index):
        waiting = self.pick(self.futures, index)._asyncio_awaited_by
        return None if waiting is None else len(waiting), waiting

    # Handles and timers

    def add_handle(self, handle):
        self.handles.append(handle)
        return self.label(handle, "H")

    @rule("handle", "b c")
    def op_call_soon(self, who, ops, context):
        callback = self.make_callback(ops)
        return self.add_handle(self.loop.call_soon(callback, context=self.context(context)))

    @rule("handle", "b v v v")
    def op_call_soon_args(self, who, ops, *values):
        callback = self.make_callback(ops)
        return self.add_handle(self.loop.call_soon(callback, *map(self.value, values)))

    @rule("handle", "d b c")
    def op_call_later(self, who, delay, ops, context):
        callback, context = self.make_callback(ops), self.context(context)
        return self.add_handle(self.loop.call_later(self.delay(delay), callback, context=context))

    @rule("handle", "d b v")
    def op_call_at(self, who, delay, ops, value):
        callback, value = self.make_callback(ops), self.value(value)
        return self.add_handle(self.loop.call_at(self.loop.time() + self.delay(delay), callback, value))

    @rule("handle", "n b v")
    def op_call_at_moment(self, who, number, ops, value):
        """At one of a few moments, of which each has many timers; by a real clock they are over."""
        callback, value = self.make_callback(ops), self.value(value)
        return self.add_handle(self.loop.call_at(self.moment(number), callback, value))

    def moment(self, number):
        later = number % 3
        return self.began_at - later if self.program.clock == "real" else float(self.turn + later)

    @rule("handle", "n n i b")
    def op_ties(self, who, number, count, index, ops):
        """Some with one deadline, and one among them is cancelled, or what the index says when the first runs."""
        moment = self.moment(number)
        bodies = [[["cancel_handle", index]], ops, *([[]] * count)]
        made = [self.loop.call_at(moment, self.make_callback(body), at) for at, body in enumerate(bodies)]
        labels = [self.add_handle(handle) for handle in made]
        return labels, self.pick(made, index).cancel()

    @rule("handle", "i b v")
    def op_call_at_same(self, who, index, ops, value):
        """When another timer is due, or was."""
        callback, value = self.make_callback(ops), self.value(value)
        timer = self.pick([handle for handle in self.handles if hasattr(handle, "when")], index)
        return self.add_handle(self.loop.call_at(timer.when(), callback, value))

    @rule("handle", "i")
    def op_cancel_handle(self, who, index):
        handle = self.pick(self.handles, index)
        return handle, handle.cancelled(), handle.cancel(), handle.cancelled()

    @rule("handle", "i")
    def op_handle_state(self, who, index):
        handle = self.pick(self.handles, index)
        text = repr(handle) if self.program.clock != "real" or not hasattr(handle, "when") else None
        return handle, handle.cancelled(), hasattr(handle, "when"), text

    @rule("handle", "i i")
    def op_compare_handles(self, who, one, other):
        one, other = self.pick(self.handles, one), self.pick(self.handles, other)
        is_tie = one is not other and when_of(one) == when_of(other) is not None
        order = None if is_tie else (one < other, one >= other)
        return one == other, one != other, order, hash(one) == hash(other)

    @rule("handle odd", "i")
    def op_run_handle(self, who, index):
        handle = self.pick([handle for handle in self.handles if not handle.cancelled()], index)
        return handle, handle._run()

    @rule("handle", "b c")
    def op_call_soon_threadsafe(self, who, ops, context):
        callback = self.make_callback(ops)
        return self.add_handle(self.loop.call_soon_threadsafe(callback, context=self.context(context)))

    @rule("thread", "b i v")
    def op_thread(self, who, ops, index, value):
        """Another thread, which is over before this goes on."""
        callback, got = self.make_callback(ops), []

        def work():
            got.append(self.loop.call_soon_threadsafe(callback))
            got.append(self.loop.call_soon_threadsafe(self.make_callback([["set_result", index, value]])))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return [self.add_handle(handle) for handle in got]

    @rule("thread", "B")
    def op_run_threadsafe(self, who, ops):
        coro = self.new_coroutine(ops)
        job = asyncio.run_coroutine_threadsafe(coro, self.loop)
        self.jobs.append(job)
        job.add_done_callback(lambda job: self.note("job", "is over", job.cancelled()))

    # Contexts

    @rule("context", "n")
    def op_set_variable(self, who, number):
        VARIABLE.set(number)

    @rule("context", "n i b")
    def op_run_in_context(self, who, number, index, ops):
        return self.pick(self.contexts, index).run(self.run_callback, "in context", ops, [number])

    @rule("context", "i")
    def op_look_in_context(self, who, index):
        context = self.pick(self.contexts, index)
        return context.get(VARIABLE), len(context)

    # The loop

    @rule("loop")
    def op_stop(self, who):
        self.loop.stop()

    @rule("loop")
    def op_loop_state(self, who):
        return self.loop.is_running(), self.loop.is_closed(), self.loop.get_debug(), repr(self.loop)

    @rule("loop odd", "i")
    def op_run_again(self, who, index):
        return self.loop.run_until_complete(self.pick(self.futures, index))

    @rule("loop odd")
    def op_close_loop(self, who):
        return self.loop.close() if self.loop.is_running() else None

    @rule("loop odd", "?")
    def op_set_debug(self, who, debug):
        self.loop.set_debug(bool(debug))

    @rule("loop", "n x")
    def op_exception_handler(self, who, kind, name):
        def raising(loop, context):
            if self.is_late(context):
                self.late.append(f"handler raises {name}")
            else:
                self.note("handler", "raises", name)
            raise self.exception(name)

        chosen = [self.on_exception, raising, None, self.on_exception][kind % 4]
        self.loop.set_exception_handler(chosen)
        return self.loop.get_exception_handler() == chosen

    @rule("loop", "i x")
    def op_complain(self, who, index, name):
        context = {"message": "by hand", "future": self.pick(self.futures, index), "exception": self.exception(name)}
        self.loop.call_exception_handler(context)

    @rule("task", "k")
    def op_task_factory(self, who, kind):
        factory = self.kinds.factory(kind)
        self.loop.set_task_factory(factory)
        return self.loop.get_task_factory() is factory

    @rule("loop")
    def op_look(self, who):
        """At all there is."""
        running = asyncio._get_running_loop() is self.loop
        tasks = sorted(self.labels.get(id(task), "") for task in asyncio.all_tasks(self.loop))
        states = [(future, future._state) for future in self.futures]
        return running, "".join(tasks), states, [handle.cancelled() for handle in self.handles]

    @rule("loop")
    def op_profile(self, who):
        return sys.exc_info()[0]
