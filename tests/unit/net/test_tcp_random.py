"""Byte-exact traffic at random, with fixed seeds: sizes, pauses, paused reading, half-closes by connection.

Covers the whole way of a byte through net/. Each end of a connection sends a stream of its own, closes its
write side when it is through, and closes once all is sent and received. The seed tells both streams.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading

import pytest
from tcp_support import loop_factory, other_kind

pytestmark = pytest.mark.timeout(120)

CONNECTIONS = 200


def stream_of(number, side):
    """The bytes that one side of connection `number` sends."""
    chance = random.Random(number * 2 + side)
    return chance.randbytes(chance.choice([0, 1, 100, 5_000, 60_000, chance.randrange(400_000)]))


class End(asyncio.Protocol):
    """One side of a connection; the client (side 0) tells its number in the first four bytes."""

    def __init__(self, finished, number=None):
        self.loop = asyncio.get_running_loop()
        self.finished = finished
        self.side = 1 if number is None else 0
        self.received = bytearray()
        self.writable = asyncio.Event()
        self.writable.set()
        self.sender = None
        self.ended = False
        self.number = None
        if number is not None:
            self.start(number)

    def start(self, number):
        self.number = number
        self.chance = random.Random(1_000_000 + number * 2 + self.side)

    def connection_made(self, transport):
        self.transport = transport
        if self.side == 0:
            if self.number % 3 == 0:
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
            transport.write(struct.pack(">I", self.number))
            self.sender = self.loop.create_task(self.send())

    async def send(self):
        chance, data, at = self.chance, stream_of(self.number, self.side), 0
        if chance.random() < 0.3:
            self.transport.set_write_buffer_limits(chance.choice([0, 1, 1000, 1_000_000]))
        while at < len(data):
            size = chance.choice([1, 10, 1000, 9_000, 100_000])
            part = data[at : at + size]
            at += size
            form = chance.randrange(4)
            if form == 0:
                # asyncio 3.12+ spins for ever on an empty buffer at the end of the list
                pieces = [part[:5], part[5:500], part[500:]]
                self.transport.writelines([piece for piece in pieces if piece])
            else:
                self.transport.write([bytes, bytearray, memoryview][form - 1](part))
            if chance.random() < 0.9:
                await self.writable.wait()
            if chance.random() < 0.2:
                await asyncio.sleep(chance.choice([0, 0, 0, 0.001]))
        self.transport.write_eof()
        if self.ended:
            self.transport.close()

    def data_received(self, data):
        self.received += data
        if self.number is None and len(self.received) >= 4:
            self.start(*struct.unpack(">I", self.received[:4]))
            del self.received[:4]
            self.sender = self.loop.create_task(self.send())
        if self.number is not None and self.chance.random() < 0.1:
            self.transport.pause_reading()
            if self.chance.random() < 0.5:
                self.loop.call_later(self.chance.random() * 0.002, self.transport.resume_reading)
            else:
                self.loop.call_soon(self.transport.resume_reading)

    def eof_received(self):
        self.ended = True
        return not self.sender.done()

    def pause_writing(self):
        assert self.writable.is_set()
        self.writable.clear()

    def resume_writing(self):
        assert not self.writable.is_set()
        self.writable.set()

    def connection_lost(self, exc):
        self.writable.set()
        right = self.received == stream_of(self.number, 1 - self.side)
        self.finished.append((self.number, right, self.ended, exc))


async def serve(ready, finished, stop):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: End(finished), "127.0.0.1", 0, backlog=CONNECTIONS)
    ready(server.sockets[0].getsockname())
    await stop.wait()
    server.close()
    while len(finished) < CONNECTIONS:
        await asyncio.sleep(0.001)


async def connect(address, finished):
    loop = asyncio.get_running_loop()

    async def one(number):
        await asyncio.sleep(random.Random(number).random() * 0.05)
        await loop.create_connection(lambda: End(finished, number), *address)

    await asyncio.gather(*map(one, range(CONNECTIONS)))
    while len(finished) < CONNECTIONS:
        await asyncio.sleep(0.001)


WANTED = [(number, True, True, None) for number in range(CONNECTIONS)]


def test_both_ends_on_one_loop(run, errors):
    accepted, connected = [], []

    async def main():
        loop = asyncio.get_running_loop()
        ready, stop = loop.create_future(), asyncio.Event()
        server = loop.create_task(serve(ready.set_result, accepted, stop))
        await connect(await ready, connected)
        stop.set()
        await server

    run(main())
    assert sorted(connected) == WANTED
    assert sorted(accepted) == WANTED
    assert errors == []


@pytest.mark.parametrize("place", ["client", "server"])
def test_the_other_end_on_another_loop(run, errors, kind, debug, place):
    """The loop under test is one end; in a thread, a loop of the other kind (if it is there) is the other."""
    accepted, connected, problems = [], [], []
    address, stopping = [], []
    up = threading.Event()

    make_other = loop_factory(other_kind(kind))

    def other_thread():
        loop = make_other()
        loop.set_debug(debug)
        loop.set_exception_handler(lambda loop, context: problems.append(context))

        async def far_server():
            stop = asyncio.Event()
            stopping.append(lambda: loop.call_soon_threadsafe(stop.set))

            def ready(where):
                address.append(where)
                up.set()

            await serve(ready, accepted, stop)

        with contextlib.closing(loop):
            loop.run_until_complete(far_server() if place == "client" else connect(address[0], connected))

    thread = threading.Thread(target=other_thread, daemon=True)

    async def client():
        thread.start()
        assert await asyncio.get_running_loop().run_in_executor(None, up.wait, 30)
        await connect(address[0], connected)
        stopping[0]()

    async def server():
        # the listener stays until each connection was accepted and is over
        stop = asyncio.Event()

        def ready(where):
            address.append(where)
            thread.start()

        task = asyncio.get_running_loop().create_task(serve(ready, accepted, stop))
        while len(accepted) < CONNECTIONS:
            await asyncio.sleep(0.001)
        stop.set()
        await task

    run(client() if place == "client" else server())
    thread.join(60)
    assert not thread.is_alive()
    assert sorted(connected) == WANTED
    assert sorted(accepted) == WANTED
    assert errors == [] and problems == []
