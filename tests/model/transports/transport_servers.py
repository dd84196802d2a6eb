"""Random programs for server objects: clients come and go, the server is closed, awaited, cancelled, in any order.

The clients are plain sockets. Each connection of the server has a log of its own, by the order in which it was made.
"""

import asyncio
import socket

from transport_links import limit, tcp_listener
from transport_stage import TEXT, Stage, pick, unread, unsent

NAME = "servers"
KINDS = ["server_unix", "server_tcp", "server_two"]
NEWER = hasattr(asyncio.base_events.Server, "close_clients")


def draw_options(chance, kind):
    return {"is_serving": chance.random() < 0.7, "raises": chance.random() < 0.1, "buffered": chance.random() < 0.3}


def draw(chance, kind, options, progress):
    ending = 0.1 + progress
    name = pick(chance, {
        "connect": 10, "send": 8, "answer": 5, "hang_up": 3, "reset": 1, "close": ending, "wait_closed": 1 + ending,
        "serve_forever": 2, "start_serving": 2, "cancel": 2, "close_clients": ending / 2, "abort_clients": ending / 2,
        "ask": 4, "close_one": 2, "abort_one": 1, "enter": 0.3,
    })  # fmt: skip
    arguments = []
    if name in ("send", "answer"):
        arguments = [chance.randrange(10), chance.choice([1, 100, 3000])]
    elif name in ("hang_up", "reset", "close_one", "abort_one"):
        arguments = [chance.randrange(10)]
    return "server", [name, *arguments]


class Connection(asyncio.Protocol):
    def __init__(self, play):
        self.play = play
        self.transport = None
        self.name = f"connection {len(play.connections)}"
        self.is_lost = False
        play.connections.append(self)

    def connection_made(self, transport):
        self.transport = transport
        self.play.note(self.name, "made", type(transport.get_extra_info("peername")).__name__)
        if self.play.options["raises"] and self.name.endswith("1"):
            raise ValueError("made")

    def data_received(self, data):
        self.play.note(self.name, "data", self.play.show(data))

    def eof_received(self):
        self.play.note(self.name, "eof")

    def connection_lost(self, exc):
        self.is_lost = True
        self.play.note(self.name, "lost", None if exc is None else self.play.show_exception(exc))


class BufferedConnection(Connection, asyncio.BufferedProtocol):
    data_received = None

    def get_buffer(self, hint):
        self.buffer = bytearray(10_000)
        return self.buffer

    def buffer_updated(self, count):
        Connection.data_received(self, self.buffer[:count])


class Servers(Stage):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.connections = []
        self.clients = []
        self.is_closed = False
        self.touched = set()
        self.has_connected = False

    async def begin(self):
        self.listeners = [self.listener(number) for number in range(2 if self.kind == "server_two" else 1)]
        self.addresses = [sock.getsockname() for sock in self.listeners]
        make = BufferedConnection if self.options["buffered"] else Connection
        more = {"start_serving": self.options["is_serving"]}
        if self.kind == "server_tcp":
            self.server = await self.loop.create_server(lambda: make(self), sock=self.listeners[0], **more)
        else:
            self.server = await self.loop.create_unix_server(lambda: make(self), sock=self.listeners[0], **more)
        self.is_accepting = self.options["is_serving"]
        self.others = []
        if self.kind == "server_two":
            self.others = [await self.loop.create_unix_server(lambda: make(self), sock=self.listeners[1])]

    def listener(self, number):
        if self.kind == "server_tcp":
            return tcp_listener()
        listener = limit(socket.socket(socket.AF_UNIX))
        listener.bind(f"{self.directory}/{number}")
        listener.listen()
        return listener

    async def finish(self):
        for server in (self.server, *self.others):
            server.close()
        for connection in self.connections:
            if connection.transport is not None:
                connection.transport.abort()
        for client in self.clients:
            client.close()
        await self.settle("end")

    def new_step(self, number):
        super().new_step(number)
        self.touched = set()
        self.has_connected = False

    def state(self):
        self.read_clients()
        return super().state(), sum(unsent(client.fileno()) for client in self.clients if client.fileno() >= 0)

    def read_clients(self):
        for number, client in enumerate(self.clients):
            if client.fileno() < 0:
                continue
            try:
                data = client.recv(100_000)
            except BlockingIOError:
                continue
            except OSError as exc:
                self.note(f"client {number}", "fails", self.show_exception(exc))
                client.close()
                continue
            self.note(f"client {number}", "reads", self.show(data))
            if not data:
                client.close()

    def waits_for(self):
        for connection in self.connections:
            if connection.transport is None:
                return "connection_made"
            number = connection.transport.get_extra_info("socket").fileno()
            if number >= 0 and not connection.is_lost and (unread(number) or unsent(number)):
                return "bytes"
        return None

    # Operations

    def may_connect(self, actor):
        return len(self.clients) < 10 and not self.is_closed

    def op_connect(self, actor):
        self.has_connected = True
        client = socket.socket(self.listeners[0].family)
        client.connect(self.addresses[len(self.clients) % len(self.addresses)])
        client.setblocking(False)
        self.clients.append(client)

    def live(self, number):
        return number < len(self.clients) and self.clients[number].fileno() >= 0 and number not in self.touched

    def may_hang_up(self, actor, number, size=0):
        return self.live(number) and number < len(self.connections)

    may_send = may_reset = may_hang_up

    def op_send(self, actor, number, size):
        return self.clients[number].send(TEXT[:size])

    def op_hang_up(self, actor, number):
        self.touched.add(number)
        self.clients[number].close()

    op_reset = op_hang_up

    def may_answer(self, actor, number, size=0):
        return number < len(self.connections) and number not in self.touched

    may_close_one = may_abort_one = may_answer

    def op_answer(self, actor, number, size):
        return self.connections[number].transport.write(TEXT[:size])

    def op_close_one(self, actor, number):
        self.touched.add(number)
        return self.connections[number].transport.close()

    def op_abort_one(self, actor, number):
        self.touched.add(number)
        return self.connections[number].transport.abort()

    def may_close(self, actor):
        # asyncio has a task for each connection, which would find the server closed.
        return not self.has_connected

    def op_close(self, actor):
        self.is_closed = True
        return self.server.close()

    def may_end_clients(self, actor):
        return NEWER and len(self.connections) == len(self.clients) and not self.touched

    may_close_clients = may_abort_clients = may_end_clients

    def op_close_clients(self, actor):
        self.touched.update(range(10))
        return self.server.close_clients()

    def op_abort_clients(self, actor):
        self.touched.update(range(10))
        return self.server.abort_clients()

    async def op_wait_closed(self, actor):
        return await self.server.wait_closed()

    async def op_serve_forever(self, actor):
        return await self.server.serve_forever()

    def may_cancel(self, actor):
        if self.has_connected:
            return False
        if self.running(actor, "serve_forever", "enter"):
            self.is_closed = True  # who serves for ever closes in the end
        return True

    async def op_start_serving(self, actor):
        return await self.server.start_serving()

    async def op_enter(self, actor):
        async with self.server:
            await asyncio.sleep(0)

    def may_enter(self, actor):
        if self.has_connected:
            return False
        self.is_closed = True
        return True

    def op_ask(self, actor):
        server = self.server
        return [server.is_serving(), len(server.sockets), server.get_loop() is self.loop]


STAGE = Servers
