"""pyzmq on loopmod: a server that answers and a client that asks, over TCP.

python examples/recipes/zmq_echo.py
"""

import asyncio

import zmq
import zmq.asyncio

import loopmod


async def answer(socket: zmq.asyncio.Socket) -> None:
    while True:
        await socket.send((await socket.recv()).upper())


async def main() -> list[bytes]:
    with zmq.asyncio.Context() as context, context.socket(zmq.REP) as server, context.socket(zmq.REQ) as client:
        port = server.bind_to_random_port("tcp://127.0.0.1")
        answering = asyncio.create_task(answer(server))
        client.connect(f"tcp://127.0.0.1:{port}")
        answers = []
        for word in (b"one", b"two", b"three"):
            await client.send(word)
            answers.append(await asyncio.wait_for(client.recv(), 60))
        answering.cancel()
        return answers


if __name__ == "__main__":
    print(loopmod.run(main()))
