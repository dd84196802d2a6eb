"""What goes on beside the connections: timers, calls, threads, signals, processes, datagrams, pipes, tasks.

Each is a coroutine that goes on until the time is over and leaves nothing behind.
"""

import asyncio
import hashlib
import os
import signal
import socket
import threading

from soak_counts import say
from soak_servers import Answer

RESOLUTION = 0.002


async def timers(soak, rng):
    """Set, and fired or cancelled; none before its time."""
    loop, books = soak.loop, soak.books

    def fire(due):
        late = loop.time() - due
        books.add("timers ended")
        books.worst_lateness = max(books.worst_lateness, late)
        if late < -RESOLUTION:
            books.complain(f"a timer fired {-late} s before its time")

    while not soak.is_over():
        handles = []
        for _ in range(100):
            due = loop.time() + rng.uniform(0, soak.pace)
            handles.append(loop.call_at(due, fire, due))
        books.add("timers set", len(handles))
        await soak.pause(rng, 0.1)
        for handle in rng.sample(handles, 40):
            if handle.when() > loop.time() + RESOLUTION and not handle.cancelled():
                handle.cancel()
                books.add("timers ended")
                books.add("timers cancelled")
    await asyncio.sleep(soak.pace)


async def calls(soak, rng):
    """call_soon, from callbacks too."""
    loop, books = soak.loop, soak.books

    def run(again):
        books.add("soon run")
        if again:
            books.add("soon asked")
            loop.call_soon(run, again - 1)

    while not soak.is_over():
        for _ in range(50):
            books.add("soon asked")
            loop.call_soon(run, rng.randrange(4))
        cancelled = loop.call_soon(books.complain, "a cancelled call has run")
        cancelled.cancel()
        await soak.pause(rng, 0.1)


async def threads(soak, rng):
    """A thread that calls from outside; one that lives for a moment each time."""
    loop, books = soak.loop, soak.books
    ended = asyncio.Event()

    def from_outside(rounds):
        for _ in range(rounds):
            loop.call_soon_threadsafe(books.add, "threadsafe run")
        loop.call_soon_threadsafe(ended.set)

    while not soak.is_over():
        rounds = rng.randint(1, 200)
        books.add("threadsafe asked", rounds)
        ended.clear()
        thread = threading.Thread(target=from_outside, args=(rounds,))
        thread.start()
        await ended.wait()
        thread.join()
        await soak.pause(rng, 0.1)


async def signals(soak, rng):
    """One at a time, as the kernel makes one of two that wait."""
    while not soak.is_over():
        soak.signalled.clear()
        soak.books.add("signals raised")
        os.kill(os.getpid(), signal.SIGUSR1)
        await soak.signalled.wait()
        await soak.pause(rng, 0.1)


async def jobs(soak, rng):
    """The default executor."""
    loop, books = soak.loop, soak.books
    while not soak.is_over():
        pieces = [say(rng, rng.randint(1, 100_000)) for _ in range(10)]
        books.add("jobs asked", len(pieces))
        made = await asyncio.gather(*[loop.run_in_executor(None, hashlib.sha256, piece) for piece in pieces])
        books.add("jobs done", len(made))
        if made[0].digest() != hashlib.sha256(pieces[0]).digest():
            books.complain("another job's result")
        await soak.pause(rng, 0.1)


async def processes(soak, rng):
    """`cat`, which gives back what it is given; one that ends by a signal."""
    books = soak.books
    pipe = asyncio.subprocess.PIPE
    while not soak.is_over():
        piece = bytes(say(rng, rng.randint(1, 200_000)))
        books.add("processes started", 2)
        process = await asyncio.create_subprocess_exec("/bin/cat", stdin=pipe, stdout=pipe)
        out, _ = await process.communicate(piece)
        if out != piece or process.returncode != 0:
            books.complain(f"cat gave back {len(out)} of {len(piece)} bytes, or others")
        books.add("processes ended")
        process = await asyncio.create_subprocess_exec("/bin/sleep", "1000", stdin=pipe)
        process.kill()
        if await process.wait() != -signal.SIGKILL:
            books.complain(f"a killed process ended with {process.returncode}")
        books.add("processes ended")
        await soak.pause(rng, 0.3)


class Asker(asyncio.DatagramProtocol):
    """Says one datagram at a time."""

    def __init__(self, soak):
        self.soak = soak
        self.lost = soak.loop.create_future()
        self.expected, self.heard = None, None

    def connection_made(self, transport):
        self.transport = transport
        self.soak.books.add("endpoints made")

    def say(self, piece):
        self.expected, self.heard = piece, self.soak.loop.create_future()
        self.soak.books.add("datagrams sent")
        self.transport.sendto(piece)
        return self.heard

    def datagram_received(self, data, address):
        if data != self.expected:
            self.soak.books.complain(f"a datagram of {len(data)} bytes that was not sent")
        self.soak.books.add("datagrams answered")
        self.heard.set_result(None)

    def error_received(self, exc):
        self.soak.books.complain(f"a datagram's error {exc!r}")

    def connection_lost(self, exc):
        self.soak.books.add("endpoints lost")
        self.lost.set_result(None)


def unix_datagram_pair(number):
    """One that is connected to the other, which knows it by the address of what comes."""
    pair = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2)]
    names = [f"\0soak-{os.getpid()}-{number}-{side}" for side in ("near", "far")]
    for sock, name in zip(pair, names, strict=True):
        sock.setblocking(False)
        sock.bind(name)
    pair[0].connect(names[1])
    return pair


async def datagrams(soak, rng):
    """UDP and Unix, to an endpoint that answers; one at a time, so that none is dropped."""
    loop = soak.loop
    udp, _ = await loop.create_datagram_endpoint(lambda: Answer(soak.books), ("127.0.0.1", 0))
    while not soak.is_over():
        near, far = unix_datagram_pair(soak.books.counts["endpoints made"])
        answering, _ = await loop.create_datagram_endpoint(lambda: Answer(soak.books), sock=far)
        for how in ({"remote_addr": udp.get_extra_info("sockname")}, {"sock": near}):
            transport, asker = await loop.create_datagram_endpoint(lambda: Asker(soak), **how)
            for _ in range(rng.randint(1, 10)):
                await asker.say(bytes(say(rng, rng.randint(1, 9000))))
            rng.choice([transport.close, transport.abort])()
            await asker.lost
        answering.close()
        await soak.pause(rng, 0.1)
    udp.close()


class PipeEnd(asyncio.Protocol):
    def __init__(self, soak):
        self.soak = soak
        self.lost = soak.loop.create_future()
        self.data = bytearray()

    def connection_made(self, transport):
        self.soak.books.add("pipes made")

    def data_received(self, data):
        self.data += data

    def connection_lost(self, exc):
        self.soak.books.add("pipes lost")
        self.lost.set_result(None)


async def pipes(soak, rng):
    """More than a pipe holds, from one end to the other."""
    loop, books = soak.loop, soak.books
    while not soak.is_over():
        reader, writer = (os.fdopen(fd, mode, 0) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
        _, receiver = await loop.connect_read_pipe(lambda: PipeEnd(soak), reader)
        transport, sender = await loop.connect_write_pipe(lambda: PipeEnd(soak), writer)
        piece = say(rng, rng.randint(1, 200_000))
        books.add("pipe bytes written", len(piece))
        transport.write(bytes(piece))
        transport.write_eof()
        await receiver.lost
        await sender.lost
        books.add("pipe bytes read", len(receiver.data))
        if receiver.data != piece:
            books.complain("a pipe gave other bytes than were written")
        await soak.pause(rng, 0.1)


async def groups(soak, rng):
    """Tasks that wait for each other, end, fail and are cancelled."""

    async def wait(how, future):
        soak.books.add("group tasks begun")
        if how == "fail":
            await asyncio.sleep(0)
            raise KeyError(how)
        await (future if how == "cancel" else asyncio.sleep(rng.uniform(0, soak.pace / 10)))

    while not soak.is_over():
        future = soak.loop.create_future()
        made = [asyncio.create_task(wait(how, future)) for how in ["end", "cancel", "fail"] * 10]
        await asyncio.sleep(0)
        for task in made[1::3]:
            task.cancel()
        results = await asyncio.gather(*made, return_exceptions=True)
        kinds = [type(result) for result in results]
        if kinds != [type(None), asyncio.CancelledError, KeyError] * 10:
            soak.books.complain(f"tasks of a group ended as {set(kinds)}")
        del results, made, task
        await soak.pause(rng, 0.1)


ALL = [timers, calls, threads, signals, jobs, processes, datagrams, pipes, groups]
