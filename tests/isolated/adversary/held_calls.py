"""Calls out that end what the caller was holding: each case in a child of its own, which must not die by a signal."""

import asyncio
import contextlib
import contextvars
import gc
import os
import signal
import socket
import sys
import traceback
import warnings

import loopmod

STOCK = "--stock" in sys.argv
if STOCK:  # most of it asks for what only C has
    print("ok")
    raise SystemExit
var = contextvars.ContextVar("var")
CASES = []


def case(function):
    CASES.append(function)
    return function


class Del:
    """Runs a function when it is let go of."""

    def __init__(self, act, *args):
        self.act, self.args = act, args

    def __del__(self):
        self.act(*self.args)


class OddLoop:
    """What a future can be bound to, and nothing more."""

    acts = []

    def get_debug(self):
        return False

    def is_running(self):
        return True

    def __getattribute__(self, name):
        if OddLoop.acts and name in ("call_soon", "is_running", "get_debug"):
            OddLoop.acts.pop()()
        return object.__getattribute__(self, name)

    def call_soon(self, callback, *args, context=None):
        return None


def run_lost(loop):
    for handle in list(loop._ready):
        if "connection_lost" in repr(handle):
            handle._run()


def stream(loop, protocol=None):
    near, far = socket.socketpair()
    near.setblocking(False)
    return loop._make_socket_transport(near, protocol or asyncio.Protocol()), far


def datagrams(loop, near=None, protocol=None):
    near = near or socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    near.setblocking(False)
    return loop._make_datagram_transport(near, protocol or asyncio.DatagramProtocol())


def new_loop():
    loop = loopmod.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    return loop


async def nothing():
    pass


def turn(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


def set_var(value):
    token = contextvars.copy_context()
    token.run(var.set, value)
    return token


@case
def context_closes_loop():
    """The context of the last watch closes the loop while the next one is started."""
    loop = new_loop()
    transport, far = stream(loop)
    turn(loop)
    transport.pause_reading()
    context = set_var(Del(loop.close))
    context.run(transport.resume_reading)
    del context
    transport.pause_reading()
    transport.resume_reading()


@case
def context_ends_transport():
    loop = new_loop()
    loop.set_debug(True)
    transport, far = stream(loop)
    turn(loop)
    transport.pause_reading()
    context = set_var(Del(lambda: (transport.abort(), run_lost(loop))))
    context.run(transport.resume_reading)
    del context
    transport.pause_reading()
    transport.resume_reading()
    loop.close()


@case
def address_ends_transport():
    """What was queued for odd addresses is let go of by abort()."""

    class Address(Del):
        pass

    class Full(socket.socket):
        def sendto(self, data, address):
            raise BlockingIOError

    loop = new_loop()
    transport = datagrams(loop, Full(socket.AF_INET, socket.SOCK_DGRAM))
    turn(loop)
    transport.sendto(b"x", Address(lambda: (transport.abort(), run_lost(loop))))
    transport.abort()
    turn(loop)
    loop.close()


@case
def half_built_endpoint():
    """A reader of the descriptor is let go of while the transport is made."""
    loop = new_loop()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def find():
        for found in gc.get_objects():
            if type(found).__name__ == "DatagramTransport":
                for args in ((b"x", ("localhost", 1)), (b"x", ("127.0.0.1", 1)), (b"x",)):
                    try:
                        found.sendto(*args)
                    except Exception:
                        pass
                found.abort()

    loop.add_reader(sock, print, Del(find))
    datagrams(loop, sock)
    turn(loop)
    loop.close()


@case
def socket_close_sends():
    class Sends(socket.socket):
        def close(self):
            for args in ((b"x", ("localhost", 1)), (b"x", ("127.0.0.1", 1))):
                try:
                    self.transport.sendto(*args)
                except Exception:
                    pass
            self.transport.abort()
            super().close()

    loop = new_loop()
    sock = Sends(socket.AF_INET, socket.SOCK_DGRAM)
    sock.transport = datagrams(loop, sock)
    turn(loop)
    sock.transport.abort()
    turn(loop)
    loop.close()


@case
def recvfrom_ends_endpoint():
    class Ends(socket.socket):
        def recvfrom(self, size):
            data = super().recvfrom(size)
            transport.abort()
            run_lost(loop)
            return list(data)

    loop = new_loop()
    near = Ends(socket.AF_UNIX, socket.SOCK_DGRAM)
    far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = f"\0loopmod-{os.getpid()}"
    near.bind(name)
    near.setblocking(False)
    transport = loop._make_datagram_transport(near, asyncio.DatagramProtocol())
    turn(loop)
    far.sendto(b"x", name)
    turn(loop)
    turn(loop)
    loop.close()


@case
def awaited_ends_task():
    """What a task waited for goes, and with it the task is begun anew and over."""
    if sys.version_info < (3, 12) or sys.version_info >= (3, 15):
        return
    loop = new_loop()

    class Waited(loopmod.Future):
        def __del__(self):
            task.__init__(nothing(), loop=loop, eager_start=True)

    async def main():
        nonlocal task
        task = loop.create_task(waits(Waited(loop=loop)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0.01)

    async def waits(future):
        holder = [future]
        del future
        await holder.pop()

    task = None
    loop.run_until_complete(main())
    loop.close()


@case
def future_changes_loop():
    """The old loop's end sees the future bound to a foreign one."""
    if sys.version_info >= (3, 15):
        return

    class Ends(loopmod.Loop):
        def __del__(self):
            future.add_done_callback(print)
            try:
                future.set_result(1)
            except Exception:
                pass
            super().__del__()

    first = Ends()
    future = loopmod.Future(loop=first)
    first.close()
    del first
    gc.collect()
    future.__init__(loop=OddLoop())


@case
def foreign_loop_goes():
    """call_soon of a foreign loop, when it is looked up, gives the future another loop."""
    if sys.version_info >= (3, 15):
        return
    for number in range(3):
        future = loopmod.Future(loop=OddLoop())
        future.add_done_callback(print)
        OddLoop.acts.append(lambda future=future: future.__init__(loop=OddLoop()))
        future.set_result(number)
    for _ in range(3):
        task = loopmod.Task.__new__(loopmod.Task)
        OddLoop.acts[:] = [lambda task=task: task.__init__(nothing(), loop=OddLoop())] * 2
        task.__init__(nothing(), loop=OddLoop())


@case
def loop_goes_in_step():
    """A step done by hand gives its task another loop."""
    if sys.version_info < (3, 12) or sys.version_info >= (3, 15):
        return

    async def again():
        task.__init__(nothing(), loop=OddLoop())
        gc.collect()
        return [bytearray(600) for _ in range(100)]

    class Runs(loopmod.Loop):
        def is_running(self):
            return True

    try:
        task = loopmod.Task.__new__(loopmod.Task)
        task.__init__(again(), loop=Runs(), eager_start=True)
    except Exception:
        pass


@case
def warning_ends_transport():
    """Who is shown the ResourceWarning ends what it is about."""
    loop = new_loop()

    def showmsg(msg):
        source = msg.source
        if source is not None:
            getattr(source, "abort", source.close)()
            run_lost(loop)

    warnings.simplefilter("always")
    warnings._showwarnmsg = warnings._showwarnmsg_impl = showmsg
    reading, writing = os.pipe()
    pipes = [
        loop._make_read_pipe_transport(os.fdopen(reading, "rb", 0), asyncio.Protocol()),
        loop._make_write_pipe_transport(os.fdopen(writing, "wb", 0), asyncio.Protocol()),
    ]
    transport, far = stream(loop)
    turn(loop)
    transport.pause_reading()
    for pipe in pipes:
        pipe._loop
    pipes[0].pause_reading()
    del transport, pipes, pipe
    gc.collect()


@case
def waiter_is_reset():
    """sendfile's future takes itself away when it is asked."""

    class Loop(loopmod.Loop):
        def create_future(self):
            return Waiter()

    class Waiter:
        def set_result(self, result):
            pass

        def set_exception(self, exc):
            raise AssertionError

        @property
        def done(self):
            transport._reset_empty_waiter()
            return lambda: False

    loop = Loop()
    loop.set_exception_handler(lambda loop, context: None)
    transport, far = stream(loop)
    turn(loop)
    transport._make_empty_waiter()
    transport.abort()
    turn(loop)
    loop.close()


@case
def wakeup_closes_loop():
    loop = new_loop()
    real = signal.set_wakeup_fd

    def patched(*args, **kwargs):
        loop.close()
        return real(*args, **kwargs)

    loop.add_signal_handler(signal.SIGUSR1, print)
    signal.set_wakeup_fd = patched
    loop.close()
    loop = new_loop()
    try:
        loop.add_signal_handler(signal.SIGUSR1, print)
    except RuntimeError:
        pass


@case
def pipe_extra_sets_itself():
    loop = new_loop()

    class Mapping(dict):
        def __setitem__(self, name, value):
            for found in gc.get_objects():
                if type(found).__name__ == "ReadPipeTransport":
                    found._extra = {}
                    found.close()
                    run_lost(loop)
            self.junk = [bytearray(64) for _ in range(100)]

    reading, writing = os.pipe()
    try:
        loop._make_read_pipe_transport(os.fdopen(reading, "rb", 0), asyncio.Protocol(), None, Mapping())
    except Exception:
        pass
    turn(loop)
    loop.close()


@case
def protocol_hides_connection_made():
    """Looking the method up ends what it is looked up for."""

    class P(asyncio.Protocol):
        def __getattribute__(self, name):
            if name in ("connection_made", "eof_received", "get_buffer", "buffer_updated"):
                for found in gc.get_objects():
                    if type(found).__name__ in ("SocketTransport", "ReadPipeTransport", "WritePipeTransport"):
                        found.set_protocol(asyncio.Protocol())
                        getattr(found, "abort", found.close)()
                        run_lost(loop)
            return object.__getattribute__(self, name)

    class B(asyncio.BufferedProtocol, P):
        def get_buffer(self, hint):
            return bytearray(10)

    loop = new_loop()
    for protocol in (P, B):
        near, far = socket.socketpair()
        near.setblocking(False)
        loop._make_socket_transport(near, protocol())
        with contextlib.suppress(OSError):
            far.send(b"x")
        turn(loop)
        turn(loop)
    reading, writing = os.pipe()
    loop._make_read_pipe_transport(os.fdopen(reading, "rb", 0), P())
    loop._make_write_pipe_transport(os.fdopen(writing, "wb", 0), P())
    turn(loop)
    turn(loop)
    loop.close()


@case
def tls_loses_connection():
    """The connection is lost in whatever is asked of the application or of the transport below."""
    import ssl

    from loopmod import _loopmod

    class Below:
        def __getattribute__(self, name):
            if name in ("write", "close", "is_closing", "get_extra_info", "_force_close", "pause_reading"):
                protocol.connection_lost(None)
            return object.__getattribute__(self, name)

        def write(self, data):
            pass

        def close(self):
            pass

        def is_closing(self):
            return False

        def get_extra_info(self, name, default=None):
            return default

        def _force_close(self, exc):
            pass

    class App(asyncio.Protocol):
        def __getattribute__(self, name):
            if name.startswith("connection_"):
                protocol.connection_lost(None)
            return object.__getattribute__(self, name)

    class Evil(bytes):
        def __buffer__(self, flags):
            transport.close()
            transport.close()
            return memoryview(b"x" * 10)

    loop = new_loop()
    context = ssl.create_default_context()
    uses = [
        lambda: transport.is_closing(),
        lambda: transport.get_extra_info("x"),
        lambda: transport._test__append_write_backlog(Evil()),
        lambda: transport.write(Evil()),
        lambda: transport.writelines([Evil()]),
        lambda: transport.close(),
        lambda: protocol.eof_received(),
        lambda: transport.abort(),
        lambda: protocol.connection_lost(None),
        lambda: transport.set_protocol(App()),
        lambda: transport.resume_reading(),
    ]
    for use in uses:
        protocol = _loopmod.SSLProtocol(loop, App(), context, None, False, "localhost")
        transport = protocol._app_transport
        transport.pause_reading()
        protocol.connection_made(Below())
        try:
            use()
        except Exception:
            pass
        turn(loop)
    loop.close()


@case
def delay_closes_loop():
    class Delay(float):
        def __radd__(self, other):
            loop.close()
            return 1.0

    loop = new_loop()
    try:
        loop.call_later(Delay(1), print)
    except RuntimeError:
        return
    raise AssertionError("scheduled on a closed loop")


class HashedLoop(loopmod.Loop):
    """The slot of the current task is found by its hash."""

    acts = []

    def __hash__(self):
        if HashedLoop.acts:
            HashedLoop.acts.pop()()
        return 1

    def __eq__(self, other):
        return self is other


@case
def hash_begins_task_anew():
    """Entering and leaving a task asks for the loop's hash, which gives the task another loop and lets go of what
    it waits for."""
    if sys.version_info >= (3, 15):
        return

    def act(task, left):
        task.__init__(nothing() if left else again(task), loop=loopmod.new_event_loop())
        gc.collect()

    async def again(task):
        task.__init__(nothing(), loop=loopmod.new_event_loop())
        gc.collect()

    async def wait_for(holder):
        await holder.pop()

    async def main(loop, fails, asked, left):
        future = loop.create_future()
        task = loop.create_task(wait_for([future]))
        await asyncio.sleep(0)
        future.set_exception(ValueError()) if fails else future.cancel()
        del future
        HashedLoop.acts[:] = [lambda: act(task, left), *[int] * asked]
        for _ in range(4):
            await asyncio.sleep(0)

    for fails in (False, True):
        for asked in range(8):
            for left in (False, True):
                loop = HashedLoop()
                loop.set_exception_handler(lambda loop, context: None)
                with contextlib.suppress(Exception):
                    loop.run_until_complete(asyncio.wait_for(main(loop, fails, asked, left), 1))
                HashedLoop.acts.clear()
                loop.close()


@case
def half_built_transports():
    """Whatever is asked while a transport is made uses what the collector knows of it."""
    loop = new_loop()
    uses = [("abort",), ("write", b"x"), ("_read_ready",), ("resume_reading",), ("close",)]

    def find():
        for found in gc.get_objects():
            if type(found).__name__ in (
                "SocketTransport",
                "DatagramTransport",
                "ReadPipeTransport",
                "WritePipeTransport",
                "Listener",
            ):
                for name, *args in uses:
                    with contextlib.suppress(Exception):
                        getattr(found, name)(*args)
                for handle in list(loop._ready):
                    with contextlib.suppress(Exception):
                        handle._run()

    class P(asyncio.Protocol):
        @property
        def __class__(self):
            find()
            return P

    class Extra(dict):
        def __setitem__(self, name, value):
            find()

    class S(socket.socket):
        def fileno(self):
            find()
            return super().fileno()

    for _ in range(len(uses)):
        near, far = socket.socketpair()
        near.setblocking(False)
        reading, writing = os.pipe()
        listening = S(socket.AF_INET)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        for make in (
            lambda: loop._make_socket_transport(near, P()),  # noqa: B023
            lambda: loop._make_socket_transport(S(fileno=near.detach()), P()),  # noqa: B023
            lambda: datagrams(loop, S(socket.AF_INET, socket.SOCK_DGRAM), P()),
            lambda: loop._make_read_pipe_transport(os.fdopen(reading, "rb", 0), P(), None, Extra()),  # noqa: B023
            lambda: loop._make_write_pipe_transport(os.fdopen(writing, "wb", 0), P(), None, Extra()),  # noqa: B023
            lambda: loop._start_serving_native(P, listening, None, 5, contextvars.copy_context()),  # noqa: B023
        ):
            with contextlib.suppress(Exception):
                make()
        turn(loop)
        uses.append(uses.pop(0))
    loop.close()


@case
def reinit_keeps_callbacks():
    """What is added while a future is begun anew is its own."""
    if sys.version_info >= (3, 15):
        return
    loop = new_loop()
    told = []
    future = loop.create_future()
    for _ in range(3):
        future.add_done_callback(print)
    future.set_result(Del(lambda: [future.add_done_callback(told.append) for _ in range(3)]))
    turn(loop)
    future.__init__(loop=loop)
    future.set_result(1)
    turn(loop)
    assert told == [future] * 3, told
    loop.close()


@case
def repr_ends_owner():
    """The repr of a socket ends the transport that is named as its owner."""

    class Shown(socket.socket):
        def __repr__(self):
            transports[0].abort()
            run_lost(loop)
            transports.clear()
            gc.collect()
            return "shown"

    loop = new_loop()
    near, far = socket.socketpair()
    sock = Shown(near.family, near.type, 0, near.detach())
    sock.setblocking(False)
    transports = [loop._make_socket_transport(sock, asyncio.Protocol())]
    turn(loop)
    try:
        loop._make_socket_transport(sock, asyncio.Protocol())
    except RuntimeError as exc:
        assert "SocketTransport" in str(exc), exc
    loop.close()


def main():
    failed = []
    for function in CASES:
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            sys.unraisablehook = lambda unraisable: None
            sys.stderr.flush()
            try:
                function()
                gc.collect()
                status = 0
            except BaseException:
                traceback.print_exc()
                status = 1
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != 0:
            failed.append((function.__name__, status))
    print("failed: " + repr(failed) if failed else "ok")
    return bool(failed)


sys.exit(main())
