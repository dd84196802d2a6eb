"""AnyIO on loopmod: a server and a client in one task group.

python examples/recipes/anyio_echo.py
"""

import anyio
from anyio.abc import SocketAttribute, SocketStream

import loopmod


async def echo(stream: SocketStream) -> None:
    async with stream:
        async for data in stream:
            await stream.send(data)


async def main() -> bytes:
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, echo)
        async with await anyio.connect_tcp("127.0.0.1", listener.extra(SocketAttribute.local_port)) as stream:
            await stream.send(b"hello")
            with anyio.fail_after(60):
                answer = await stream.receive()
        group.cancel_scope.cancel()
    return answer


if __name__ == "__main__":
    print(anyio.run(main, backend_options={"loop_factory": loopmod.new_event_loop}))
