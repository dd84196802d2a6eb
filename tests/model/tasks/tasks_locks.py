"""Queues, locks, events, conditions, semaphores, barriers, and a StreamReader that is fed by hand."""

import asyncio

from tasks_rules import rule

QUEUES = [asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue]


class Locks:
    def set_up(self):
        super().set_up()
        self.locks = [asyncio.Lock(), asyncio.Lock()]
        self.events = [asyncio.Event(), asyncio.Event()]
        self.conditions = [asyncio.Condition(), asyncio.Condition(self.locks[0])]
        self.semaphores = [asyncio.Semaphore(1), asyncio.Semaphore(2), asyncio.BoundedSemaphore(1)]
        self.barriers = [asyncio.Barrier(2), asyncio.Barrier(3)]
        self.queues = [kind(size) for kind in QUEUES for size in (0, 1)]
        self.readers = [asyncio.StreamReader(limit=limit, loop=self.loop) for limit in (8, 100)]

    # Locks, semaphores

    def lock(self, index):
        return self.pick([*self.locks, *self.semaphores], index)

    @rule("lock", "i")
    def aw_acquire(self, who, index):
        return self.lock(index).acquire()

    @rule("lock", "i")
    def op_release(self, who, index):
        return self.lock(index).release(), repr(self.lock(index))

    @rule("lock", "i B")
    async def do_with_lock(self, who, index, ops):
        async with self.lock(index):
            self.note(who, "has the lock", repr(self.lock(index)))
            await self.run_body(who, ops)

    # Events, conditions, barriers

    @rule("lock", "i")
    def aw_event(self, who, index):
        return self.pick(self.events, index).wait()

    @rule("lock", "i ?")
    def op_event(self, who, index, is_set):
        event = self.pick(self.events, index)
        return event.set() if is_set else event.clear(), repr(event)

    @rule("lock", "i ?")
    async def do_with_condition(self, who, index, is_for):
        condition = self.pick(self.conditions, index)
        async with condition:
            if is_for:
                await condition.wait_for(self.events[0].is_set)
            else:
                await condition.wait()
            self.note(who, "condition", repr(condition))

    @rule("lock", "i n B")
    async def do_notify(self, who, index, number, ops):
        condition = self.pick(self.conditions, index)
        async with condition:
            condition.notify_all() if number > 3 else condition.notify(number)
            await self.run_body(who, ops)

    @rule("lock", "i")
    def aw_barrier(self, who, index):
        return self.pick(self.barriers, index).wait()

    @rule("lock", "i ?")
    def aw_barrier_end(self, who, index, is_reset):
        barrier = self.pick(self.barriers, index)
        return barrier.reset() if is_reset else barrier.abort()

    @rule("lock", "i")
    def op_barrier(self, who, index):
        barrier = self.pick(self.barriers, index)
        return repr(barrier), barrier.n_waiting, barrier.broken

    # Queues

    @rule("queue", "i")
    def aw_get(self, who, index):
        return self.pick(self.queues, index).get()

    @rule("queue", "i n")
    def aw_put(self, who, index, value):
        return self.pick(self.queues, index).put(value)

    @rule("queue", "i")
    def aw_join(self, who, index):
        return self.pick(self.queues, index).join()

    @rule("queue", "i")
    def op_get_nowait(self, who, index):
        return self.pick(self.queues, index).get_nowait()

    @rule("queue", "i n")
    def op_put_nowait(self, who, index, value):
        return self.pick(self.queues, index).put_nowait(value)

    @rule("queue", "i")
    def op_task_done(self, who, index):
        return self.pick(self.queues, index).task_done()

    @rule("queue", "i ?", since=(3, 13))
    def op_shutdown(self, who, index, immediate):
        return self.pick(self.queues, index).shutdown(bool(immediate))

    @rule("queue", "i")
    def op_queue_state(self, who, index):
        queue = self.pick(self.queues, index)
        return repr(queue), queue.qsize(), queue.empty(), queue.full()

    # Streams

    @rule("stream", "i n")
    def op_feed(self, who, index, size):
        data = b"ab\ncdef\n\ng"[size % 4 :][: size * 2]
        return self.pick(self.readers, index).feed_data(data)

    @rule("stream", "i")
    def op_feed_eof(self, who, index):
        return self.pick(self.readers, index).feed_eof()

    @rule("stream", "i x")
    def op_feed_exception(self, who, index, name):
        reader = self.pick(self.readers, index)
        return reader.set_exception(self.exception(name)), reader.exception()

    @rule("stream", "i")
    def op_reader_state(self, who, index):
        reader = self.pick(self.readers, index)
        return reader.at_eof(), bytes(reader._buffer), reader.exception()

    @rule("stream", "i n n")
    def aw_read(self, who, index, kind, size):
        reader = self.pick(self.readers, index)
        if kind % 5 == 0:
            return reader.read(-1)
        if kind % 5 == 1:
            return reader.read(size)
        if kind % 5 == 2:
            return reader.readexactly(size)
        return reader.readline() if kind % 5 == 3 else reader.readuntil(b"\n\n")

    @rule("stream", "i")
    async def do_lines(self, who, index):
        async for line in self.pick(self.readers, index):
            self.note(who, "line", line)
