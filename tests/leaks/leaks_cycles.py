"""The cycles: one small life of everything the loop makes. Each is called with a Place and how often to do it."""

import asyncio
import contextlib
import os
import socket

from leaks_place import Echo, Lives, soak_others

CYCLES = {}


def cycle(function):
    CYCLES[function.__name__] = function
    return function


def life(kind, end):
    """A connection of a kind, by streams and protocols in turn, some words, and one of the ends."""

    async def live(place, count):
        rng = place.rng()
        lives = Lives(place, kind, rng)
        for _ in range(count):
            client = await lives.connect()
            await lives.exchange(client)
            await lives.end(client, end)
            await client.wait_closed()

    CYCLES[f"{kind}_{end.replace(' ', '_')}"] = live


def other_life(kind, name):
    """A connection that does not come about, or no transport's."""

    async def live(place, count):
        lives = Lives(place, kind, place.rng())
        for _ in range(count):
            await getattr(lives, name)()

    CYCLES[f"{kind}_{name}"] = live


def load(function):
    """One of the soak's loads, so many rounds."""

    async def live(place, count):
        place.turns = count
        await function(place, place.rng())

    CYCLES[function.__name__] = live


for kind in ("tcp", "tls", "start_tls", "unix"):
    for end in ("close", "abort", "unread", "cancelled read"):
        life(kind, end)
for kind in ("tcp", "unix"):
    life(kind, "eof")
for kind, name in [
    ("tcp", "raw"), ("tcp", "refused"), ("tcp", "cancelled_connect"),
    ("tls", "cancelled_connect"), ("tls", "distrusted"), ("tls", "garbage"),
]:  # fmt: skip
    other_life(kind, name)
for function in soak_others.ALL:
    load(function)


@cycle
async def futures(place, count):
    """Done, failed, cancelled, dropped; awaited and with callbacks."""
    loop = place.loop
    for number in range(count):
        future = loop.create_future()
        future.add_done_callback(lambda future: None)
        if number % 3 == 0:
            loop.call_soon(future.set_result, [number])
        elif number % 3 == 1:
            loop.call_soon(future.set_exception, KeyError(number))
        else:
            loop.call_soon(future.cancel, "enough")
        with contextlib.suppress(KeyError, asyncio.CancelledError):
            await future
        loop.create_future().add_done_callback(lambda future: None)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(loop.create_future(), 0.00001)


@cycle
async def tasks(place, count):
    async def work(number):
        await asyncio.sleep(0)
        if number % 2:
            raise KeyError(number)

    for number in range(count):
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                group.create_task(work(number))
                group.create_task(asyncio.sleep(1 if number % 2 else 0))
        await asyncio.shield(place.loop.create_task(work(0), name="named"))


@cycle
async def handles(place, count):
    loop = place.loop
    for number in range(count):
        loop.call_soon(id, [number])
        loop.call_soon(id, [number]).cancel()
        loop.call_later(0.00001, id, [number])
        loop.call_later(1000, id, [number]).cancel()
        loop.call_soon_threadsafe(id, [number])
        await asyncio.sleep(0)
    await asyncio.sleep(0.0001)


@cycle
async def readers(place, count):
    left, right = socket.socketpair()
    right.send(b"x")
    for number in range(count):
        place.loop.add_reader(left, id, [number])
        place.loop.add_writer(left, id, [number])
        await asyncio.sleep(0)
        place.loop.remove_reader(left)
        place.loop.remove_writer(left)
    left.close()
    right.close()


@cycle
async def servers(place, count):
    """With one connection each, which outlives its server or is aborted with it."""
    loop = place.loop
    for number in range(count):
        server = await loop.create_server(lambda: Echo(place.books), "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"x")
        await reader.readexactly(1)
        server.close()
        if number % 2 and hasattr(server, "abort_clients"):
            server.abort_clients()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        await server.wait_closed()


@cycle
async def sendfile(place, count):
    lives = Lives(place, "tcp", place.rng())
    with open(__file__, "rb") as file:
        for _ in range(count):
            client = await lives.connect()
            client.say(b"")
            await place.loop.sendfile(client.transport, file, 0, 1)
            await lives.end(client, "unread")
            await client.wait_closed()


@cycle
async def nested(place, count):
    """Runs within the run; asyncio has none."""
    import loopmod

    if not isinstance(place.loop, loopmod.Loop):
        return
    loopmod.allow_nested_runs()
    for _ in range(count):
        asyncio.run(asyncio.sleep(0))


@cycle
async def loops(place, count):
    """A loop in a thread of its own."""

    def run():
        loop = type(place.loop)()
        loop.call_later(1000, id, object())
        loop.call_soon_threadsafe(id).cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    for _ in range(count):
        await place.loop.run_in_executor(None, run)


@cycle
async def kept_callback_errors(place, count):
    """What a callback raises, as the exception handler hears of it."""
    heard = []
    place.loop.set_exception_handler(lambda loop, context: heard.append(None))
    for _ in range(count):
        place.loop.call_soon(int, "no number")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    place.loop.set_exception_handler(None)
    if len(heard) != count:
        raise RuntimeError(f"{len(heard)} of {count} errors heard of")


def plant_reference(place, number):
    import ctypes

    future = place.loop.create_future()
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(future))
    # Counted when it was first made: it may have been a spare since.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(type(future)))


def plant_bytes(place, number):
    import ctypes

    ctypes.CDLL(None).malloc(16)


def plant_descriptor(place, number):
    os.open("/dev/null", os.O_RDONLY)


def planted(plant):
    async def live(place, count):
        for number in range(count):
            plant(place, number)
            await asyncio.sleep(0)

    return live


# Not among the cycles: these have to be found.
PLANTS = {
    "planted_reference": planted(plant_reference),
    "planted_bytes": planted(plant_bytes),
    "planted_descriptor": planted(plant_descriptor),
}
