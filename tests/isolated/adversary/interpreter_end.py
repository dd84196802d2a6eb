"""End interpreters in which everything is alive, held by all that may hold it to the end.

One program for each holder: loops, one of them stopped by an exception, timers, tasks, futures, transports of each kind and
objects whose finalizers use them. It ends as a main interpreter, in a process of its own, and as subinterpreters.
"""

import subprocess
import sys

ALIVE = """
import asyncio, contextvars, os, signal, socket, ssl, subprocess, sys, warnings, weakref
if KIND == "loopmod":
    import loopmod
    new, Task, Future = loopmod.new_event_loop, loopmod.Task, loopmod.Future
else:
    new, Task, Future = asyncio.SelectorEventLoop, asyncio.Task, asyncio.Future
warnings.simplefilter("ignore")
sys.unraisablehook = lambda *args, quiet=True: None
quiet = lambda loop, context: None


class Keep:
    pass


class Curious:
    # Its finalizer uses what is there, by references of its own: names may be gone by then.
    def __init__(self, keep):
        self.keep = keep

    def __del__(self):
        keep = self.keep
        for use in keep.uses:
            try:
                use(keep)
            except BaseException:
                pass


class OwnTask(Task):
    def __del__(self):  # and not asyncio's
        pass


class OwnFuture(Future):
    def __del__(self):
        try:
            self.set_result(None)
        except BaseException:
            pass


class Proto(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def __del__(self):
        try:
            self.transport.write(b"x")
            self.transport.close()
        except BaseException:
            pass


class Datagrams(asyncio.DatagramProtocol):
    pass


async def forever(keep):
    try:
        await asyncio.sleep(1000)
    finally:
        try:
            keep.loop.call_soon(print)
            await keep.loop.create_future()
        except BaseException:
            pass


async def ticks():
    while True:
        yield
        await asyncio.sleep(0)


def make_uses():
    return [
        lambda k: k.loop.call_soon(len, k),
        lambda k: k.loop.call_later(0, len, k),
        lambda k: k.loop.call_soon_threadsafe(len, k),
        lambda k: k.loop.create_future(),
        lambda k: repr((k.loop, k.tasks, k.future, k.transports, k.timers, k.servers)),
        lambda k: k.future.cancel(),
        lambda k: [t.cancel() for t in k.tasks],
        lambda k: k.own_task.cancel(),
        lambda k: k.timers[0].cancel(),
        lambda k: [t.write(b"more") for t in k.transports],
        lambda k: k.udp.sendto(b"more"),
        lambda k: k.task_type(k.nothing(), loop=k.loop),
        lambda k: k.future_type(loop=k.loop),
        lambda k: k.loop_type(),
        lambda k: k.loop.stop(),
        lambda k: k.loop.run_forever(),
        lambda k: [t.abort() for t in k.transports],
        lambda k: [s.close() for s in k.servers],
        lambda k: k.other.close(),
    ]


async def nothing():
    pass


async def make_tls(keep):
    # One connection whose handshake has begun, and one whose peer says nothing.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    keep.tls = [
        keep.loop.create_task(keep.loop.create_connection(Proto, *keep.address, ssl=context)) for _ in range(2)
    ]
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    keep.servers.append(await keep.loop.create_server(Proto, "127.0.0.1", 0, ssl=server))
    keep.tls.append(
        keep.loop.create_task(
            keep.loop.create_connection(Proto, *keep.servers[-1].sockets[0].getsockname(), ssl=context)
        )
    )


async def fill(keep):
    loop = keep.loop
    keep.servers = [await loop.create_server(Proto, "127.0.0.1", 0)]
    keep.address = keep.servers[0].sockets[0].getsockname()
    made = [await loop.create_connection(Proto, *keep.address) for _ in range(3)]
    keep.transports = [transport for transport, _ in made]
    keep.protocols = [protocol for _, protocol in made]
    keep.transports[0].write(b"x" * 10_000_000)
    keep.streams = await asyncio.open_connection(*keep.address)
    keep.reading = loop.create_task(keep.streams[0].read(1))
    keep.udp, _ = await loop.create_datagram_endpoint(Datagrams, remote_addr=("127.0.0.1", 9))
    r, w = os.pipe()
    keep.pipes = [
        await loop.connect_read_pipe(Proto, os.fdopen(r, "rb", 0)),
        await loop.connect_write_pipe(Proto, os.fdopen(w, "wb", 0)),
    ]
    keep.pair = a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    loop.add_reader(a, len, keep, loop)
    keep.receiving = loop.create_task(loop.sock_recv(b, 1))
    keep.tasks = [loop.create_task(forever(keep)) for _ in range(5)]
    keep.waiting = loop.create_task(asyncio.wait_for(keep.tasks[0], 1000))
    keep.gathered = asyncio.gather(*keep.tasks[1:3])
    keep.own_task = OwnTask(forever(keep), loop=loop)
    keep.own_future = OwnFuture(loop=loop)
    keep.own_future.add_done_callback(lambda future: keep)
    keep.future = loop.create_future()
    keep.failed = loop.create_future()
    keep.failed.set_exception(ValueError())
    keep.bare = Future.__new__(Future), Task.__new__(Task)
    keep.generator = ticks()
    await keep.generator.__anext__()
    await make_tls(keep)
    if MAIN:
        loop.add_signal_handler(signal.SIGTERM, len, keep)
        keep.process = await loop.subprocess_exec(
            asyncio.SubprocessProtocol, sys.executable, "-c", "input()", stdin=subprocess.PIPE
        )
    for _ in range(5):
        await asyncio.sleep(0)
    keep.timers = [loop.call_later(1000, len, keep), loop.call_at(loop.time(), len, keep)]
    keep.handles = [loop.call_soon(len, keep), loop.call_soon_threadsafe(len, keep)]
    loop.call_soon(stop_by_exception)
    for _ in range(10):
        loop.call_soon(len, keep)
    await asyncio.sleep(1000)


def stop_by_exception():
    raise KeyboardInterrupt


def make():
    keep = Keep()
    keep.loop, keep.other = new(), new()
    keep.loop.keep = keep
    keep.loop.set_exception_handler(quiet)
    keep.uses, keep.nothing, keep.quiet = make_uses(), nothing, quiet
    keep.task_type, keep.future_type, keep.loop_type = Task, Future, type(keep.loop)
    keep.curious = [Curious(keep) for _ in range(3)]
    try:
        keep.loop.run_until_complete(fill(keep))
    except KeyboardInterrupt:
        pass
    return keep


keep = make()
"""

# Each holds what is there to another moment of the interpreter's end.
HOLDERS = {
    "a name": "",
    "a cycle": "keep.cycle = keep; import gc; gc.disable(); del keep",
    "a cycle with the type": "type(keep).keep = keep; OwnTask.keep = keep; Curious.keep = keep; del keep",
    "a module": "import types; m = sys.modules['m'] = types.ModuleType('m'); m.keep = keep; del keep, m",
    "sys": "sys.keep = keep; del keep",
    "builtins": "import builtins; builtins.keep = keep; del keep",
    "the context": "contextvars.ContextVar('v').set(keep); del keep",
    "a thread-local": "import threading; local = threading.local(); local.keep = keep; del keep",
    "a codec": "import codecs; codecs.register(lambda name, keep=keep: None); del keep",
    "a fork hook": "os.register_at_fork(before=lambda keep=keep: None); del keep",
    "a profile function": "sys.setprofile(lambda *args, keep=keep: None); del keep",
    "the hooks of generators": "sys.set_asyncgen_hooks(lambda gen, keep=keep: None); del keep",
    "an exit function": "import atexit; atexit.register(lambda keep: keep.loop.close(), keep); del keep",
    "a finalizer": "weakref.finalize(type(keep), lambda keep=keep: keep.loop.stop()); del keep",
    "asyncio": "asyncio.keep = keep; asyncio.tasks.keep = keep; del keep",
    "ssl": "ssl.keep = keep; ssl.SSLContext.keep = keep; del keep",
    "loopmod": "import loopmod, loopmod._support; loopmod.keep = loopmod._support.keep = keep; del keep",
    "the collector": "import gc; gc.callbacks.append(lambda *args, keep=keep: None); del keep",
    "a closed loop": "keep.loop.close()",
    "no module": "del new, Task, Future\n"
    "for name in [name for name in sys.modules if name.startswith('loopmod')]: del sys.modules[name]",
}


def program(kind, holder, is_main):
    return f"KIND, MAIN = {kind!r}, {is_main!r}\n{ALIVE}\n" + HOLDERS[holder]


def end_in_process(kind, holder):
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", program(kind, holder, True)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, (holder, done.returncode, done.stderr[-3000:])


def end_in_subinterpreters(kind, config):
    import _interpreters

    for holder in HOLDERS:
        print(config, holder, file=sys.stderr, flush=True)
        interpreter = _interpreters.create(config)
        failure = _interpreters.exec(interpreter, program(kind, holder, False))
        assert failure is None, (config, holder, failure.formatted)
        _interpreters.destroy(interpreter)


def main():
    kind = "asyncio" if "--stock" in sys.argv else "loopmod"
    if "--config" in sys.argv:
        end_in_subinterpreters(kind, sys.argv[sys.argv.index("--config") + 1])
        return
    for holder in HOLDERS:
        end_in_process(kind, holder)
    if sys.version_info >= (3, 13):
        for config in ("isolated", "legacy"):
            done = subprocess.run(
                [sys.executable, "-X", "faulthandler", *sys.argv, "--config", config],
                capture_output=True,
                text=True,
                timeout=90,
            )
            assert done.returncode == 0, (config, done.returncode, done.stderr[-3000:])
    print("ok")


if __name__ == "__main__":
    main()
