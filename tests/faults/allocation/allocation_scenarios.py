"""What is run while allocations fail: small programs that each use one part of a loop, and check what they got.

A scenario is a coroutine function, run on a loop that was made before and is closed after, or a function of the
loop's factory. It awaits nothing that takes time. What it makes is its own to close; what a failure keeps it from
closing is left to the loop's close and the collector.
"""

import asyncio
import contextlib
import contextvars
import os
import signal
import socket
import tempfile

SCENARIOS = {}
# Those that only have a meaning on loopmod's loops of this kind.
ONLY_ON = {}
PROMISES = []
BIG = bytes(range(256)) * 1024  # more than a socket takes at once


def scenario(function):
    SCENARIOS[function.__name__] = function
    return function


class Promise:
    """A callback that was accepted: it has to run, and once."""

    __slots__ = ("count", "future", "is_accepted")

    def __init__(self, future):
        self.count = 0
        self.future = future
        self.is_accepted = False

    def is_lost(self):
        return self.is_accepted and self.count == 0 and (self.future is None or self.future.done())

    def keep(self, *args):
        self.count += 1


def promised(schedule, *args, future=None):
    """Hand a callback to `schedule`, behind these arguments; broken_promises() tells whether it ran, if at all."""
    made = Promise(future)
    PROMISES.append(made)
    keep = made.keep
    schedule(*args, keep)
    made.is_accepted = True
    return made


def broken_promises():
    """How many accepted callbacks have not run, and how many ran twice."""
    lost = sum(made.is_lost() for made in PROMISES)
    return lost, sum(made.count > 1 for made in PROMISES)


def check(value):
    """Not an assertion, which MemoryError in its message would hide."""
    if not value:
        raise WrongResult


class Quiet:
    """Around what is not to fail: the standard library's, which would leak descriptors. Set by who counts."""

    pause = resume = staticmethod(int)

    def __enter__(self):
        self.pause()

    def __exit__(self, *exc):
        self.resume()


QUIET = Quiet()


@contextlib.contextmanager
def folder():
    with QUIET:
        made = tempfile.TemporaryDirectory()
    try:
        yield made.name
    finally:
        with QUIET:
            made.cleanup()


class WrongResult(Exception):
    """The scenario went through and got something else than it should."""


async def nothing(value=None):
    return value


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


# --- core and tasks --------------------------------------------------------------------------------------


@scenario
def loop_life(new_loop):
    loop = new_loop()
    try:
        check(loop.run_until_complete(nothing(1)) == 1)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


@scenario
def runner(new_loop):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        check(runner.run(nothing(1)) == 1)
        check(runner.run(nothing(2), context=contextvars.copy_context()) == 2)


@scenario
async def callbacks():
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    for _ in range(3):
        promised(loop.call_soon)
        promised(loop.call_soon_threadsafe)
    promised(lambda keep: loop.call_soon(keep, 1, 2, 3))
    promised(lambda keep: loop.call_soon(keep, context=context))
    loop.call_soon(nothing).cancel()
    repr(loop.call_soon(int, "1"))
    done = loop.create_future()
    for _ in range(3):
        promised(done.add_done_callback, future=done)
    promised(lambda keep: done.add_done_callback(keep, context=context), future=done)
    done.add_done_callback(nothing)
    check(done.remove_done_callback(nothing) == 1)
    done.set_result(1)
    await turns(2)


@scenario
async def many_callbacks():
    loop = asyncio.get_running_loop()
    for _ in range(70):
        promised(loop.call_soon)
    for number in range(12):
        promised(loop.call_later, number % 2 / 10000)
    await asyncio.sleep(0.002)


@scenario
async def timers():
    loop = asyncio.get_running_loop()
    for delay in (0, 0.002, 0.001, 0.001):
        promised(loop.call_later, delay)
    promised(loop.call_at, loop.time())
    cancelled = [loop.call_later(60, nothing) for _ in range(3)]
    repr(cancelled[0])
    for handle in cancelled:
        handle.cancel()
    await asyncio.sleep(0.003)
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(loop.create_future(), 0.001)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.001):
            await loop.create_future()


@scenario
async def futures():
    loop = asyncio.get_running_loop()
    failed, cancelled, result = loop.create_future(), loop.create_future(), loop.create_future()
    for future in (failed, cancelled, result):
        promised(future.add_done_callback, future=future)
    repr(result)
    failed.set_exception(KeyError("told"))
    cancelled.cancel("why")
    loop.call_soon(result.set_result, 5)
    check(await result == 5)
    try:
        await failed
    except KeyError:
        pass
    else:
        check(False)
    try:
        await cancelled
    except asyncio.CancelledError:
        pass
    check(await asyncio.wrap_future(result) == 5)
    check(await asyncio.shield(result) == 5)


@scenario
async def never_told():
    """A future whose exception nobody asks for, and a task: the handler is told when they go."""
    loop = asyncio.get_running_loop()

    async def fails():
        raise KeyError("never told")

    loop.create_future().set_exception(KeyError("never told"))
    task = loop.create_task(fails())
    await turns(2)
    del task

    def callback_fails():
        raise KeyError("never told")

    loop.call_soon(callback_fails)
    await turns(1)


@scenario
async def tasks():
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(2)]

    async def waits(number):
        return await futures[number]

    made = [asyncio.create_task(waits(0), name="one"), asyncio.create_task(waits(1)), loop.create_task(nothing(7))]
    for task in made:
        promised(task.add_done_callback, future=task)
    await turns(1)
    check(len(asyncio.all_tasks()) == 3)  # this one, and two
    repr(made[0])
    made[0].get_stack()
    made[1].cancel("message")
    await turns(2)
    check(made[1].cancelled())
    futures[0].set_result(3)
    check(await made[0] == 3 and await made[2] == 7)


@scenario
async def cancelling():
    async def stubborn():
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            raise

    async def outer():
        await asyncio.create_task(stubborn())

    for _ in range(2):
        task = asyncio.create_task(outer())
        await turns(2)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            task.uncancel()
    waiting = asyncio.create_task(asyncio.wait_for(asyncio.sleep(60), 60))
    await turns(2)
    waiting.cancel()
    await asyncio.wait([waiting])


@scenario
async def gather():
    check(await asyncio.gather(nothing(1), asyncio.sleep(0, 2), asyncio.sleep(0.001, 3)) == [1, 2, 3])

    async def fails():
        raise KeyError("gathered")

    found = await asyncio.gather(nothing(1), fails(), return_exceptions=True)
    check(type(found[1]) in (KeyError, MemoryError))
    done, pending = await asyncio.wait([asyncio.create_task(nothing(n)) for n in range(3)])
    check(len(done) == 3 and not pending)
    for each in asyncio.as_completed([nothing(1), nothing(2)]):
        await each


@scenario
async def task_group():
    async with asyncio.TaskGroup() as group:
        made = [group.create_task(asyncio.sleep(0, n)) for n in range(3)]
    check([task.result() for task in made] == [0, 1, 2])

    async def fails():
        await asyncio.sleep(0)
        raise KeyError("in the group")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            group.create_task(asyncio.sleep(60))
    except* KeyError:
        pass


@scenario
async def queues_and_locks():
    queue, lock, event = asyncio.Queue(1), asyncio.Lock(), asyncio.Event()

    async def produce():
        for number in range(3):
            await queue.put(number)
        async with lock:
            event.set()

    task = asyncio.create_task(produce())
    check([await queue.get() for _ in range(3)] == [0, 1, 2])
    await event.wait()
    await task


@scenario
async def eager():
    loop = asyncio.get_running_loop()
    if not hasattr(asyncio, "eager_task_factory"):
        return
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        check(await asyncio.gather(nothing(1), asyncio.sleep(0, 2)) == [1, 2])
    finally:
        loop.set_task_factory(None)


@scenario
async def async_generators():
    async def counts():
        try:
            for number in range(3):
                yield number
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)

    async for number in counts():
        if number == 1:
            break
    await turns(3)


@scenario
async def debug_mode():
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    try:
        promised(loop.call_soon)
        promised(loop.call_later, 0)
        promised(loop.call_soon_threadsafe)
        repr(loop.call_soon(int))
        repr(loop.create_future())
        check(await asyncio.gather(nothing(1), asyncio.sleep(0, 2)) == [1, 2])
        await turns(2)
    finally:
        loop.set_debug(False)


@scenario
async def executor():
    loop = asyncio.get_running_loop()
    check(await loop.run_in_executor(None, int, "3") == 3)
    check(await asyncio.to_thread(int, "4") == 4)
    future = asyncio.run_coroutine_threadsafe(nothing(5), loop)
    check(await asyncio.wrap_future(future) == 5)


@scenario
async def signals():
    loop = asyncio.get_running_loop()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        loop.add_signal_handler(number, int)
    try:
        told = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, int)
        loop.add_signal_handler(signal.SIGUSR2, told.set_result, 1)
        os.kill(os.getpid(), signal.SIGUSR1)
        os.kill(os.getpid(), signal.SIGUSR2)
        await told
    finally:
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            loop.remove_signal_handler(number)


# --- sockets and pipes -----------------------------------------------------------------------------------


class Notes(asyncio.Protocol):
    """Keeps what comes; its future is done when the connection is lost."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.lost = self.loop.create_future()
        self.got = bytearray()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.got += data

    def datagram_received(self, data, address):
        self.got += data
        self.transport.sendto(b"re: " + data, address)

    def connection_lost(self, exc):
        if not self.lost.done():
            self.lost.set_result(exc)


class Echo(Notes):
    def data_received(self, data):
        self.transport.write(data)


class Buffered(asyncio.BufferedProtocol, Notes):
    def __init__(self):
        super().__init__()
        self.room = bytearray(1 << 16)

    def get_buffer(self, hint):
        return self.room

    def buffer_updated(self, count):
        self.got += self.room[:count]


class Answered(Notes):
    """A datagram protocol that ends with the first message."""

    def datagram_received(self, data, address):
        self.got += data
        self.transport.close()


async def received(protocol, data):
    """Wait until all has come, and no more."""
    while len(protocol.got) < len(data):
        if protocol.lost.done():
            raise EOFError
        await asyncio.sleep(0)
    check(protocol.got == data)


def pipe():
    """Two file objects."""
    with QUIET:
        reader, writer = os.pipe()
        return open(reader, "rb", 0), open(writer, "wb", 0)


def closing(*things):
    """Each is closed when the block ends, whether or not the others can be."""
    stack = contextlib.ExitStack()
    for thing in things:
        stack.callback(thing.close)
    return stack


def pair(kind=socket.SOCK_STREAM):
    with QUIET:
        ends = socket.socketpair(type=kind)
        for sock in ends:
            sock.setblocking(False)
        return ends


async def echo_client(reader, writer, data=BIG):
    with closing(writer):
        writer.write(data[:10])
        check(await reader.readexactly(10) == data[:10])
        writer.writelines([data[:100], bytearray(data[100:])])
        check(await reader.readexactly(len(data)) == data)
        writer.write_eof()
        check(await reader.read() == b"")
    await writer.wait_closed()


async def serve_echo(reader, writer):
    with closing(writer):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


async def with_server(server, connect):
    try:
        reader, writer = await connect(server)
        await echo_client(reader, writer)
    finally:
        server.close()
    await server.wait_closed()


@scenario
async def tcp_streams():
    server = await asyncio.start_server(serve_echo, "127.0.0.1", 0)
    await with_server(server, lambda server: asyncio.open_connection(*server.sockets[0].getsockname()))


@scenario
async def unix_streams():
    with folder() as place:
        path = place + "/socket"
        server = await asyncio.start_unix_server(serve_echo, path)
        await with_server(server, lambda server: asyncio.open_unix_connection(path))


async def exchange(factory):
    """A protocol of this factory at one end, an echo at the other, and more than the kernel takes at once."""
    loop = asyncio.get_running_loop()
    near, far = pair()
    other, _ = await loop.create_connection(Echo, sock=far)
    with closing(other):
        transport, protocol = await loop.create_connection(factory, sock=near)
        with closing(transport):
            transport.get_extra_info("peername")
            repr(transport)
            transport.pause_reading()
            transport.write(BIG[:1000])
            transport.writelines([BIG[1000:100000], memoryview(BIG)[100000:]])
            transport.resume_reading()
            await received(protocol, BIG)
        check(await protocol.lost is None)


@scenario
async def protocol():
    await exchange(Notes)


@scenario
async def buffered_protocol():
    await exchange(Buffered)


@scenario
async def tcp_protocol():
    """Connections in the end that a server accepts, closed by either, aborted, and after eof."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    try:
        for way in ("close", "abort", "write_eof"):
            transport, protocol = await loop.create_connection(Notes, *server.sockets[0].getsockname())
            with closing(transport):
                transport.write(b"x")
                await received(protocol, b"x")
                getattr(transport, way)()
                await protocol.lost
    finally:
        server.close()
    await server.wait_closed()


@scenario
async def server():
    """Several sockets, several clients at once, closed with connections open."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Echo, ["127.0.0.1", "127.0.0.2"], 0, start_serving=False)
    clients = []
    try:
        await server.start_serving()
        repr(server)
        check(server.is_serving())
        for listener in server.sockets:
            clients += [socket.create_connection(listener.getsockname()) for _ in range(2)]
        for client in clients:
            client.setblocking(False)
            client.send(b"x")
        for client in clients:
            check(await loop.sock_recv(client, 10) == b"x")
    finally:
        for client in clients:
            client.close()
        server.close()
    await server.wait_closed()


@scenario
async def udp():
    loop = asyncio.get_running_loop()
    served, _ = await loop.create_datagram_endpoint(Notes, local_addr=("127.0.0.1", 0))
    with closing(served):
        address = served.get_extra_info("sockname")
        transport, protocol = await loop.create_datagram_endpoint(Answered, remote_addr=address)
        with closing(transport):
            repr(transport)
            transport.sendto(b"one")
            await protocol.lost
        check(protocol.got == b"re: one")
        transport, protocol = await loop.create_datagram_endpoint(Answered, local_addr=("127.0.0.1", 0))
        with closing(transport):
            transport.sendto(bytearray(b"two"), address)
            transport.sendto(b"three", address)
            await protocol.lost
        check(protocol.got == b"re: two")


@scenario
async def udp_refused():
    """Nobody listens: the error comes to error_received."""
    loop = asyncio.get_running_loop()
    told = loop.create_future()

    class Refused(asyncio.DatagramProtocol):
        def error_received(self, exc):
            if not told.done():
                told.set_result(exc)

    with socket.socket(type=socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        address = taken.getsockname()
    transport, _ = await loop.create_datagram_endpoint(Refused, remote_addr=address)
    with closing(transport):
        transport.sendto(b"x")
        check(isinstance(await told, ConnectionRefusedError))


@scenario
async def udp_full():
    """More than a socket takes at once, to a Unix address: what waits is sent later, in order."""
    loop = asyncio.get_running_loop()
    with folder() as place, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as far:
        far.bind(place + "/far")
        far.setblocking(False)
        near = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        near.connect(place + "/far")
        near.setblocking(False)
        transport, protocol = await loop.create_datagram_endpoint(Notes, sock=near)
        with closing(transport):
            for number in range(40):
                transport.sendto(b"%d" % number)
            check([await loop.sock_recv(far, 10) for _ in range(40)] == [b"%d" % n for n in range(40)])
        await protocol.lost


@scenario
async def pipes():
    loop = asyncio.get_running_loop()
    reader, writer = pipe()
    into, _ = await loop.connect_write_pipe(Notes, writer)
    with closing(into):
        out, protocol = await loop.connect_read_pipe(Notes, reader)
        with closing(out):
            repr(into), repr(out)
            into.write(BIG)
            into.write(b"end")
            into.write_eof()
            await protocol.lost
            await received(protocol, BIG + b"end")


@scenario
async def pipe_broken():
    loop = asyncio.get_running_loop()
    reader, writer = pipe()
    with reader:
        into, protocol = await loop.connect_write_pipe(Notes, writer)
        with closing(into):
            into.write(b"x")
            into.write(BIG)
            reader.close()
            await protocol.lost


@scenario
async def readers():
    loop = asyncio.get_running_loop()
    near, far = pair()
    with closing(near, far):
        wrote = loop.create_future()
        loop.add_writer(near, lambda: wrote.done() or wrote.set_result(1))
        await wrote
        loop.remove_writer(near)
        read = loop.create_future()
        loop.add_reader(near, lambda: read.done() or read.set_result(near.recv(10)))
        try:
            far.send(b"x")
            check(await read == b"x")
        finally:
            loop.remove_reader(near)


@scenario
async def sock_calls():
    loop = asyncio.get_running_loop()
    near, far = pair()
    room = bytearray(10)
    with closing(near, far):
        waiting = asyncio.create_task(loop.sock_recv(near, 10))
        await turns(1)
        await loop.sock_sendall(far, b"x")
        check(await waiting == b"x")
        waiting = asyncio.create_task(loop.sock_recv_into(near, room))
        await turns(1)
        await loop.sock_sendall(far, b"y")
        check(await waiting == 1 and room[:1] == b"y")

        async def drain():
            count = 0
            while count < 2 * len(BIG):
                count += len(await loop.sock_recv(near, 1 << 20))
            return count

        draining = asyncio.create_task(drain())
        await loop.sock_sendall(far, BIG * 2)
        check(await draining == 2 * len(BIG))


@scenario
async def sock_connect():
    loop = asyncio.get_running_loop()
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        client.setblocking(False)
        accepting = asyncio.create_task(loop.sock_accept(listener))
        await turns(1)
        await loop.sock_connect(client, listener.getsockname())
        accepted, _ = await accepting
        with accepted:
            waiting = asyncio.create_task(loop.sock_recv(client, 10))
            await turns(1)
            waiting.cancel()
            await asyncio.wait([waiting])


@scenario
async def sock_datagrams():
    loop = asyncio.get_running_loop()
    near, far = pair(socket.SOCK_DGRAM)
    with closing(near, far), socket.socket(type=socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        bound.setblocking(False)
        waiting = asyncio.create_task(loop.sock_recvfrom(bound, 10))
        await turns(1)
        check(await loop.sock_sendto(bound, b"x", bound.getsockname()) == 1)
        check((await waiting)[0] == b"x")
        await loop.sock_sendto(bound, b"yz", bound.getsockname())
        check((await loop.sock_recvfrom_into(bound, bytearray(10)))[0] == 2)


@scenario
async def sendfile():
    loop = asyncio.get_running_loop()
    near, far = pair()
    with closing(far), tempfile.TemporaryFile() as file:
        file.write(BIG[:5000])
        file.flush()
        transport, protocol = await loop.create_connection(Notes, sock=near)
        with closing(transport):
            check(await loop.sendfile(transport, file) == 5000)
            check(len(await loop.sock_recv(far, 10000)) == 5000)
        await protocol.lost


@scenario
async def subprocess():
    process = await asyncio.create_subprocess_exec(
        "/bin/cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        out, _ = await process.communicate(b"through")
        check(out == b"through")
        check(await process.wait() == 0)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


@scenario
async def resolving():
    loop = asyncio.get_running_loop()
    check(await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM))
    check(await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST))


# --- what only loopmod has -------------------------------------------------------------------------------


@scenario
async def nested_run():
    """A run within a run."""
    loop = asyncio.get_running_loop()
    check(loop.run_until_complete(asyncio.sleep(0, 3)) == 3)
    promised(loop.call_soon)
    await turns(2)
    check(loop.run_until_complete(nothing(4)) == 4)


ONLY_ON["nested_run"] = ("loopmod",)
