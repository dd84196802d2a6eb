"""blockbuster: a call that blocks raises within a coroutine, and what the loop itself calls does not.

python -m loopmod examples/recipes/tools/blockbuster_calls.py
"""

import asyncio
import os
import socket
import time

from blockbuster import BlockingError, blockbuster_ctx


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()


async def own_work() -> list[object]:
    """What a loop does: sockets, names, signals, threads, children, and none of it blocks."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"line\n")
    answers: list[object] = [await reader.readline()]
    writer.close()
    await writer.wait_closed()
    server.close()
    answers.append(await asyncio.to_thread(int, "7"))
    loop = asyncio.get_running_loop()
    answers.append(len(await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        await loop.sock_sendall(ours, b"bytes")
        answers.append(await loop.sock_recv(theirs, 5))
    process = await asyncio.create_subprocess_exec("echo", "child", stdout=asyncio.subprocess.PIPE)
    answers.append((await process.communicate())[0])
    return answers


def sleeps() -> None:
    time.sleep(0)


def reads() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"x")
        ours.recv(1)


def lists() -> None:
    os.listdir("/")


async def main() -> None:
    loop = asyncio.get_running_loop()
    print(type(loop).__module__)
    with blockbuster_ctx():
        for call in (sleeps, reads, lists):
            try:
                call()
            except BlockingError as error:
                print(call.__name__, "raised", error)
            else:
                print(call.__name__, "passed")
        seen: list[str] = []
        loop.set_exception_handler(lambda loop, context: seen.append(str(context["exception"])))
        loop.call_soon(sleeps)
        loop.call_later(0.001, sleeps)
        await asyncio.sleep(0.02)
        print(seen)
        print(await own_work())
    sleeps()


if __name__ == "__main__":
    asyncio.run(main())
