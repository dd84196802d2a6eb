"""TLS, byte for byte: random sizes, pauses, buffers and start_tls points; ends on loopmod, asyncio and openssl.

Covers tls/incoming.c and tls/outgoing.c. LOOPMOD_TEST_TLS_CONNECTIONS sets how many connections a run makes (2,000
by hand); the seed is in the test's name.
"""

import asyncio
import contextlib
import os
import queue
import random
import shutil
import ssl
import subprocess
import threading

import pytest
from tcp_support import BufferedRecorder, Recorder, pattern, tcp_pair
from tls_support import HOST, certificates, client_context, limit, server_context

CONNECTIONS = int(os.environ.get("LOOPMOD_TEST_TLS_CONNECTIONS", "12"))
SIZES = (1, 2, 100, 1000, 16383, 16384, 16385, 40_000, 200_000)


class Plan:
    """What one connection does, drawn from a seed: both ends know it."""

    def __init__(self, seed):
        chance = random.Random(seed)
        self.version = chance.choice(["1.2", "1.3", None])
        self.start_tls_after = chance.choice([None, None, 0, 1, 50])
        self.writes = [
            [chance.choice(SIZES) + chance.randrange(5) for _ in range(chance.randrange(1, 8))] for _ in range(2)
        ]
        self.joined = [chance.random() < 0.3 for _ in range(2)]
        self.pausing = [chance.random() for _ in range(2)]
        self.buffers = [chance.choice([None, 1000, 16384, 70_001]) for _ in range(2)]
        self.closer = chance.randrange(2)
        self.chance = [random.Random(seed * 2 + side) for side in range(2)]

    def content(self, side):
        return b"".join(pattern(size, 1 + side + 2 * number) for number, size in enumerate(self.writes[side]))


def protocol_of(plan, side):
    """A factory of protocols that pause now and then, with the plan's kind of buffer."""
    size = plan.buffers[side]

    class Sipping(Recorder if size is None else BufferedRecorder):
        is_sipping = False

        def wake(self):
            super().wake()
            transport = self.transport
            if self.is_sipping and self.events[-1] == "data" and plan.chance[side].random() < plan.pausing[side] / 4:
                transport.pause_reading()
                self.loop.call_later(plan.chance[side].random() / 500, transport.resume_reading)

        if size is not None:

            def get_buffer(self, sizehint):
                return memoryview(super().get_buffer(sizehint))

    if size is not None:
        Sipping.size = size
    return Sipping


async def talk(plan, side, transport, protocol):
    """Send this side's content, get the other's, and end the connection."""
    protocol.is_sipping = True
    sizes = plan.writes[side]
    pieces = [pattern(size, 1 + side + 2 * number) for number, size in enumerate(sizes)]
    if plan.joined[side]:
        transport.writelines(pieces)
    else:
        for piece in pieces:
            transport.write(plan.chance[side].choice([bytes, bytearray, memoryview])(piece))
            if plan.chance[side].random() < 0.5:
                await asyncio.sleep(plan.chance[side].random() / 500)
    wanted = plan.content(1 - side)
    assert await protocol.until_received(len(wanted)) == wanted
    if side == plan.closer:
        transport.close()
    assert await protocol.lost is None or side != plan.closer
    assert bytes(protocol.received) == wanted
    assert protocol.events.count("made") == protocol.events.count("lost") == 1


async def upgrade(plan, side, transport, protocol, context):
    """Some bytes in the clear, then TLS."""
    loop = asyncio.get_running_loop()
    clear = pattern(plan.start_tls_after, 9)
    transport.write(clear)
    # The client begins when the server says that it is ready: no byte of the handshake may come before.
    if side == 1:
        assert await protocol.until_received(len(clear)) == clear
        transport.write(b"!")
        protocol.received.clear()
        upper = await loop.start_tls(transport, protocol, context, server_side=True)
    else:
        assert await protocol.until_received(len(clear) + 1) == clear + b"!"
        protocol.received.clear()
        upper = await loop.start_tls(transport, protocol, context, server_hostname=HOST)
    protocol.transport = upper
    return upper


class Accepting:
    """The server's side: a listening port per plan."""

    def __init__(self, base_seed, count):
        self.base_seed = base_seed
        self.count = count
        self.tasks = []

    async def start(self):
        loop = asyncio.get_running_loop()
        self.servers = []
        ports = []
        for seed in range(self.base_seed, self.base_seed + self.count):
            plan = Plan(seed)

            def factory(plan=plan):
                protocol = protocol_of(plan, 1)()
                made = protocol.connection_made

                def connection_made(transport):
                    made(transport)
                    self.tasks.append(loop.create_task(self.serve(plan, transport, protocol)))

                protocol.connection_made = connection_made
                return protocol

            context = None if plan.start_tls_after is not None else server_context(plan.version)
            server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context)
            self.servers.append(server)
            ports.append(server.sockets[0].getsockname()[1])
        return ports

    async def serve(self, plan, transport, protocol):
        if plan.start_tls_after is not None:
            transport = await upgrade(plan, 1, transport, protocol, server_context(plan.version))
        await talk(plan, 1, transport, protocol)

    async def finish(self):
        while len(self.tasks) < self.count:
            await asyncio.sleep(0.001)
        await asyncio.gather(*self.tasks)
        for server in self.servers:
            server.close()


async def dial_all(base_seed, ports):
    async def dial(seed, port):
        plan = Plan(seed)
        loop = asyncio.get_running_loop()
        options = {}
        if plan.start_tls_after is None:
            options = {"ssl": client_context(plan.version), "server_hostname": HOST}
        transport, protocol = await loop.create_connection(protocol_of(plan, 0), "127.0.0.1", port, **options)
        if plan.start_tls_after is not None:
            transport = await upgrade(plan, 0, transport, protocol, client_context(plan.version))
        await talk(plan, 0, transport, protocol)

    await asyncio.gather(*(dial(base_seed + number, port) for number, port in enumerate(ports)))


def batches(seed):
    """Yield (first seed, number of connections) so that not too many are open at once."""
    for first in range(0, CONNECTIONS, 50):
        yield seed + first, min(50, CONNECTIONS - first)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, 2])
def test_both_ends_on_the_loop(run, seed):
    async def main():
        for base, count in batches(seed * 1_000_000):
            accepting = Accepting(base, count)
            ports = await accepting.start()
            await dial_all(base, ports)
            await accepting.finish()

    run(main())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("side", ["server", "client"])
def test_the_other_end_on_asyncio(run, side):
    """The loop under test holds one side; asyncio, in another thread, the other."""

    ports = queue.SimpleQueue()
    results = []

    async def serve():
        for base, count in batches(5_000_000):
            accepting = Accepting(base, count)
            ports.put(await accepting.start())
            await accepting.finish()

    async def dial():
        for base, _ in batches(5_000_000):
            while ports.empty():
                await asyncio.sleep(0.001)
            await dial_all(base, ports.get())

    def other(main):
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            try:
                results.append(runner.run(main()))
            except BaseException as exc:
                results.append(exc)

    ours, theirs = (serve, dial) if side == "server" else (dial, serve)
    thread = threading.Thread(target=other, args=(theirs,))
    thread.start()
    run(ours())
    thread.join()
    assert results == [None]


OPENSSL = shutil.which("openssl")


@pytest.mark.skipif(OPENSSL is None, reason="needs the openssl program")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_openssl_s_client(run, version):
    content = pattern(300_000).replace(b"\n", b".")

    async def main():
        async def serve(reader, writer):
            got.append(await reader.readexactly(len(content)))
            writer.write(content[::-1])
            writer.close()

        got = []
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_context(version))
        port = server.sockets[0].getsockname()[1]
        process = await asyncio.create_subprocess_exec(
            OPENSSL, "s_client", "-quiet", "-nocommands", f"-tls{version.replace('.', '_')}",
            "-connect", f"127.0.0.1:{port}",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        process.stdin.write(content)
        answer = await process.stdout.readexactly(len(content))
        process.stdin.close()
        await process.wait()
        server.close()
        assert got == [content]
        assert answer == content[::-1]

    run(main())


@pytest.mark.skipif(OPENSSL is None, reason="needs the openssl program")
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_openssl_s_server(run, version, tmp_path):
    content = pattern(300_000).replace(b"\n", b".")
    pem = tmp_path / "server.pem"
    certificates().good.private_key_and_cert_chain_pem.write_to_path(pem)

    async def main():
        process = await asyncio.create_subprocess_exec(
            OPENSSL, "s_server", "-quiet", f"-tls{version.replace('.', '_')}", "-cert", str(pem), "-key", str(pem),
            "-accept", "127.0.0.1:0", "-rev", "-naccept", "1",
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        process.stdin.close()
        port = await listening_port(process.pid)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client_context(version), server_hostname=HOST
        )
        for size in (1, 1000, 16_000):
            writer.write(content[:size] + b"\n")
            assert await reader.readexactly(size + 1) == content[:size][::-1] + b"\n"
        writer.close()
        await writer.wait_closed()
        process.kill()
        await process.wait()

    run(main())


async def listening_port(pid):
    """The port on which a process listens, as the kernel tells it."""
    while True:
        inodes = set()
        for link in os.scandir(f"/proc/{pid}/fd"):
            # The process closes files meanwhile.
            with contextlib.suppress(FileNotFoundError):
                target = os.readlink(link.path)
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
        with open(f"/proc/{pid}/net/tcp") as table:
            for line in list(table)[1:]:
                fields = line.split()
                if fields[9] in inodes and fields[3] == "0A":
                    return int(fields[1].split(":")[1], 16)
        await asyncio.sleep(0.01)


def test_the_oldest_and_the_newest_ciphers(run):
    """Records of every shape: block ciphers with a MAC, GCM, ChaCha, CCM with a short tag."""

    async def main():
        loop = asyncio.get_running_loop()
        names = ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"]
        names += ["ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-CCM8", "ECDHE-ECDSA-AES256-CCM"]
        tried = 0
        for name in names:
            client, server = limit(client_context(), "1.2"), limit(server_context(), "1.2")
            try:
                client.set_ciphers(f"{name}:@SECLEVEL=0")
                server.set_ciphers(f"{name}:@SECLEVEL=0")
            except ssl.SSLError:
                continue
            near, far = tcp_pair()
            ends = await asyncio.gather(
                loop.create_connection(Recorder, sock=near, ssl=client, server_hostname=HOST),
                loop.connect_accepted_socket(Recorder, sock=far, ssl=server),
                return_exceptions=True,
            )
            if any(isinstance(end, BaseException) for end in ends):
                continue  # not with this certificate
            (transport, protocol), (accepted, other) = ends
            tried += 1
            transport.writelines([pattern(size) for size in (1, 100, 5000, 16384)])
            accepted.write(pattern(100_000))
            assert await other.until_received(21485) == b"".join(pattern(s) for s in (1, 100, 5000, 16384))
            assert await protocol.until_received(100_000) == pattern(100_000)
            transport.abort()
            accepted.abort()
        assert tried >= 3

    run(main())
