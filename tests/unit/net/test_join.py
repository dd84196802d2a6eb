"""Joined writes: what a step or a turn writes is sent in one piece, and never found unsent by whoever asks.

Covers net/join.c. Relies on pairs of Unix sockets of which the test holds one end; loopmod only, since no other
loop joins.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from loop_support import in_a_step
from tls_support import client_context, server_context

import loopmod

pytestmark = pytest.mark.timeout(60)


class Recorder(asyncio.Protocol):
    """Notes what it is told."""

    def __init__(self):
        self.events = []

    def connection_made(self, transport):
        self.transport = transport

    def pause_writing(self):
        self.events.append("pause")

    def resume_writing(self):
        self.events.append("resume")

    def connection_lost(self, exc):
        self.events.append(exc)


@pytest.fixture(params=["step", "turn"])
def join(request):
    return request.param


@pytest.fixture
def loop(debug, join):
    """The loop that the fixture `run` of tests/conftest.py runs on here."""
    loop = loopmod.Loop(join_writes=join)
    loop.set_debug(debug)
    loop.slow_callback_duration = 60.0
    yield loop
    loop.close()


async def pair():
    """Return (transport, its protocol, the other end as a socket)."""
    ours, other = socket.socketpair()
    other.setblocking(False)
    return (*await asyncio.get_running_loop().connect_accepted_socket(Recorder, ours), other)


def arrived(other):
    """Return the bytes that were sent by now."""
    data = b""
    while True:
        try:
            data += (piece := other.recv(1 << 20))
        except BlockingIOError:
            return data
        if not piece:
            return data


async def end(transport, *others):
    transport.abort()
    await asyncio.sleep(0)
    for other in others:
        other.close()


def test_what_a_callback_writes(run):
    async def main():
        transport, _, other = await pair()

        def write():
            transport.write(b"head ")
            transport.write(bytearray(b"body "))
            transport.write(memoryview(b"tail"))
            return arrived(other)

        assert await in_a_step(write) == b""
        assert arrived(other) == b"head body tail"
        await end(transport, other)

    run(main())


def test_what_a_task_writes_until_it_waits(run):
    async def main():
        transport, _, other = await pair()
        for piece in (b"1", b"2"):
            transport.write(piece)
            transport.write(piece)
            assert arrived(other) == b""
            await asyncio.sleep(0)
            assert arrived(other) == piece * 2
        await end(transport, other)

    run(main())


def test_a_stream_between_its_waits(run):
    async def main():
        seen = []

        async def serve(reader, writer):
            writer.write(b"head ")
            await writer.drain()
            writer.write(b"body")
            await writer.drain()
            writer.close()

        async def ask():
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            seen.append(await reader.read())
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        await asyncio.gather(*(ask() for _ in range(20)))
        server.close()
        await server.wait_closed()
        assert seen == [b"head body"] * 20

    run(main())


def test_mutable_data_is_taken_as_it_was(run):
    async def main():
        transport, _, other = await pair()
        data = bytearray(b"before")

        def write():
            transport.write(data)
            data[:] = b"after!"

        await in_a_step(write)
        assert arrived(other) == b"before"
        await end(transport, other)

    run(main())


def fork(transport):
    if (child := os.fork()) == 0:
        os._exit(transport.get_write_buffer_size() != 0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


ASKS = {
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "write_eof": lambda transport: transport.write_eof(),
    "buffer size": lambda transport: transport.get_write_buffer_size(),
    "buffer limits": lambda transport: transport.set_write_buffer_limits(high=10),
    "socket": lambda transport: transport.get_extra_info("socket"),
    "private socket": lambda transport: transport._sock,
    "sendfile": lambda transport: transport._make_empty_waiter(),
    "writelines": lambda transport: transport.writelines([b"", b""]),
    "fork": fork,
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork beside threads
@pytest.mark.parametrize("ask", ASKS)
def test_who_asks_finds_it_sent(run, ask):
    async def main():
        transport, _, other = await pair()

        def write():
            transport.write(b"1")
            transport.write(b"2")
            assert arrived(other) == b""
            ASKS[ask](transport)
            return arrived(other)

        assert await in_a_step(write) == b"12"
        assert arrived(other) == b""
        await end(transport, other)

    run(main())


NESTED = """
import asyncio, socket, loopmod

loopmod.allow_nested_runs()

async def inner():
    transport.write(b"2")
    seen.append(other.recv(10))
    await asyncio.sleep(0)
    seen.append(other.recv(10))

async def main():
    global transport, other, seen
    seen = []
    ours, other = socket.socketpair()
    other.setblocking(False)
    transport, _ = await asyncio.get_running_loop().connect_accepted_socket(asyncio.Protocol, ours)
    del ours
    transport.write(b"1")
    loop.run_until_complete(inner())
    transport.write(b"3")
    await asyncio.sleep(0)
    seen.append(other.recv(10))
    transport.abort()

loop = loopmod.new_server_loop()
loop.run_until_complete(main())
print(seen)
"""


def test_a_run_within_a_step():
    """The outer step's bytes are sent before the inner run begins, the inner steps join their own."""
    done = subprocess.run([sys.executable, "-c", NESTED], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == ("[b'1', b'2', b'3']\n", 0), done.stderr


def test_an_exception_that_leaves_the_loop(loop):
    transport, _, other = loop.run_until_complete(pair())

    def write():
        transport.write(b"farewell")
        raise SystemExit(3)

    loop.call_soon(write)
    with pytest.raises(SystemExit):
        loop.run_forever()
    assert arrived(other) == b"farewell"
    loop.run_until_complete(end(transport, other))


def test_between_runs_it_is_sent_at_once(loop):
    transport, _, other = loop.run_until_complete(pair())
    transport.write(b"1")
    assert arrived(other) == b"1"
    loop.run_until_complete(end(transport, other))


def test_a_signal_handler_while_the_loop_waits(loop):
    transport, _, other = loop.run_until_complete(pair())
    seen = []

    def handle(number, frame):
        transport.write(b"alarm")
        seen.append(arrived(other))
        loop.stop()

    before = signal.signal(signal.SIGUSR1, handle)
    loop.run_in_executor(None, os.kill, os.getpid(), signal.SIGUSR1)
    loop.run_forever()
    signal.signal(signal.SIGUSR1, before)
    assert seen == [b"alarm"]
    loop.run_until_complete(end(transport, other))
    loop.run_until_complete(loop.shutdown_default_executor())


def test_bytes_leave_in_the_order_of_the_calls(run, join):
    async def main():
        first, _, end_of_first = await pair()
        second, _, end_of_second = await pair()

        def write():
            first.write(b"1")
            second.write(b"2")
            seen = [arrived(end_of_first), arrived(end_of_second)]
            first.write(b"3")
            return [*seen, arrived(end_of_first), arrived(end_of_second)]

        by_step = join == "step"
        assert await in_a_step(write) == ([b"1", b"", b"", b"2"] if by_step else [b"", b"", b"", b""])
        assert arrived(end_of_first) == (b"3" if by_step else b"13")
        assert arrived(end_of_second) == (b"" if by_step else b"2")
        await end(first, end_of_first)
        await end(second, end_of_second)

    run(main())


@pytest.mark.parametrize("high, size, at_once", [(0, 1, 1), (None, 100_000, 100_000), (4, 3, 0), (4, 5, 5)])
def test_never_more_than_the_high_water_mark(run, high, size, at_once):
    async def main():
        transport, protocol, other = await pair()
        transport.set_write_buffer_limits(high=high)

        def write():
            transport.write(bytes(size))
            return len(arrived(other))

        assert await in_a_step(write) == at_once
        assert at_once + len(arrived(other)) == size
        assert protocol.events == []
        await end(transport, other)

    run(main())


def test_a_full_socket_pauses_the_protocol(run):
    async def main():
        transport, protocol, other = await pair()

        def write():
            for number in range(20_000):
                transport.write(number.to_bytes(4, "big") * 16)
                if protocol.events:
                    return number + 1
            raise AssertionError("never paused")

        count = await in_a_step(write)
        assert protocol.events == ["pause"]
        data = b""
        while len(data) < count * 64:
            data += arrived(other)
            await asyncio.sleep(0)
        assert data == b"".join(number.to_bytes(4, "big") * 16 for number in range(count))
        assert protocol.events == ["pause", "resume"]
        await end(transport, other)

    run(main())


def test_resume_writing_writes_and_the_half_is_closed(run):
    """Nothing is joined while the socket is waited for: that would send nothing, into a half that is closed."""

    class Writing(Recorder):
        def resume_writing(self):
            super().resume_writing()
            self.transport.write(b"x")
            asyncio.get_running_loop().call_soon(self.transport.write_eof)

    async def main():
        loop = asyncio.get_running_loop()
        near, other = socket.socketpair()
        other.setblocking(False)
        transport, protocol = await loop.create_unix_connection(Writing, sock=near)
        del near
        transport.set_write_buffer_limits(high=1000, low=0)
        size = 2_000_000
        transport.write(bytes(size))
        received = 0
        while data := await loop.sock_recv(other, 1 << 20):
            received += len(data)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert received == size + 1
        assert protocol.events == ["pause", "resume"]
        transport.abort()
        other.close()

    run(main())


def test_a_peer_that_is_gone(run):
    async def main():
        transport, protocol, other = await pair()
        transport.pause_reading()
        other.close()
        await in_a_step(lambda: transport.write(b"1"))
        await asyncio.sleep(0)
        assert transport.is_closing()
        (exc,) = protocol.events
        assert isinstance(exc, BrokenPipeError)

    run(main())


def test_a_transport_that_is_let_go(run):
    async def main():
        transport, protocol, other = await pair()

        def write():
            nonlocal transport
            transport.pause_reading()
            del protocol.transport
            transport.write(b"last words")
            transport = None

        await in_a_step(write)
        assert arrived(other) == b"last words"
        other.close()

    with pytest.warns(ResourceWarning, match="unclosed transport"):
        run(main())


def test_a_log_handler_writes_while_the_others_bytes_are_sent(run, join, caplog):
    async def main():
        broken, _, gone = await pair()
        transport, _, other = await pair()
        broken.pause_reading()
        gone.close()

        class Writes(logging.Handler):
            def emit(self, record):
                transport.write(b"from the log, ")

        handler = Writes()
        logging.getLogger("asyncio").addHandler(handler)

        def write():
            broken.write(b"lost")
            transport.write(b"from the step")

        await in_a_step(write)
        logging.getLogger("asyncio").removeHandler(handler)
        got = [b"from the log, ", b"from the step"] if asyncio.get_running_loop().get_debug() else [b"from the step"]
        assert arrived(other) == b"".join(got if join == "step" else reversed(got))
        assert broken.is_closing()
        await end(transport, other)

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_over_tls(run, version):
    async def main():
        async def serve(reader, writer):
            while line := await reader.readline():
                writer.write(b"you said: ")
                writer.write(line)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(version))
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(
            *address, ssl=client_context(version), server_hostname="localhost"
        )
        for number in range(50):
            writer.write(b"%d" % number)
            writer.write(b"\n")
            assert await reader.readline() == b"you said: %d\n" % number
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_when_it_is_sent(run, join):
    """Of the callbacks of one turn the second looks for what the first wrote."""

    async def main():
        transport, _, other = await pair()
        loop = asyncio.get_running_loop()
        seen = []
        loop.call_soon(transport.write, b"1")
        loop.call_soon(lambda: seen.append(arrived(other)))
        loop.call_soon(transport.write, b"2")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert [*seen, arrived(other)] == ([b"1", b"2"] if join == "step" else [b"", b"12"])
        await end(transport, other)

    run(main())


def test_a_slow_turn_does_not_keep_it(run):
    async def main():
        transport, _, other = await pair()
        loop = asyncio.get_running_loop()
        seen = []
        loop.call_soon(transport.write, b"1")
        loop.call_soon(time.sleep, 0.001)
        loop.call_soon(lambda: seen.append(arrived(other)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seen == [b"1"]
        await end(transport, other)

    run(main())


def test_what_a_turn_of_many_tasks_writes(run):
    """Errors, closes and aborts between the joined ones."""

    async def main():
        pairs = [await pair() for _ in range(60)]
        ends = [other for _, _, other in pairs]
        for other in ends[::4]:
            other.close()

        async def write(number, transport):
            transport.write(b"head")
            transport.write(b"%d" % number)
            if number % 4 == 1:
                transport.close()
            elif number % 4 == 2:
                transport.abort()

        await asyncio.gather(*(write(number, transport) for number, (transport, _, _) in enumerate(pairs)))
        await asyncio.sleep(0.01)
        for number, (transport, protocol, other) in enumerate(pairs):
            if number % 4:
                assert arrived(other) == b"head%d" % number
            assert transport.is_closing() is (number % 4 != 3)
            assert len(protocol.events) == (number % 4 != 3)
            await end(transport, other)

    run(main())


def test_the_task_that_a_failure_shows_in(run, join, caplog):
    """By step it is the one that wrote, as with asyncio; by turn the last one has nothing to do with it."""

    async def main():
        transport, _, gone = await pair()
        transport.pause_reading()
        gone.close()
        asyncio.get_running_loop().set_debug(True)
        seen = []

        class Notes(logging.Handler):
            def emit(self, record):
                if "Fatal" in record.getMessage():
                    seen.append(asyncio.current_task())

        async def write():
            transport.write(b"lost")

        handler = Notes()
        logging.getLogger("asyncio").addHandler(handler)
        writer, _ = tasks = [asyncio.create_task(write()), asyncio.create_task(asyncio.sleep(0))]
        await asyncio.wait(tasks)
        logging.getLogger("asyncio").removeHandler(handler)
        assert seen == [writer if join == "step" else None]

    with caplog.at_level(logging.DEBUG, "asyncio"):
        run(main())


def test_the_factory_and_the_keyword():
    for asked, got in [(False, 0), (True, 1), ("step", 1), ("turn", 2)]:
        with contextlib.closing(loopmod.Loop(join_writes=asked)) as made:
            assert made._join_writes == got
    with contextlib.closing(loopmod.new_server_loop()) as joining:
        assert type(joining) is loopmod.Loop
        assert joining._join_writes == 2
        for wrong in (-1, 3, 1 << 70):
            with pytest.raises((ValueError, OverflowError)):
                joining._join_writes = wrong
        with pytest.raises(TypeError):
            joining._join_writes = "turn"
    with pytest.raises(ValueError, match="'step' or 'turn'"):
        loopmod.Loop(join_writes="tick")


PASSING_BY = {
    "shutdown": lambda shown: shown.shutdown(socket.SHUT_WR),
    "getsockopt": lambda shown: shown.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
    "setsockopt": lambda shown: shown.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    "getpeername": lambda shown: shown.getpeername(),
    "getsockname": lambda shown: shown.getsockname(),
    "fileno": lambda shown: os.write(shown.fileno(), b"."),
    "dup": lambda shown: shown.dup().close(),
    "family": lambda shown: shown.family,
    "_sock": lambda shown: shown._sock,
    "repr": repr,
}


@pytest.mark.parametrize("way", PASSING_BY)
def test_the_shown_socket_does_not_pass_by(run, way):
    async def main():
        transport, _, other = await pair()
        shown = transport.get_extra_info("socket")
        assert isinstance(shown, asyncio.trsock.TransportSocket)

        def write():
            transport.write(b"first")
            unsent = arrived(other)
            PASSING_BY[way](shown)
            return unsent, arrived(other)

        unsent, sent = await in_a_step(write)
        assert (unsent, sent.removesuffix(b".")) == (b"", b"first")
        await end(transport, other)

    run(main())


@pytest.mark.parametrize("way", ["fileno", "dup", "_sock_fd", "held"])
def test_nothing_is_joined_where_others_may_send(run, way):
    async def main():
        transport, _, other = await pair()
        shown = transport.get_extra_info("socket")
        kept = {
            "fileno": shown.fileno,
            "dup": shown.dup,
            "_sock_fd": lambda: transport._sock_fd,
            "held": lambda: transport._sock,
        }[way]()

        def write():
            transport.write(b"at once")
            return arrived(other)

        assert await in_a_step(write) == b"at once"
        if way == "held":
            del kept
            assert await in_a_step(write) == b""
        await end(transport, other)

    run(main())


def test_a_socket_that_was_given_and_is_held(run):
    async def main():
        ours, other = socket.socketpair()
        other.setblocking(False)
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(Recorder, ours)

        def write():
            transport.write(b"at once")
            return arrived(other)

        assert await in_a_step(write) == b"at once"
        await end(transport, other)

    run(main())


def test_an_end_comes_in_its_turn(run):
    """What is joined is sent before the transport closes, so that its loss is told before what is scheduled later."""

    async def main():
        transport, protocol, other = await pair()

        def write_and_close():
            transport.write(b"last")
            transport.close()
            asyncio.get_running_loop().call_soon(protocol.events.append, "later")

        await in_a_step(write_and_close)
        assert protocol.events == [None, "later"]
        assert arrived(other) == b"last"
        other.close()

    run(main())
