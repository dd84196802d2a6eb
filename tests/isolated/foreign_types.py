"""Call everything on every object of a loop in several threads at once: a crash or a hang is a failed test.

    python foreign_types.py running|idle|closed|collected [CERTIFICATE AUTHORITY]

With $FOREIGN_SERVER the loop is one for servers, and runs within its own callbacks.

What is called comes from dir(), so that new methods are called too; on every type of the C module that can be made or
that the collector knows. While the loop runs it works with the same objects, closes them and makes new ones, so that
their last references go in any thread. Relies on nothing of the test suite, so that it can run alone under a
sanitizer. With the GIL, where such calls take place, they come to loops that do not run only.
"""

import asyncio
import contextlib
import faulthandler
import gc
import io
import logging
import os
import random
import socket
import ssl
import sys
import threading
import types
import warnings

from poke_types import call, settle

import loopmod
from loopmod import _loopmod

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
THREADS = 3
TIMES = int(os.environ.get("FOREIGN_TIMES", "1"))  # as many rounds, for a longer look
FOR_SERVERS = bool(os.environ.get("FOREIGN_SERVER"))
ROUNDS = {"running": 12, "idle": 2, "closed": 2, "collected": 60}
OURS = tuple(value for value in vars(_loopmod).values() if isinstance(value, type))

# They wait by design, or end the script itself; what they do is tested elsewhere.
SKIPPED = {"run_forever", "run_until_complete", "serve_forever", "_run_nested", "_run_within", "_run_patched"}
# Slots that other parts of the interpreter rely on; and a second __init__ of a loop takes from it what is Python.
LEFT_ALONE = {"__class__", "__dict__", "__getattribute__", "__setattr__", "__delattr__", "__init_subclass__"}
# They close a loop that nobody runs, or make it the calling thread's.
ENDING = {"_close_core", "_close_whole", "__del__", "_run_forever_setup"}
# Nothing but a fault of ours raises these.
WRONG = (SystemError, MemoryError, ReferenceError)

failures = []


def arguments(scene):
    """Few of each kind: races need many calls rather than odd ones."""
    near = scene.spare.fileno()
    yield from ((), (None,), (b"data",), (int,), (0.01, int), (near, int), (near,), (ValueError("foreign"),))
    yield from (([b"a", b"b"],), ("socket",), ("peername",), ("sockname",), (asyncio.Protocol(),), (scene.loop,))


def attempt(name, function, *args):
    try:
        settle(function(*args))
    except WRONG as exc:
        failures.append((name, args, exc))
    except BaseException as exc:
        if isinstance(exc, RuntimeError) and "unraisable" in str(exc):
            failures.append((name, args, exc))


def names_of(thing):
    skipped = LEFT_ALONE | SKIPPED
    if isinstance(thing, asyncio.AbstractEventLoop):
        skipped = skipped | {"__init__", "stop", "close"} | (set() if thing.is_running() else ENDING)
    return [name for name in dir(type(thing)) if name not in skipped]


def poke(scene, thing, chance):
    for function in (repr, str, hash, bool, next, lambda thing: thing == thing, asyncio.isfuture):
        attempt(function.__name__, function, thing)
    for name in names_of(thing):
        try:
            value = getattr(thing, name)
        except BaseException:
            continue
        for args in arguments(scene):
            if callable(value) and chance.random() < 0.4:
                attempt(name, value, *args)
        if chance.random() < 0.1 and may_set(thing, name):
            value = chance.choice([None, 0, value])
            attempt("set " + name, setattr, thing, name, value)


def may_set(thing, name):
    """What is Python in a loop belongs to who runs it; and an idle one would be run, or closed."""
    is_c = isinstance(getattr(type(thing), name, None), types.GetSetDescriptorType)
    is_idle = isinstance(thing, asyncio.AbstractEventLoop) and not thing.is_running()
    return is_c and not (is_idle and name in {"_thread_id", "_closed"})


class Scene:
    """A loop that works, and what it works with."""

    def __init__(self, files):
        self.loop = loopmod.new_server_loop() if FOR_SERVERS else loopmod.new_event_loop()
        self.files = files
        self.things = []
        self.spare, self.far = socket.socketpair()
        self.ended = threading.Event()
        self.lost = []

    def reached(self):
        """What no method gives: what the loop holds and asyncio does not know."""
        found = [thing for thing in gc.get_objects() if isinstance(thing, OURS) and not self.is_loop(thing)]
        return random.sample(found, min(len(found), 20))

    @staticmethod
    def is_loop(thing):
        return isinstance(thing, asyncio.AbstractEventLoop)

    async def make(self):
        """One of each kind, in use."""
        loop = self.loop
        done, failed, cancelled = (loop.create_future() for _ in range(3))
        done.set_result("done")
        failed.set_exception(LookupError())
        failed.exception()
        cancelled.cancel()
        waited = loop.create_future()
        task = loop.create_task(self.wait(waited))
        ended = loop.create_task(asyncio.sleep(0))
        things = [done, failed, cancelled, waited, task, ended, loop.create_future(), iter(loop.create_future())]
        things += [loop.call_soon(int), loop.call_soon_threadsafe(int), loop.call_later(0.01, int)]
        things += [loop.call_later(3600, int), loop, loop.run_in_executor(None, int)]
        for make in (self.make_streams, self.make_datagrams, self.make_pipes, self.make_process, self.make_tls):
            with contextlib.suppress(OSError, RuntimeError, AttributeError):
                things += await make()
        near, far = socket.socketpair()
        near.setblocking(False)
        self.lost.append((near, far))
        loop.add_reader(near, int)
        loop.create_task(self.quietly(loop.sock_recv(near, 10)))
        await asyncio.sleep(0)
        return things

    async def quietly(self, coro):
        with contextlib.suppress(BaseException):
            return await coro

    async def wait(self, future):
        with contextlib.suppress(BaseException):
            await future

    async def make_streams(self):
        accepted = []

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport
                accepted.append(transport)

            def data_received(self, data):
                self.transport.write(data)

        server = await self.loop.create_server(Echo, "127.0.0.1", 0)
        transport, _ = await self.loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname()[:2])
        while not accepted:
            await asyncio.sleep(0)
        transport.write(b"x" * 100)
        return [server, transport, *accepted, transport.get_extra_info("socket")]

    async def make_datagrams(self):
        transport, _ = await self.loop.create_datagram_endpoint(asyncio.DatagramProtocol, ("127.0.0.1", 0))
        transport.sendto(b"datagram", transport.get_extra_info("sockname"))
        return [transport]

    async def make_pipes(self):
        reader, writer = (os.fdopen(fd, mode, 0) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
        reading, _ = await self.loop.connect_read_pipe(asyncio.Protocol, reader)
        writing, _ = await self.loop.connect_write_pipe(asyncio.BaseProtocol, writer)
        writing.write(b"data")
        return [reading, writing]

    async def make_process(self):
        process, _ = await self.loop.subprocess_exec(asyncio.SubprocessProtocol, "sleep", "0.05")
        return [process, *(process.get_pipe_transport(number) for number in range(3))]

    async def make_tls(self):
        context = ssl.create_default_context()
        half = _loopmod.SSLProtocol(self.loop, asyncio.Protocol(), context, None, False, "localhost")
        things = [half, half._app_transport]
        if self.files:
            serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            serving.load_cert_chain(self.files[0])
            context = ssl.create_default_context(cafile=self.files[1])
            server = await self.loop.create_server(asyncio.Protocol, "127.0.0.1", 0, ssl=serving)
            transport, _ = await self.loop.create_connection(
                asyncio.Protocol, *server.sockets[0].getsockname()[:2], ssl=context, server_hostname="localhost"
            )
            transport.write(b"encrypted")
            things += [server, transport, transport._ssl_protocol]
        return things

    def drop(self, things):
        """Half of them are closed, half are left to who drops the last reference."""
        for thing in things:
            if thing is not self.loop and random.random() < 0.5:
                for name in ("abort", "cancel", "close"):
                    call(getattr(thing, name, None))
        while len(self.lost) > 5:
            pair = self.lost.pop(0)
            self.loop.remove_reader(pair[0])
            for sock in pair:
                sock.close()

    async def work(self):
        while not self.ended.is_set():
            old, self.things = self.things, await self.quietly(self.make()) or []
            self.drop(old)
            del old
            for _ in range(30):
                await self.quietly(asyncio.sleep(0))
                if FOR_SERVERS:
                    call(self.loop.run_until_complete, self.quietly(asyncio.sleep(0)))
                for thing in self.things:
                    if hasattr(thing, "write"):
                        call(thing.write, b"more")
        return "worked"

    def foreign(self, seed, rounds, pick):
        chance = random.Random(seed)
        for _ in range(rounds * TIMES):
            for thing in pick(chance):
                poke(self, thing, chance)
            if chance.random() < 0.2:
                gc.collect()
                for thing in [] if HAS_GIL and self.loop.is_running() else self.reached():
                    poke(self, thing, chance)

    def start(self, rounds, pick):
        threads = [threading.Thread(target=self.foreign, args=(seed, rounds, pick)) for seed in range(THREADS)]
        for thread in threads:
            thread.start()
        return threads

    def run(self, coro):
        """Whatever others stop, it is run to its end."""
        task = self.loop.create_task(coro)
        task.add_done_callback(lambda task: self.loop.stop())
        while not task.done():
            with contextlib.suppress(Exception):
                self.loop.run_forever()
        return task.result()


def run_while(scene, threads):
    """Work until the threads are through."""

    def wait():
        for thread in threads:
            thread.join()
        scene.ended.set()

    waiter = threading.Thread(target=wait)
    waiter.start()
    with contextlib.suppress(RuntimeError):
        while not scene.ended.is_set():
            scene.run(scene.work())
    waiter.join()


def shuffled(scene):
    def pick(chance):
        things = list(scene.things)
        chance.shuffle(things)
        return things[:8]

    return pick


def running(files):
    scene = Scene(files)
    run_while(scene, scene.start(ROUNDS["running"], shuffled(scene)))
    scene.loop.close()


def idle(files):
    """Nobody runs the loop: it is anybody's for one call."""
    for _ in range(2):
        scene = Scene(files)
        scene.things = scene.run(scene.make())
        for thread in scene.start(ROUNDS["idle"], shuffled(scene)):
            thread.join()
        scene.things = []
        scene.loop.close()


def closed(files):
    """The loop is gone, its objects are not."""
    for _ in range(2):
        scene = Scene(files)
        scene.things = scene.run(scene.make())
        scene.loop.close()
        for thread in scene.start(ROUNDS["closed"], shuffled(scene)):
            thread.join()


def collected(files):
    """The last references go in other threads: by themselves, or in circles that any thread finds."""
    scene = Scene(files)

    def pick(chance):
        taken, scene.things = scene.things, []
        circle = [taken]
        circle.append(circle)
        del taken, circle
        if chance.random() < 0.3:
            gc.collect()
        return ()

    run_while(scene, scene.start(ROUNDS["collected"], pick))
    scene.loop.close()
    threads = [threading.Thread(target=make_and_drop, args=(files,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def make_and_drop(files):
    """A loop that is dropped, closed or not, with all that it has, where other threads collect."""
    for number in range(4):
        scene = Scene(files)
        scene.things = scene.run(scene.make())
        if number % 2:
            scene.loop.close()
        scene.things.append(scene)
        del scene
        gc.collect()


SCENES = {"running": running, "idle": idle, "closed": closed, "collected": collected}


def main(name, *files):
    if FOR_SERVERS:
        loopmod.allow_nested_runs()
    faulthandler.enable()
    faulthandler.dump_traceback_later(int(os.environ.get("FOREIGN_SECONDS", "100")), exit=True)
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    sys.unraisablehook = lambda unraisable: None
    threading.excepthook = lambda args: failures.append(args.exc_value)
    if HAS_GIL and name == "running":
        print("survived")
        return
    output, errors = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = io.StringIO()
    try:
        SCENES[name](files)
        gc.collect()
    finally:
        sys.stdout, sys.stderr = output, errors
    assert not failures, failures[:5]
    loop = loopmod.new_event_loop()
    assert loop.run_until_complete(asyncio.wait_for(asyncio.sleep(0, "well"), 30)) == "well"
    loop.close()
    print("survived", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
