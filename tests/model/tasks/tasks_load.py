"""A load of callbacks, timers, tasks, futures, readers and bytes that knows what has to run: for tasks_interrupts.py.

What is due is noted after the call that made it due has returned, and what runs is noted first of all. An exception
that comes in between the call of a callback and its first instruction has the frame in its traceback: that counts as
run.
"""

import _thread
import asyncio
import signal
import socket

ITEMS = 60
CHUNK = 50


class Sink(asyncio.Protocol):
    """The end that bytes arrive at."""

    def __init__(self):
        self.chunks = []
        self.is_lost = False

    def data_received(self, data):
        self.chunks.append(data)

    def connection_lost(self, exc):
        self.is_lost = True


class Load:
    def __init__(self, loop, random, interrupt):
        self.loop = loop
        self.random = random
        self.interrupt = interrupt
        self.items = 0
        self.due = set()
        self.many = set()
        self.ran = {}
        self.dropped = set()
        self.handles = {}
        self.tasks = []
        self.workers = {}
        self.futures = []
        self.left = self.random.randint(5, ITEMS)
        self.interrupt_at = -1
        self.intended = self.sent = 0
        self.is_write_unknown = False
        self.sockets = []
        self.closing = []

    async def connect(self):
        """The pair of transports, made before anything comes in between."""
        one, other = socket.socketpair()
        self.sender, _ = await self.loop.create_connection(asyncio.Protocol, sock=one)
        self.receiver, self.sink = await self.loop.create_connection(Sink, sock=other)
        self.loop.add_signal_handler(signal.SIGUSR2, self.on_signal)
        self.signals_due = self.signals_ran = 0

    def close(self):
        for one in self.sockets:
            one.close()
        self.sender.abort()
        self.receiver.abort()
        self.loop.remove_signal_handler(signal.SIGUSR2)

    # What runs

    def begin(self, number):
        self.ran[number] = self.ran.get(number, 0) + 1

    def callback(self, number, future=None):
        self.begin(number)
        self.act()

    def readable(self, number, one):
        self.begin(number)
        self.loop.remove_reader(one)

    def on_signal(self):
        self.signals_ran = self.signals_due
        self.act()

    async def worker(self, number):
        self.begin(number)
        for _ in range(self.random.randint(0, 3)):
            await self.wait()
            self.act()
        return number

    def wait(self):
        kind = self.random.randrange(5)
        if kind == 0:
            return asyncio.sleep(0)
        if kind == 1:
            return asyncio.sleep(1e-6)
        future = self.loop.create_future()
        if kind == 2:
            self.loop.call_soon(self.set_result, future)
        elif kind == 3 and self.tasks:
            return asyncio.shield(self.random.choice(self.tasks))
        else:
            self.futures.append(future)
        return future

    def set_result(self, future):
        if not future.done():
            future.set_result(1)

    # What makes things due

    def new(self):
        self.items += 1
        return self.items

    def act(self):
        """Make some things due."""
        for _ in range(self.random.randint(0, 3)):
            if self.left <= 0:
                break
            self.left -= 1
            if self.left == self.interrupt_at:
                self.interrupt()
            getattr(self, self.random.choice(ACTIONS))()

    def do_soon(self):
        number = self.new()
        self.handles[number] = self.loop.call_soon(self.callback, number)
        self.due.add(number)

    def do_threadsafe(self):
        number = self.new()
        self.loop.call_soon_threadsafe(self.callback, number)
        self.due.add(number)

    def do_later(self):
        number = self.new()
        delay = self.random.choice([0, 0, 1e-6, 5e-5, -1])
        self.handles[number] = self.loop.call_later(delay, self.callback, number)
        self.due.add(number)

    def do_cancel(self):
        if self.handles:
            number = self.random.choice(list(self.handles))
            self.dropped.add(number)
            self.handles[number].cancel()

    def do_task(self):
        number = self.new()
        task = self.loop.create_task(self.worker(number))
        self.tasks.append(task)
        self.workers[number] = task
        self.due.add(number)

    def do_cancel_task(self):
        if self.tasks:
            task = self.random.choice(self.tasks)
            self.dropped.update(range(self.items + 1))  # one that never began does not begin now
            task.cancel()

    def do_future(self):
        """Callbacks of one future, and the futures that tasks wait for."""
        future = self.loop.create_future()
        numbers = [self.new() for _ in range(self.random.randint(1, 5))]
        for number in numbers:
            future.add_done_callback(lambda future, number=number: self.callback(number, future))
        future.set_result(1)
        self.due.update(numbers)

    def do_results(self):
        for future in self.futures[-3:]:
            self.set_result(future)

    def do_reader(self):
        one, other = socket.socketpair()
        self.sockets += [one, other]
        other.send(b"x")
        number = self.new()
        self.many.add(number)
        self.loop.add_reader(one, self.readable, number, one)
        self.due.add(number)

    def do_write(self):
        if self.is_write_unknown:
            return
        data = bytes((self.intended + at) % 251 for at in range(CHUNK))
        self.intended += CHUNK
        self.sender.write(data)
        self.sent += CHUNK

    def do_fill(self):
        """Callbacks without Python."""
        for _ in range(70):
            self.loop.call_soon(int)

    def do_signal(self):
        signal.raise_signal(signal.SIGUSR2)
        self.signals_due += 1

    def interrupt_soon(self, number):
        self.loop.call_soon(_thread.interrupt_main, number)

    # After an exception

    def note_frames(self, exc):
        """What was called, and did not come to note it: who stands in the traceback has run."""
        traceback = exc.__traceback__
        while traceback is not None:
            frame = traceback.tb_frame
            name, values = frame.f_code.co_name, frame.f_locals
            if values.get("self") is self and name in ("callback", "readable", "worker") and "number" in values:
                if values["number"] not in self.ran:
                    self.begin(values["number"])
            elif name == "<lambda>" and "number" in values and values["number"] not in self.ran:
                self.begin(values["number"])
            elif name == "on_signal" and values.get("self") is self:
                self.signals_ran = self.signals_due
            elif name == "do_write" and values.get("self") is self:
                self.is_write_unknown = True  # written or not: what comes next would be elsewhere in the stream
            elif name == "data_received" and values.get("self") is self.sink:
                chunks = self.sink.chunks
                if not chunks or chunks[-1] is not values["data"]:
                    chunks.append(values["data"])
            traceback = traceback.tb_next

    def is_quiet(self):
        """A number that stays the same where nothing runs any more."""
        states = [task.done() for task in self.tasks]
        return sum(self.ran.values()), states, len(self.sink.chunks), self.signals_ran

    def wrong(self):
        """What the rule says is wrong, after all has come to rest."""
        for number, task in self.workers.items():
            # The exception came before the first line, and who waited for the task has changed its traceback.
            if number not in self.ran and task.done() and not task.cancelled() and task.exception() is not None:
                self.begin(number)
        lost = [number for number in sorted(self.due) if number not in self.ran and number not in self.dropped]
        twice = [number for number, times in self.ran.items() if times > 1 and number not in self.many]
        wrong = [f"lost {lost}"] if lost else []
        wrong += [f"twice {twice}"] if twice else []
        for task in self.tasks:
            waited = task._fut_waiter
            if not task.done() and (waited is None or waited.done()):
                wrong.append(f"a task sleeps on: {task!r}")
        got = b"".join(self.sink.chunks)
        if any(byte != at % 251 for at, byte in enumerate(got)) or len(got) > self.intended:
            wrong.append("bytes differ")
        elif len(got) < self.sent and not self.sink.is_lost:
            wrong.append(f"bytes lost: {len(got)} of {self.sent}")
        if self.signals_ran < self.signals_due:
            wrong.append("a signal is lost")
        pending = [task for task in self.tasks if not task.done()]
        found = asyncio.all_tasks(self.loop)
        if not found.issuperset(pending) or any(task.done() for task in found):
            wrong.append("all_tasks differs")
        return wrong


ACTIONS = [name for name in dir(Load) if name.startswith("do_")]
