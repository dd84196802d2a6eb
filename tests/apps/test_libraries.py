"""Small real programs on anyio, tornado, twisted and trio, which choose or drive a loop in their own way.

Each runs on both loops, and is skipped where its library is not installed. Twisted allows
one reactor in a process, so its program runs in a process of its own.
"""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(60)

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def factory(kind):
    if kind == "asyncio":
        return asyncio.SelectorEventLoop
    return pytest.importorskip("loopmod").new_event_loop


def test_anyio_tcp_echo(factory):
    anyio = pytest.importorskip("anyio")
    size = 300_000

    async def echo(stream):
        async with stream:
            async for data in stream:
                await stream.send(data)

    async def ask(port, number, answers):
        data = bytes([number]) * size
        async with await anyio.connect_tcp("127.0.0.1", port) as stream, anyio.create_task_group() as group:

            async def send():
                await stream.send(data)
                await stream.send_eof()

            group.start_soon(send)
            got = b"".join([part async for part in stream])
        answers[number] = got == data

    async def main():
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=0)
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        answers = {}
        async with anyio.create_task_group() as servers:
            servers.start_soon(listener.serve, echo)
            async with anyio.create_task_group() as clients:
                for number in range(10):
                    clients.start_soon(ask, port, number, answers)
            servers.cancel_scope.cancel()
        await listener.aclose()
        return answers, type(asyncio.get_running_loop())

    answers, loop_type = anyio.run(main, backend_options={"loop_factory": factory})
    assert answers == dict.fromkeys(range(10), True)
    made = factory()
    assert loop_type is type(made)
    made.close()


def test_anyio_cancel_scopes(factory):
    anyio = pytest.importorskip("anyio")

    async def main():
        notes = []
        with anyio.move_on_after(0.01) as outer:
            try:
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep_forever)
                    await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.001)
                    notes.append("shielded")
        notes.append(outer.cancelled_caught)
        with pytest.raises(TimeoutError), anyio.fail_after(0.001):
            await anyio.sleep_forever()
        with pytest.raises(ExceptionGroup) as caught:
            async with anyio.create_task_group() as group:

                async def fails():
                    raise ValueError("inner")

                group.start_soon(fails)
                await anyio.sleep_forever()
        notes.append(str(caught.value.exceptions[0]))
        send, receive = anyio.create_memory_object_stream(0)
        async with anyio.create_task_group() as group, receive:

            async def produce():
                async with send:
                    for i in range(5):
                        await send.send(i)

            group.start_soon(produce)
            notes.append([i async for i in receive])
        notes.append(await anyio.to_thread.run_sync(lambda: anyio.from_thread.run(value, 7)))
        return notes

    async def value(number):
        await anyio.sleep(0)
        return number

    notes = anyio.run(main, backend_options={"loop_factory": factory})
    assert notes == ["shielded", True, "inner", [0, 1, 2, 3, 4], 7]


def test_tornado(run):
    tornado_tcp = pytest.importorskip("tornado.tcpserver")
    from tornado import gen, ioloop, iostream, netutil, tcpclient

    class Lines(tornado_tcp.TCPServer):
        async def handle_stream(self, stream, address):
            try:
                while True:
                    line = await stream.read_until(b"\n")
                    await stream.write(line.upper())
            except iostream.StreamClosedError:
                pass

    @gen.coroutine
    def decorated(future):
        value = yield future
        yield gen.sleep(0.001)
        raise gen.Return(value * 2)

    async def main():
        server = Lines()
        sockets = netutil.bind_sockets(0, "127.0.0.1")
        server.add_sockets(sockets)
        port = sockets[0].getsockname()[1]
        stream = await tcpclient.TCPClient().connect("127.0.0.1", port)
        for i in range(20):
            await stream.write(b"line %d\n" % i)
            assert await stream.read_until(b"\n") == b"LINE %d\n" % i
        await stream.write(b"x" * 1_000_000 + b"\n")
        assert await stream.read_until(b"\n") == b"X" * 1_000_000 + b"\n"
        stream.close()
        server.stop()
        loop = asyncio.get_running_loop()
        assert ioloop.IOLoop.current().asyncio_loop is loop
        future = loop.create_future()
        loop.call_soon(future.set_result, 21)
        seen = []
        ioloop.IOLoop.current().add_future(future, lambda done: seen.append(done.result()))
        assert await decorated(future) == 42
        assert seen == [21]

    run(main())


TWISTED = """
import asyncio, sys
if sys.argv[1] == "asyncio":
    loop = asyncio.SelectorEventLoop()
else:
    import loopmod
    loop = loopmod.new_event_loop()
asyncio.set_event_loop(loop)
from twisted.internet import asyncioreactor
asyncioreactor.install(loop)
from twisted.internet import defer, endpoints, protocol, reactor, task, threads

class Echo(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(data)

class Ask(protocol.Protocol):
    def connectionMade(self):
        self.got = b""
        self.transport.write(b"z" * 500000)
    def dataReceived(self, data):
        self.got += data
        if len(self.got) == 500000:
            self.transport.loseConnection()
    def connectionLost(self, reason):
        self.factory.done.callback(self.got == b"z" * 500000)

async def later():
    await asyncio.sleep(0.001)
    return "from asyncio"

async def main():
    port = await endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(
        protocol.Factory.forProtocol(Echo))
    factory = protocol.ClientFactory.forProtocol(Ask)
    factory.done = defer.Deferred()
    reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
    print("echo", await factory.done)
    print(await defer.Deferred.fromFuture(asyncio.ensure_future(later())))
    print(await threads.deferToThread(lambda: "from a thread"))
    await task.deferLater(reactor, 0.001, lambda: None)
    await port.stopListening()

task.react(lambda reactor: defer.ensureDeferred(main()))
"""


def test_twisted(kind):
    pytest.importorskip("twisted")
    path = [str(ROOT), *(entry for entry in sys.path if entry)]
    done = subprocess.run(
        [sys.executable, "-c", TWISTED, kind],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["echo True", "from asyncio", "from a thread"]


def test_trio_as_a_guest(run, errors):
    trio = pytest.importorskip("trio")

    async def guest(listeners, asyncio_side):
        listener = listeners[0]

        async def echo(stream):
            async for data in stream:
                await stream.send_all(data)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, echo, listeners)
            with trio.move_on_after(0.001) as scope:
                await trio.sleep_forever()
            port = listener.socket.getsockname()[1]
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(b"ping")
            got = await stream.receive_some(4)
            await stream.aclose()
            asyncio_side(port)
            await trio.to_thread.run_sync(done_asyncio.wait)
            nursery.cancel_scope.cancel()
        return scope.cancelled_caught, got

    done_asyncio = threading.Event()

    async def main():
        loop = asyncio.get_running_loop()
        over = loop.create_future()
        answers = []

        async def ask(port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"from asyncio")
            answers.append(await reader.readexactly(12))
            writer.close()
            done_asyncio.set()

        tasks = []

        async def start():
            return await guest(await trio.open_tcp_listeners(0, host="127.0.0.1"), begin)

        def begin(port):
            tasks.append(loop.create_task(ask(port)))

        trio.lowlevel.start_guest_run(
            start, run_sync_soon_threadsafe=loop.call_soon_threadsafe, done_callback=over.set_result
        )
        outcome = await over
        assert outcome.unwrap() == (True, b"ping")
        assert answers == [b"from asyncio"]

    run(main())
    assert errors == []
