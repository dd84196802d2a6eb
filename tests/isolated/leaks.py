"""Do one thing very often on one loop and see that nothing grows: objects, memory blocks, descriptors, pages.

    python leaks.py asyncio|loopmod CASE [COUNT]

Relies on nothing of the test suite, so that it can run alone. Each case is a function that does the thing
`count` times in batches, so that the peak is the same in the warm-up and in the measured part. Prints what
grew; the exit status says whether that is within the bounds.
"""

import asyncio
import concurrent.futures
import gc
import os
import socket
import sys

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]

BATCH = 500
# The constant noise of the interpreter (caches, free lists, interned numbers), far below one leak per round.
MOST_OBJECTS = 100
MOST_BLOCKS = 1000
MOST_PAGES_KIB = 8 * 1024

CASES = {}


def case(count):
    """Register a case with the number of rounds that is measured."""

    def register(function):
        CASES[function.__name__] = (function, count)
        return function

    return register


def batches(count):
    for start in range(0, count, BATCH):
        yield min(BATCH, count - start)


def turn(loop):
    loop.call_soon(loop.stop)
    loop.run_forever()


async def nothing():
    pass


async def some_steps():
    await asyncio.sleep(0)
    return object()


@case(100_000)
def tasks(loop, count):
    async def main():
        for size in batches(count):
            await asyncio.gather(*[loop.create_task(some_steps()) for _ in range(size)])

    loop.run_until_complete(main())


@case(100_000)
def awaited_tasks(loop, count):
    async def main():
        for _ in range(count):
            await loop.create_task(nothing())

    loop.run_until_complete(main())


@case(100_000)
def futures(loop, count):
    async def main():
        for _ in range(count):
            future = loop.create_future()
            loop.call_soon(future.set_result, object())
            await future

    loop.run_until_complete(main())


@case(100_000)
def future_callbacks(loop, count):
    for size in batches(count):
        for _ in range(size):
            future = loop.create_future()
            for _ in range(3):
                future.add_done_callback(lambda future: None)
            future.remove_done_callback(print)
            future.set_result(object())
        turn(loop)


@case(100_000)
def abandoned_futures(loop, count):
    for _ in range(count):
        future = loop.create_future()
        future.add_done_callback(lambda future: None)


@case(100_000)
def timers_fired(loop, count):
    for size in batches(count):
        for number in range(size):
            loop.call_at(number, id, [number])
        turn(loop)


@case(100_000)
def timers_cancelled(loop, count):
    for size in batches(count):
        handles = [loop.call_later(1000 + number, print, object()) for number in range(size)]
        for handle in handles:
            handle.cancel()
        del handles, handle
        turn(loop)


@case(100_000)
def handles(loop, count):
    for size in batches(count):
        for number in range(size):
            loop.call_soon(id, [number])
            loop.call_soon(print, [number]).cancel()
        turn(loop)


@case(100_000)
def threadsafe(loop, count):
    for size in batches(count):
        for number in range(size):
            loop.call_soon_threadsafe(id, [number])
        turn(loop)


def socket_pair():
    left, right = socket.socketpair()
    left.setblocking(False)
    right.setblocking(False)
    return left, right


@case(50_000)
def socket_messages(loop, count):
    async def echo(sock):
        while data := await loop.sock_recv(sock, 1000):
            await loop.sock_sendall(sock, data)

    async def main():
        left, right = socket_pair()
        room = bytearray(100)
        with left, right:
            echoing = loop.create_task(echo(right))
            for _ in range(count):
                await loop.sock_sendall(left, b"message")
                await loop.sock_recv_into(left, room)
            left.shutdown(socket.SHUT_WR)
            await echoing

    loop.run_until_complete(main())


@case(20_000)
def socket_waits_cancelled(loop, count):
    async def main():
        left, right = socket_pair()
        with left, right:
            for _ in range(count):
                task = loop.create_task(loop.sock_recv(left, 1000))
                await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    loop.run_until_complete(main())


@case(10_000)
def sockets_closed_after_a_wait(loop, count):
    async def main():
        for _ in range(count):
            left, right = socket_pair()
            with left, right:
                task = loop.create_task(loop.sock_recv(left, 1000))
                await asyncio.sleep(0)
                right.send(b"last words")
                await task

    loop.run_until_complete(main())


@case(100_000)
def failing_callbacks(loop, count):
    def fail():
        raise ValueError(object())

    loop.set_exception_handler(lambda loop, context: None)
    for size in batches(count):
        for _ in range(size):
            loop.call_soon(fail)
        turn(loop)


@case(100_000)
def failing_tasks(loop, count):
    async def fail():
        await asyncio.sleep(0)
        raise ValueError(object())

    async def main():
        for size in batches(count):
            await asyncio.gather(*[loop.create_task(fail()) for _ in range(size)], return_exceptions=True)

    loop.run_until_complete(main())


@case(100_000)
def cancelled_tasks(loop, count):
    async def wait():
        await loop.create_future()

    async def main():
        for size in batches(count):
            waiting = [loop.create_task(wait()) for _ in range(size)]
            await asyncio.sleep(0)
            for task in waiting:
                task.cancel("enough")
            await asyncio.gather(*waiting, return_exceptions=True)

    loop.run_until_complete(main())


@case(100_000)
def readers(loop, count):
    left, right = socket.socketpair()
    right.send(b"x")
    for number in range(count):
        loop.add_reader(left, id, [number])
        loop.add_writer(left, id, [number])
        if number % 10 == 0:
            turn(loop)
        loop.remove_reader(left)
        loop.remove_writer(left)
    left.close()
    right.close()


@case(100_000)
def executor_jobs(loop, count):
    async def main():
        for size in batches(count):
            await asyncio.gather(*[loop.run_in_executor(executor, object) for _ in range(size)])

    with concurrent.futures.ThreadPoolExecutor(2) as executor:
        loop.run_until_complete(main())


@case(100_000)
def runs(loop, count):
    future = loop.create_future()
    future.set_result(None)
    for _ in range(count):
        loop.run_until_complete(future)


class Echo(asyncio.Protocol):
    """Sends back what comes."""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Client(asyncio.Protocol):
    """Says one thing and closes when it has come back; `closed` is then done."""

    def __init__(self, loop):
        self.closed = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"x" * 5000)
        self.missing = 5000

    def data_received(self, data):
        self.missing -= len(data)
        if not self.missing:
            self.transport.close()

    def connection_lost(self, exc):
        self.closed.set_result(None)


@case(2000)
def connections(loop, count):
    async def main():
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        for start in range(0, count, 20):
            opened = [
                loop.create_connection(lambda: Client(loop), "127.0.0.1", port) for _ in range(min(20, count - start))
            ]
            for _, client in await asyncio.gather(*opened):
                await client.closed
        server.close()
        await asyncio.sleep(0.05)

    loop.run_until_complete(main())


async def stream_pair(loop, limit):
    left, right = socket_pair()
    reader, writer = await asyncio.open_connection(sock=left, limit=limit)
    return reader, writer, right


@case(40_000)
def stream_messages(loop, count):
    async def main():
        reader, writer, far = await stream_pair(loop, 100)
        for number in range(count):
            size = 1 + number % 300  # beyond twice the limit too, where reading is paused
            far.send(b"x" * size)
            assert await reader.readexactly(size) == b"x" * size
        writer.close()
        far.close()
        await writer.wait_closed()

    loop.run_until_complete(main())


@case(4000)
def stream_faults(loop, count):
    """Streams that end in all the ways that feeding one can fail."""
    loop.set_exception_handler(lambda loop, context: None)

    async def fail(number):
        reader, writer, far = await stream_pair(loop, 2)
        far.send(b"one")
        assert await reader.readexactly(3) == b"one"
        if number % 4 == 0:
            reader._waiter = loop.create_future()
            reader._waiter.set_result(None)
        elif number % 4 == 1:
            reader._eof = True
        elif number % 4 == 2:
            reader.feed_data = None
        else:
            del reader._transport
        far.send(b"longer than the limit")
        while not writer.is_closing():
            await asyncio.sleep(0)
        far.close()
        reader._transport = None
        await asyncio.sleep(0)

    async def main():
        for number in range(count):
            await fail(number)

    loop.run_until_complete(main())


class Answer(asyncio.DatagramProtocol):
    """Sends back what comes; `heard` is done with the first datagram."""

    def __init__(self, loop):
        self.heard = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        if not self.heard.done():
            self.heard.set_result(None)
        self.transport.sendto(data, addr)

    def error_received(self, exc):
        pass


@case(100_000)
def datagrams(loop, count):
    async def main():
        transport, _ = await loop.create_datagram_endpoint(lambda: Answer(loop), ("127.0.0.1", 0))
        peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for peer in peers:
            peer.connect(transport.get_extra_info("sockname"))
            peer.setblocking(False)
        for number in range(count // 4):
            for peer in peers:
                peer.send(b"%d" % number)
                peer.send(b"x" * (1 + number % 2000))  # asyncio of 3.11 answers no empty one
            for peer in peers:
                await loop.sock_recv(peer, 3000)
                await loop.sock_recv(peer, 3000)
            transport.sendto(b"x", ("127.0.0.1", 0))
        transport.close()
        for peer in peers:
            peer.close()
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())


@case(4000)
def datagram_endpoints(loop, count):
    # Ended in each of the ways: answered and aborted; with datagrams queued, aborted or left by its peer.
    async def main():
        server, _ = await loop.create_datagram_endpoint(lambda: Answer(loop), ("127.0.0.1", 0))
        for number in range(count // 2):
            transport, protocol = await loop.create_datagram_endpoint(
                lambda: Answer(loop), remote_addr=server.get_extra_info("sockname")
            )
            transport.sendto(b"hello")
            await protocol.heard
            transport.abort()
            near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            far.bind(f"\0loopmod-{os.getpid()}")
            other, _ = await loop.create_datagram_endpoint(lambda: Answer(loop), sock=near)
            while not other.get_write_buffer_size():
                other.sendto(b"x" * 1000)
            other.sendto(bytearray(1000))
            if number % 2:
                other.abort()
            far.close()
            other.close()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        server.close()
        await asyncio.sleep(0.01)

    loop.run_until_complete(main())


def pipe_files(count):
    for _ in range(count):
        yield [os.fdopen(fd, mode, 0) for fd, mode in zip(os.pipe(), ("rb", "wb"), strict=True)]


class Lost(asyncio.Protocol):
    """Waits for the end."""

    def __init__(self, loop):
        self.lost = loop.create_future()

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, exc):
        self.lost.set_result(None)


@case(5000)
def pipes(loop, count):
    async def main():
        for reader, writer in pipe_files(count):
            _, receiver = await loop.connect_read_pipe(lambda: Lost(loop), reader)
            transport, sender = await loop.connect_write_pipe(lambda: Lost(loop), writer)
            transport.write(b"x" * 100_000)
            transport.close()
            await sender.lost
            await receiver.lost

    loop.run_until_complete(main())


@case(5000)
def broken_pipes(loop, count):
    async def main():
        for reader, writer in pipe_files(count):
            transport, sender = await loop.connect_write_pipe(lambda: Lost(loop), writer)
            transport.write(b"x" * 100_000)
            reader.close()
            await sender.lost
            for _ in range(3):
                transport.write(b"dropped")

    loop.run_until_complete(main())


@case(5000)
def refused_pipes(loop, count):
    with open(__file__, "rb") as file:
        for _ in range(count):
            for make in (loop._make_read_pipe_transport, loop._make_write_pipe_transport):
                try:
                    make(file, Lost(loop))
                except ValueError:
                    continue
                raise AssertionError("a regular file is no pipe")


@case(300)
def processes(loop, count):
    async def main():
        for start in range(0, count, 10):
            started = [
                asyncio.create_subprocess_exec("/bin/cat", stdin=-1, stdout=-1, stderr=-1)
                for _ in range(min(10, count - start))
            ]
            for process in await asyncio.gather(*started):
                assert await process.communicate(b"data") == (b"data", b"")

    asyncio.set_event_loop(loop)
    loop.run_until_complete(main())


@case(300)
def loops(loop, count):
    for _ in range(count):
        other = type(loop)()
        other.call_later(1000, print, object())
        other.call_soon_threadsafe(print).cancel()
        other.run_until_complete(some_steps())
        other.close()


def measure():
    """Tracked objects, memory blocks, descriptors and resident KiB."""
    for _ in range(3):
        gc.collect()
    with open("/proc/self/statm") as file:
        pages = int(file.read().split()[1])
    return {
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "descriptors": len(os.listdir("/proc/self/fd")),
        "KiB": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }


@case(1500)
def tls_connections(loop, count):
    import ssl

    import trustme

    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client, distrustful = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    # A server keeps the sessions of its last 20,480 clients, which would look like a leak.
    server.num_tickets = 0
    server.options |= ssl.OP_NO_TICKET

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.lost = loop.create_future()

        def data_received(self, data):
            self.transport.write(data)

        def connection_lost(self, exc):
            self.lost.set_result(None)

    async def one(address, number):
        context = client if number % 10 else distrustful
        try:
            reader, writer = await asyncio.open_connection(*address, ssl=context, server_hostname="localhost")
        except ssl.SSLError:
            return
        writer.write(b"x" * 20_000)
        await reader.readexactly(20_000)
        if number % 3 == 0:
            writer.transport.abort()
        writer.close()
        await writer.wait_closed()

    async def main():
        listening = await loop.create_server(Echo, "127.0.0.1", 0, ssl=server, backlog=100)
        address = listening.sockets[0].getsockname()
        for start in range(0, count, 25):
            await asyncio.gather(*[one(address, number) for number in range(start, start + 25)])
        listening.close()
        for _ in range(20):
            await asyncio.sleep(0)

    loop.run_until_complete(main())


def main(kind, name, count=None):
    function, usual = CASES[name]
    count = int(count or usual)
    if kind == "asyncio":
        loop = asyncio.SelectorEventLoop()
    else:
        import loopmod

        loop = loopmod.new_event_loop()
    # Twice: what is built up lazily is there after the first, what measuring needs after the second.
    for _ in range(2):
        function(loop, max(count // 10, min(count, BATCH)))
        before = measure()
    function(loop, count)
    after = measure()
    grown = {key: after[key] - before[key] for key in after}
    print(name, count, grown)
    bounds = {"objects": MOST_OBJECTS, "blocks": MOST_BLOCKS, "descriptors": 0, "KiB": MOST_PAGES_KIB}
    loop.close()
    return 0 if all(grown[key] <= bounds[key] for key in bounds) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
