"""Programs and wrappers for test_patched.py: what asyncio calls, a loop of ours calls too."""

import asyncio
import contextlib
import functools
import inspect
import os
import signal
import socket
import subprocess
import sys
import tempfile
from asyncio import events, selector_events, sslproto, unix_events

from tls_support import client_context, server_context

BASES = asyncio.SelectorEventLoop.__mro__[:-2]
HANDLES = [getattr(events, name) for name in ("Handle", "TimerHandle", "_ThreadSafeHandle") if hasattr(events, name)]


class Patch:
    """One attribute wrapped by a function that counts its calls."""

    def __init__(self, owner, name):
        self.owner = owner
        self.name = name
        self.calls = 0
        self.original = inspect.getattr_static(owner, name)
        self.is_inherited = name not in vars(owner)

    def wrap(self):
        original = self.original

        @functools.wraps(original)
        def counts(*args, **kwargs):
            self.calls += 1
            return original(*args, **kwargs)

        setattr(self.owner, self.name, counts)
        return self

    def undo(self):
        if self.is_inherited:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, self.original)

    def __repr__(self):
        return f"{self.owner.__name__}.{self.name}"


def every_patch():
    """Every function that the classes of a loop and of its handles have."""
    return [
        Patch(owner, name)
        for owner in (*BASES, *HANDLES)
        for name, value in vars(owner).items()
        if callable(value) and not isinstance(value, type)
    ]


def inherited_patches():
    """The same where a class has it from another: the patch is put in front of that."""
    owners = (*BASES[:-1], *HANDLES[1:])
    return [
        Patch(owner, name)
        for owner in owners
        for name in dir(owner)
        if name not in vars(owner)
        and not hasattr(object, name)
        and inspect.isfunction(inspect.getattr_static(owner, name))
    ]


def transport_patches():
    """What the classes of transports have, by themselves or from another."""
    owners = (
        selector_events._SelectorSocketTransport,
        selector_events._SelectorDatagramTransport,
        selector_events._SelectorTransport,
        unix_events._UnixReadPipeTransport,
        unix_events._UnixWritePipeTransport,
        sslproto.SSLProtocol,
        sslproto._SSLProtocolTransport,
    )
    return [
        Patch(owner, name)
        for owner in owners
        for name in (*dir(owner), "__init__")
        if not name.startswith("__") or name == "__init__"
        if inspect.isfunction(inspect.getattr_static(owner, name))
    ]


async def queues(loop):
    async def child():
        await asyncio.sleep(0)
        return 1

    seen = []
    future = loop.create_future()
    future.add_done_callback(seen.append)
    future.set_result(2)
    loop.call_soon(int).cancel()
    loop.call_later(9, int).cancel()
    timer = loop.call_at(loop.time() + 0.001, seen.append, "timer")
    assert not timer.cancelled() and timer.when() > 0 and repr(timer) and timer < loop.call_later(8, int)
    hash(timer)
    loop.call_soon_threadsafe(seen.append, "safe").cancelled()
    result = await loop.create_task(child(), name="child")
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(loop.create_future(), 0.002)
    loop.call_exception_handler({"message": "reported"})
    loop.call_soon(lambda: 1 / 0)
    await loop.run_in_executor(None, int)

    async def generates():
        yield 1
        yield 2

    async for _ in generates():
        break
    loop.set_debug(loop.get_debug())
    assert repr(loop) and loop.is_running() and not loop.is_closed()
    loop.get_exception_handler(), loop.get_task_factory()
    loop.set_task_factory(None)
    await asyncio.sleep(0.003)
    return result, len(seen)


async def descriptors(loop):
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    seen = []
    with near, far:
        loop.add_writer(near, lambda: (seen.append("w"), loop.remove_writer(near)))
        loop.add_reader(near, lambda: (seen.append(near.recv(9)), loop.remove_reader(near)))
        far.send(b"x")
        while len(seen) < 2:
            await asyncio.sleep(0)
        await loop.sock_sendall(near, b"abc")
        seen.append(await loop.sock_recv(far, 9))
        buffer = bytearray(4)
        loop.call_later(0.001, near.send, b"late")
        seen.append(await loop.sock_recv_into(far, buffer))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as two,
    ):
        for sock in (one, two):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        await loop.sock_sendto(one, b"d", two.getsockname())
        seen.append((await loop.sock_recvfrom(two, 9))[0])
        await loop.sock_sendto(one, b"e", two.getsockname())
        seen.append((await loop.sock_recvfrom_into(two, buffer))[0])
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        listener.setblocking(False)
        client.setblocking(False)
        await loop.sock_connect(client, listener.getsockname())
        (await loop.sock_accept(listener))[0].close()
    loop.add_signal_handler(signal.SIGUSR1, seen.append, "signal")
    os.kill(os.getpid(), signal.SIGUSR1)
    while "signal" not in seen:
        await asyncio.sleep(0.001)
    loop.remove_signal_handler(signal.SIGUSR1)
    return len(seen), await loop.getaddrinfo("127.0.0.1", 80), await loop.getnameinfo(("127.0.0.1", 80))


async def transports(loop):
    async def echo(reader, writer):
        writer.write(await reader.read(100))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"data")
        got = [await reader.read(100)]
        with tempfile.TemporaryFile() as file:
            file.write(b"file")
            with contextlib.suppress(RuntimeError, OSError, NotImplementedError, ConnectionError):
                await loop.sendfile(writer.transport, file)
        writer.close()
    with tempfile.TemporaryDirectory() as directory:
        path = os.path.join(directory, "s")
        async with await asyncio.start_unix_server(echo, path):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"unix")
            got.append(await reader.read(100))
            writer.close()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    transport.close()
    read_end, write_end = os.pipe()
    reading, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(read_end, "rb", 0))
    writing, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(write_end, "wb", 0))
    writing.write(b"pipe")
    await asyncio.sleep(0.001)
    writing.close()
    reading.close()
    await asyncio.sleep(0)
    return got


async def tls(loop):
    """A connection that is TLS from the start, and one that becomes it."""

    async def echo(reader, writer):
        if upgrades:
            writer.write(await reader.readexactly(1))
            await writer.start_tls(server_context())
        writer.write(await reader.read(9))
        await writer.drain()
        writer.close()

    got = []
    for upgrades in (False, True) if sys.version_info >= (3, 12) else (False,):
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=None if upgrades else server_context())
        address = server.sockets[0].getsockname()
        client = {} if upgrades else {"ssl": client_context(), "server_hostname": "localhost"}
        reader, writer = await asyncio.open_connection(*address, **client)
        if upgrades:
            writer.write(b"1")
            got.append(await reader.readexactly(1))
            await writer.start_tls(client_context(), server_hostname="localhost")
        writer.write(b"secret")
        got.append(await reader.read())
        writer.close()
        server.close()
    return got


async def processes(loop):
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "", stdout=subprocess.PIPE)
    shell = await asyncio.create_subprocess_shell("true")
    return await process.wait(), await shell.wait(), await process.stdout.read()


def run(factory, program, patch, moment, debug):
    """Run the program with the patch from a moment on; return its result. The patch is undone at the end."""
    try:
        if moment == "before":
            patch.wrap()
        with asyncio.Runner(loop_factory=factory, debug=debug) as runner:
            loop = runner.get_loop()
            loop.slow_callback_duration = 60
            reports = []
            loop.set_exception_handler(lambda loop, context: reports.append(context["message"][:12]))
            if moment == "made":
                patch.wrap()

            async def main():
                if moment == "running":
                    patch.wrap()
                return await program(loop)

            return runner.run(asyncio.wait_for(main(), 20)), reports
    finally:
        patch.undo()
