"""A chat room over TCP streams: one server and 50 clients, in plain asyncio.

Every client says something, waits until it has read what everybody said in that round, and says the next
thing. The server sends each line to all clients, so every client must read the same lines in the same order.
Nothing here knows which event loop runs it: `python examples/chat.py` takes asyncio's own, `examples/demo.py`
compares.
"""

import asyncio
import sys
import time
from dataclasses import dataclass

CLIENTS = 50
ROUNDS = 100


@dataclass
class Report:
    """What happened in one evening of chat, and what it cost."""

    clients: int
    messages: int
    deliveries: int
    one_order: bool
    seconds: float
    cpu_seconds: float


class Room:
    """The server's side: who is here, and how a line reaches everybody."""

    def __init__(self) -> None:
        self.members: set[asyncio.StreamWriter] = set()
        self.messages = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.members.add(writer)
        try:
            while line := await reader.readline():
                self.messages += 1
                for member in self.members:
                    member.write(line)
                # A member that reads slowly holds up the one who speaks, not the room.
                for member in tuple(self.members):
                    await member.drain()
        finally:
            self.members.discard(writer)
            writer.close()


async def chat(port: int, name: str, clients: int, rounds: int, all_here: asyncio.Barrier) -> list[bytes]:
    """One client: talk for a number of rounds and return every line read, in order."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard = []
    await all_here.wait()
    for number in range(rounds):
        writer.write(f"{name}: message {number}, and a few words to make a line of it\n".encode())
        await writer.drain()
        for _ in range(clients):
            heard.append(await reader.readline())
    writer.close()
    await writer.wait_closed()
    return heard


async def main(clients: int = CLIENTS, rounds: int = ROUNDS) -> Report:
    """Open the room, let the clients talk, and report."""
    room = Room()
    server = await asyncio.start_server(room.serve, "127.0.0.1", 0, backlog=clients)
    port = server.sockets[0].getsockname()[1]
    all_here = asyncio.Barrier(clients + 1)
    async with asyncio.TaskGroup() as group:
        talks = [
            group.create_task(chat(port, f"client {number}", clients, rounds, all_here)) for number in range(clients)
        ]
        while len(room.members) < clients:
            await asyncio.sleep(0.001)
        began, cpu_began = time.perf_counter(), time.process_time()
        await all_here.wait()
    seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - cpu_began
    logs = [talk.result() for talk in talks]
    server.close()
    await server.wait_closed()
    return Report(
        clients=clients,
        messages=room.messages,
        deliveries=sum(len(log) for log in logs),
        one_order=all(log == logs[0] for log in logs),
        seconds=seconds,
        cpu_seconds=cpu_seconds,
    )


def describe(report: Report) -> str:
    """The report in two lines of text."""
    order = "all in one order" if report.one_order else "NOT in one order"
    return (
        f"{report.clients} clients sent {report.messages:,} messages: "
        f"{report.deliveries:,} deliveries, {order}\n"
        f"{report.deliveries / report.seconds:,.0f} deliveries/s, {report.seconds:.2f} s, "
        f"{report.cpu_seconds:.2f} s of CPU time, {1e6 * report.cpu_seconds / report.deliveries:.1f} us each"
    )


if __name__ == "__main__":
    outcome = asyncio.run(main())
    print(describe(outcome))
    sys.exit(not outcome.one_order)
