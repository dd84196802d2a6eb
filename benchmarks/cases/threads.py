"""Threads, names, signals and child processes: what comes from outside the loop's thread."""

import asyncio
import os
import signal
import socket
import threading

from cases.countdown import countdown
from cases.declare import core


def _nothing() -> None:
    pass


@core(batch=200)
async def run_in_executor(operations: int) -> None:
    """an empty function in the default executor, awaited"""
    loop = asyncio.get_running_loop()
    for _ in range(operations):
        await loop.run_in_executor(None, _nothing)


@core(batch=1_000)
async def run_in_executor_1000(operations: int) -> None:
    """the same, 1,000 submitted at once"""
    loop = asyncio.get_running_loop()
    for _ in range(operations // 1000):
        await asyncio.gather(*[loop.run_in_executor(None, _nothing) for _ in range(1000)])


@core(batch=1_000, is_quick=False)
async def threads_1000(operations: int) -> None:
    """a thread that calls back into the loop when it begins and ends; 1,000 of them"""
    loop = asyncio.get_running_loop()
    ended, done = countdown(operations)

    def work() -> None:
        loop.call_soon_threadsafe(_nothing)
        loop.call_soon_threadsafe(ended)

    threads = [threading.Thread(target=work) for _ in range(operations)]
    for thread in threads:
        thread.start()
    await done
    for thread in threads:
        thread.join()


@core(batch=200)
async def getaddrinfo_numeric(operations: int) -> None:
    """getaddrinfo of a numeric host and port"""
    loop = asyncio.get_running_loop()
    for _ in range(operations):
        await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)


@core(batch=200)
async def getaddrinfo_localhost(operations: int) -> None:
    """getaddrinfo of `localhost`, which the resolver looks up in a file"""
    loop = asyncio.get_running_loop()
    for _ in range(operations):
        await loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)


@core(batch=500)
async def signals(operations: int) -> None:
    """a signal sent to the process itself and handled on the loop"""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, arrived.set)
    try:
        for _ in range(operations):
            os.kill(os.getpid(), signal.SIGUSR1)
            await arrived.wait()
            arrived.clear()
    finally:
        loop.remove_signal_handler(signal.SIGUSR1)


@core(batch=10)
async def subprocess_spawn(operations: int) -> None:
    """a child process (`true`) started and waited for; its own CPU time counts too"""
    for _ in range(operations):
        child = await asyncio.create_subprocess_exec("/bin/true")
        assert await child.wait() == 0


@core(batch=10)
async def subprocess_pipe(operations: int) -> None:
    """64 KiB through the pipes of a `cat` and back"""
    data = b"x" * 65536
    for _ in range(operations):
        child = await asyncio.create_subprocess_exec(
            "/bin/cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await child.communicate(data)
        assert out == data


@core(batch=10)
async def subprocess_output(operations: int) -> None:
    """a child process (`echo`) started, its line read through a pipe, waited for"""
    for _ in range(operations):
        child = await asyncio.create_subprocess_exec("/bin/echo", "hello", stdout=asyncio.subprocess.PIPE)
        out, _ = await child.communicate()
        assert out == b"hello\n"
