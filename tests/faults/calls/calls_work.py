"""The work: coroutines that each use one part of a loop from end to end and check what they get.

In a soft run everything has to come out as if there was no shim. In a hard one any OSError may be raised here, and
what has come until then has to be right.
"""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import threading
import time

from calls_links import burst, pipes, port_of, small, start_tls, streams, tcp, tls, unix
from calls_ways import End, Way


class Messages(asyncio.DatagramProtocol):
    """Counts datagrams, which are in order and whole; answers each where it is the server."""

    def __init__(self, work, answers):
        self.work = work
        self.answers = answers
        self.come = []
        self.transport = None
        self.lost = 0
        self.done = work.loop.create_future()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        number = int.from_bytes(data[:2], "big")
        if data[2:] != bytes([number & 0xFF]) * (number * 7 % 1000) or (self.come and number <= self.come[-1]):
            self.work.complain(f"udp: datagram {number} after {self.come[-3:]}")
        self.come.append(number)
        self.work.bytes += len(data)
        if self.answers:
            self.transport.sendto(data, address)

    def error_received(self, exc):
        self.work.tell(exc, "error_received")

    def connection_lost(self, exc):
        self.lost += 1
        if exc is not None:
            self.work.tell(exc, "lost")
        self.done.set_result(None)


async def udp(work, place):
    """Datagrams and their answers, one connected end and one that is not."""
    count = work.rng.randrange(1, 30)
    server = client = None
    try:
        server, far = await work.loop.create_datagram_endpoint(
            lambda: Messages(work, True), local_addr=("127.0.0.1", 0)
        )
        address = server.get_extra_info("sockname")
        if address is None:  # getsockname() failed, which no loop tells
            return
        client, near = await work.loop.create_datagram_endpoint(lambda: Messages(work, False), remote_addr=address)
        for number in range(1, count + 1):
            client.sendto(number.to_bytes(2, "big") + bytes([number & 0xFF]) * (number * 7 % 1000))
            if work.rng.randrange(3) == 0:
                await asyncio.sleep(0)
        patience = 400 if work.is_soft else 15
        while len(near.come) < count and patience and not near.lost and not far.lost:
            patience -= 1
            await asyncio.sleep(0.005)
        if len(near.come) != count:
            work.miss(f"udp: {len(near.come)} of {count} answers, {len(far.come)} came")
    finally:
        for transport in (server, client):
            if transport is not None:
                transport.close()
    await asyncio.wait([near.done, far.done])


async def socks(work, place):
    """The sock_* operations."""
    loop = work.loop
    way = Way(work, "sock", small(work))
    listener = socket.socket()
    near = far = None

    async def accept():
        while True:
            try:
                return await loop.sock_accept(listener)
            except OSError as exc:
                if exc.errno not in (errno.ECONNABORTED, errno.ENOSYS):  # told here, on asyncio too
                    raise

    try:
        listener.setblocking(False)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.socket()
        near.setblocking(False)
        accepting = asyncio.ensure_future(accept())
        try:
            await loop.sock_connect(near, listener.getsockname())
            far, _ = await accepting
        finally:
            accepting.cancel()

        async def send():
            while way.sent < way.total:
                await loop.sock_sendall(near, way.chunk())
            near.shutdown(socket.SHUT_WR)

        async def send_or_close():
            try:
                await send()
            except OSError:
                near.close()
                raise

        sending = asyncio.ensure_future(send_or_close())
        try:
            buffer = bytearray(5000)
            while True:
                if work.rng.randrange(2):
                    data = await loop.sock_recv(far, work.rng.randrange(1, 70000))
                else:
                    data = buffer[: await loop.sock_recv_into(far, buffer)]
                if not data:
                    break
                way.check(data)
            await sending
        finally:
            sending.cancel()
        if not way.is_whole:
            work.miss(f"sock: {way.come} of {way.total}")
    finally:
        for sock in (listener, near, far):
            if sock is not None:
                sock.close()


async def sock_datagrams(work, place):
    loop = work.loop
    near, far = socks = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
    try:
        for sock in socks:
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        for number in range(work.rng.randrange(1, 10)):
            data = bytes([number]) * (number * 100)
            await loop.sock_sendto(near, data, far.getsockname())
            got, address = await loop.sock_recvfrom(far, 2000)
            if got != data or address != near.getsockname():
                work.complain(f"sock_recvfrom: {got[:5]!r} {len(got)} instead of {len(data)} from {address}")
    finally:
        for sock in socks:
            sock.close()


async def readers(work, place):
    """add_reader and add_writer with calls of the program's own."""
    loop, way, done = work.loop, Way(work, "reader", small(work)), work.loop.create_future()
    near, far = socket.socketpair()
    left = [b""]

    def fail(exc):
        if not done.done():
            done.set_exception(exc)

    def on_writable():
        try:
            if not left[0]:
                left[0] = way.chunk()
            if not left[0]:
                loop.remove_writer(near)
                near.shutdown(socket.SHUT_WR)
                return
            left[0] = left[0][near.send(left[0]) :]
        except BlockingIOError:
            pass
        except OSError as exc:
            fail(exc)

    def on_readable():
        try:
            data = far.recv(work.rng.randrange(1, 70000))
        except BlockingIOError:
            return
        except OSError as exc:
            fail(exc)
            return
        way.check(data)
        if not data and not done.done():
            done.set_result(None)

    try:
        near.setblocking(False)
        far.setblocking(False)
        loop.add_reader(far, on_readable)
        loop.add_writer(near, on_writable)
        await done
        if not way.is_whole:
            work.miss(f"reader: {way.come} of {way.total}")
    finally:
        loop.remove_reader(far)
        loop.remove_writer(near)
        near.close()
        far.close()


async def sendfile(work, place):
    """A file over a transport."""
    way = Way(work, "sendfile", small(work) + 1)
    sender = asyncio.Protocol()
    receivers = []

    def receiver():
        receivers.append(End(work, "sendfile", way, None))
        return receivers[-1]

    path = f"{place.file}{os.getpid()}"
    with open(path, "wb") as file:
        file.write(way.take())
    server = await work.loop.create_server(receiver, "127.0.0.1", 0)
    transport = None
    try:
        port = port_of(server)
        transport, _ = await work.loop.create_connection(lambda: sender, "127.0.0.1", port)
        with open(path, "rb") as file:
            sent = await work.loop.sendfile(transport, file)
        if sent != way.total:
            work.complain(f"sendfile: {sent} of {way.total}")
    finally:
        server.close()
        os.unlink(path)
        if transport is not None:
            transport.close()
        elif (
            receivers and receivers[0].transport is not None
        ):  # asyncio's socket that was not made a transport is open as long as what was raised
            receivers[0].transport.close()
        if receivers and receivers[0].made:
            await receivers[0].done


async def process(work, place):
    """What a child is sent comes back."""
    way = Way(work, "process", small(work, 100_000))
    made = await asyncio.create_subprocess_exec("cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    try:
        out, _ = await made.communicate(way.take())
        try:
            await made.stdin.wait_closed()  # which knows what communicate() keeps to itself
        except OSError as exc:
            work.tell(exc, "lost")
        way.check(out)
        code = await made.wait()
        if code != 0 or not way.is_whole:
            work.miss(f"process: {way.come} of {way.total}, code {code}")
    finally:
        if made.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                made.kill()
            await made.wait()


async def threads(work, place):
    """What another thread calls is called, once and in order; what runs there comes back."""
    loop, got, done = work.loop, [], work.loop.create_future()
    count = work.rng.randrange(1, 60)
    rests = [work.rng.choice((0, 0, 0.0005, 0.002)) for _ in range(count)]

    def post(number):
        got.append(number)
        if number == count - 1:
            done.set_result(None)

    def run():
        work.shim.library.calls_thread(1)
        for number in range(count):
            if rests[number]:
                time.sleep(rests[number])  # the loop sleeps meanwhile
            loop.call_soon_threadsafe(post, number)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        await done
        if await loop.run_in_executor(None, os.getpid) != os.getpid():
            work.complain("executor: another process")
    finally:
        thread.join()
    if got != list(range(count)):
        work.complain(f"threads: {got}")


async def timers(work, place):
    """Each comes once, in order, not early."""
    loop, got, done = work.loop, [], work.loop.create_future()
    begun = loop.time()
    delays = [work.rng.randrange(0, 120) / 1e4 for _ in range(work.rng.randrange(1, 20))]

    def fire(delay):
        got.append(delay)
        if loop.time() < begun + delay - loop._clock_resolution:
            work.complain(f"timer: {delay} came after {loop.time() - begun}")
        if len(got) == len(delays):
            done.set_result(None)

    for delay in delays:
        loop.call_at(begun + delay, fire, delay)
    await done
    if got != sorted(delays):
        work.complain(f"timers: {got} instead of {sorted(delays)}")


async def signals(work, place):
    """A signal is told."""
    done = work.loop.create_future()
    work.shim.library.calls_own(1)
    work.loop.add_signal_handler(signal.SIGUSR1, lambda: done.done() or done.set_result(None))
    work.shim.library.calls_own(0)
    try:
        os.kill(os.getpid(), signal.SIGUSR1)
        await done
    finally:
        work.loop.remove_signal_handler(signal.SIGUSR1)


ALL = {
    function.__name__: function
    for function in (
        tcp, unix, tls, burst, streams, start_tls, pipes, udp, socks, sock_datagrams, readers, sendfile, process,
        threads, timers, signals,
    )
}  # fmt: skip
