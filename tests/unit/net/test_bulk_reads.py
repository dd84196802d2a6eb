"""Large reads are received into what is delivered: net/stream_read.c. What arrives is what was sent."""

import asyncio
import hashlib
import random

import pytest

SIZES = [1, 100, 32 * 1024 - 1, 32 * 1024, 32 * 1024 + 1, 100 * 1024, 256 * 1024, 256 * 1024 + 1, 1 << 20]


class Kept(asyncio.Protocol):
    """Keeps all, or counts and forgets; pauses now and then."""

    def __init__(self, keeps, chance):
        self.keeps, self.chance, self.chunks, self.digest = keeps, chance, [], hashlib.sha256()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        assert type(data) is bytes and data
        self.digest.update(data)
        if self.keeps:
            self.chunks.append((data, hash(data)))
        if self.chance.random() < 0.1:
            self.transport.pause_reading()
            asyncio.get_running_loop().call_later(0.001, self.transport.resume_reading)

    def connection_lost(self, exc):
        self.lost.set_result(exc)


@pytest.mark.parametrize("keeps", [True, False])
def test_large_and_small_pieces(run, keeps):
    chance = random.Random(7)
    pieces = [chance.randbytes(chance.choice(SIZES)) for _ in range(60)]

    async def main():
        loop = asyncio.get_running_loop()
        made = []
        server = await loop.create_server(lambda: made.append(Kept(keeps, chance)) or made[-1], "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if chance.random() < 0.3:
                await asyncio.sleep(0.001)
        writer.close()
        await writer.wait_closed()
        while not made:
            await asyncio.sleep(0)
        assert await made[0].lost is None
        server.close()
        return made[0]

    protocol = run(main())
    whole = b"".join(pieces)
    assert protocol.digest.digest() == hashlib.sha256(whole).digest()
    if keeps:
        assert b"".join(data for data, _ in protocol.chunks) == whole
        assert all(hash(data) == value and len(data) == len(bytes(data)) for data, value in protocol.chunks)


def test_connection_that_ends_in_the_midst(run):
    async def main():
        loop = asyncio.get_running_loop()
        seen = []

        class Closes(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                seen.append(len(data))
                if sum(seen) > 1 << 20:
                    self.transport.abort()

            def connection_lost(self, exc):
                ended.set()

        ended = asyncio.Event()
        server = await loop.create_server(Closes, "127.0.0.1", 0)
        _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(bytes(16 << 20))
        await ended.wait()
        writer.transport.abort()
        server.close()
        return sum(seen)

    assert run(main()) > 1 << 20
