"""Random programs for StreamReader and StreamWriter: both ends of a connection by asyncio's streams API.

What is left out, as kernel and buffers decide it: while more is under way than the kernel holds, a read says how many
bytes it wants; nothing is written to an end that closes in the same step.
"""

import asyncio
import socket
import sys

from transport_links import dial, limit, tcp_listener, tls_contexts
from transport_stage import BIG, TEXT, Stage, open_sockets, pick, unread, unsent

NAME = "streams"
PLAIN = ["stream_unix", "stream_unix_sock", "stream_tcp"]
KINDS = [*PLAIN, "stream_tls", "stream_start_tls"]
LITTLE = 8192
READS = ("read", "readline", "readuntil", "readexactly", "next")


def draw_options(chance, kind):
    is_tls = "tls" in kind
    return {
        "limit": 65536 if is_tls else chance.choice([8, 64, 1000, 65536]),
        "is_callback": chance.random() < 0.3,
        "tls_version": chance.choice(["TLSv1_2", "TLSv1_3"]) if is_tls else None,
    }


def size(chance):
    return chance.choice([0, 1, 3, 7, 20, 63, 64, 65, 129, 1500, 4000])


def draw(chance, kind, options, progress):
    """One operation, and whose."""
    ending = 0.1 + progress
    name = pick(chance, {
        "write": 14, "writelines": 4, "drain": 5, "read": 8, "readline": 6, "readuntil": 6, "readexactly": 6,
        "next": 2, "ask": 3, "limits": 2, "cancel": 3, "big": 1.5, "read_all": 0.4 + ending, "sendfile": 1,
        "write_eof": ending, "close": ending, "abort": ending / 2, "wait_closed": ending, "fail": 0.2, "bad": 0.5,
        "start_tls": 2 if kind == "stream_start_tls" else 0,
    })  # fmt: skip
    arguments = []
    if name == "write":
        arguments = [size(chance), chance.choice(["bytes", "bytearray", "memoryview"])]
    elif name == "writelines":
        arguments = [[size(chance) for _ in range(chance.choice([0, 1, 2, 5, 20]))]]
    elif name in ("read", "readexactly"):
        arguments = [chance.choice([0, 1, 2, 7, 64, 100, 1500, 10_000, 100_000])]
    elif name == "readuntil":
        arguments = [chance.choice([";", "|", "a;", "\n;", "", ["|", ";;"], ["abc", ";"]])]
    elif name == "limits":
        arguments = [chance.choice([None, 0, 1, 1000, 100_000_000])]
    elif name == "sendfile":
        arguments = [chance.choice([0, 1, 1000, 5000]), chance.choice([0, 10]), chance.choice([None, 1, 100])]
    elif name == "bad":
        arguments = [chance.choice(["str", "None", "negative", "read_none"])]
    return chance.randrange(2), [name, *arguments]


class Streams(Stage):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.is_tls = self.kind == "stream_tls"
        self.readers, self.writers, self.numbers = [None, None], [None, None], [-1, -1]
        self.written = [0, 0]
        # Bytes under way: since the way was last empty.
        self.load = [0, 0]
        self.is_bulk = [False, False]
        # Of a bulk: how much its reader has not given yet.
        self.left = [0, 0]
        self.was_closed = [False, False]
        # Has written to an end that is gone, in this step.
        self.has_missed = [False, False]
        self.has_written = [False, False]
        self.has_ended = [False, False]
        self.ended_now = [False, False]
        self.moving = None
        # TLS whose mark is 0, which pauses writing and resumes it at each read and write; and whether a bulk has come
        # by since, of which the kernel decides how many reads and writes it takes.
        self.is_toggling = [False, False]
        self.is_uncounted = [False, False]
        self.server = None

    # The connection

    async def begin(self):
        listener, near = self.listener()
        self.near_number = near.fileno()
        accepted = self.loop.create_future()
        known = open_sockets()
        contexts = tls_contexts(self.options["tls_version"]) if self.is_tls else (None, None)
        more = {} if contexts[0] is None else {"ssl": contexts[0], "server_hostname": "localhost"}
        self.server = await self.serve(self.on_client(accepted), listener, contexts[1])
        opening = asyncio.open_connection if near.family == socket.AF_INET else asyncio.open_unix_connection
        self.readers[0], self.writers[0] = await opening(sock=near, limit=self.options["limit"], **more)
        self.readers[1], self.writers[1] = await accepted
        del near
        self.numbers = [self.near_number, *(open_sockets() - known)]
        self.server.close()

    def listener(self):
        if self.kind in ("stream_unix", "stream_unix_sock"):
            listener = limit(socket.socket(socket.AF_UNIX))
            listener.bind(f"{self.directory}/stream")
            listener.listen()
        else:
            listener = tcp_listener()
        near = dial(listener)
        near.setblocking(False)
        return listener, near

    async def serve(self, callback, listener, context):
        serving = asyncio.start_unix_server if listener.family == socket.AF_UNIX else asyncio.start_server
        return await serving(callback, sock=listener, limit=self.options["limit"], ssl=context)

    def on_client(self, accepted):
        def call(reader, writer):
            accepted.set_result((reader, writer))

        async def coroutine(reader, writer):
            call(reader, writer)

        return call if self.options["is_callback"] else coroutine

    async def finish(self):
        for actor in range(2):
            self.writers[actor].transport.abort()
        await self.settle("end")
        self.readers = self.writers = None

    # Rest

    def new_step(self, number):
        super().new_step(number)
        self.ended_now = [False, False]
        self.has_missed = [False, False]
        self.has_written = [False, False]
        self.was_closed = [self.is_closed(0), self.is_closed(1)]
        self.moving = None

    def is_reading(self, actor):
        reader = self.readers[actor]
        return not (reader._paused or reader._eof or self.is_closed(actor))

    def is_closed(self, actor):
        return self.writers[actor].transport.is_closing()

    def under_way(self, actor):
        """What the actor has written and its peer's reader has not."""
        peer = 1 - actor
        waiting = self.writers[actor].transport.get_write_buffer_size() if not self.is_closed(actor) else 0
        return waiting + unsent(self.numbers[actor]) + unread(self.numbers[peer])

    def waits_for(self):
        if self.writers[0] is None or self.writers[1] is None:
            return None
        for actor in range(2):
            if not self.is_reading(1 - actor):
                continue
            if self.under_way(actor):
                return f"{actor} has bytes"
            if self.has_ended[actor]:
                return f"{actor} ends"
        return "runs" if self.is_busy("sendfile", "start_tls") else None

    def state(self):
        if self.writers[0] is None or self.writers[1] is None:
            return super().state()
        return super().state(), [len(reader._buffer) for reader in self.readers], self.under_way(0), self.under_way(1)

    def at_rest(self):
        for actor in range(2):
            if not self.under_way(actor) and not self.running(actor, "sendfile"):
                self.load[actor] = 0
            if self.is_bulk[actor] and self.left[actor] <= self.options["limit"]:
                self.is_bulk[actor] = False
        for actor in range(2):
            reader, transport = self.readers[actor], self.writers[actor].transport
            exc = reader.exception()
            held = None if self.is_bulk[1 - actor] else self.show(reader._buffer)
            shown = None if exc is None else self.show_exception(exc)
            self.note(actor, "rest", reader.at_eof(), reader._eof, held, shown, transport.is_closing())

    # Operations

    def do(self, actor, operation):
        # One of the loops compared hears later that the other end is gone, since it joins writes.
        if self.is_joined and self.has_missed[actor]:
            self.note(actor, "left out", operation[0])
        else:
            super().do(actor, operation)

    def is_gone(self, actor):
        return self.has_ended[actor] == "closed" or self.was_closed[actor]

    def take(self, actor, count):
        start = self.written[actor] % 65537
        self.written[actor] += count
        self.load[actor] += count
        self.has_written[actor] = True
        self.has_missed[actor] = self.has_missed[actor] or self.is_gone(1 - actor)
        return TEXT[start : start + count]

    def may_carry(self, actor, count):
        if self.is_bulk[actor] or self.running(actor, "sendfile", "start_tls") or self.ended_now[1 - actor]:
            return False
        # TCP may keep a small piece a while that follows another.
        if self.kind == "stream_tcp" and self.has_written[actor]:
            return False
        if self.running(1 - actor, "start_tls"):
            return False
        if self.moving not in (None, actor) and count > 100:
            return False
        return self.load[actor] + count <= LITTLE

    def may_write(self, actor, count, form):
        return self.may_carry(actor, count)

    def op_write(self, actor, count, form):
        data = self.take(actor, count)
        made = {"bytes": bytes, "bytearray": bytearray, "memoryview": memoryview}[form](data)
        return self.writers[actor].write(made)

    def may_writelines(self, actor, sizes):
        # asyncio's has no method to send with after close(), and spins on empty data.
        return not self.is_closed(actor) and self.has_ended[actor] is False and self.may_carry(actor, sum(sizes))

    def op_writelines(self, actor, sizes):
        return self.writers[actor].writelines([self.take(actor, count) for count in sizes if count])

    def may_big(self, actor):
        peer = 1 - actor
        if self.is_gone(peer) or self.is_closed(actor) or self.has_ended[actor] or self.is_bulk[peer]:
            return False
        if self.running(peer, "read", "readline", "readuntil", "next") or self.running(actor, "drain"):
            return False
        return self.moving is None and self.may_carry(actor, 0)

    def op_big(self, actor):
        self.is_bulk[actor] = True
        self.moving = actor
        self.left[actor] = self.load[actor] + len(self.readers[1 - actor]._buffer) + BIG
        self.lose_count()
        return self.writers[actor].write(self.take(actor, BIG))

    def may_sendfile(self, actor, size, offset, count):
        # In how many pieces it arrives, and when, is the kernel's business.
        if self.options["limit"] <= LITTLE or self.load[actor] or self.running(1 - actor, *READS):
            return False
        if self.is_closed(actor) or self.is_gone(1 - actor) or self.has_ended[actor]:
            return False
        # With a mark of 0 it may begin paused, and waits with nothing left, and keeps what comes from the reader.
        return not self.is_toggling[actor] and self.may_carry(actor, size)

    async def op_sendfile(self, actor, size, offset, count):
        with open(f"{self.directory}/sent{actor}", "w+b") as file:
            file.write(self.take(actor, size))
            file.seek(0)
            sent = await self.loop.sendfile(self.writers[actor].transport, file, offset, count)
            return [sent, file.tell()]

    async def op_drain(self, actor):
        return await self.writers[actor].drain()

    def may_drain(self, actor):
        # Whether what is left is above the mark would be the kernel's business.
        return (not self.is_bulk[actor] or self.running(actor, "drain")) and not self.is_uncounted[actor]

    def may_read(self, actor, *arguments):
        return not self.is_bulk[1 - actor] and not self.running(1 - actor, "sendfile")

    may_readline = may_next = may_read

    def may_readuntil(self, actor, separator):
        return self.may_read(actor) and (isinstance(separator, str) or sys.version_info >= (3, 13))

    def given(self, actor, data):
        self.left[1 - actor] -= len(data)
        return data

    async def op_read(self, actor, count):
        return await self.readers[actor].read(count)

    async def op_read_all(self, actor):
        return self.given(actor, await self.readers[actor].read())

    async def op_readline(self, actor):
        return await self.readers[actor].readline()

    async def op_readexactly(self, actor, count):
        return self.given(actor, await self.readers[actor].readexactly(count))

    async def op_readuntil(self, actor, separator):
        encoded = separator.encode() if isinstance(separator, str) else tuple(part.encode() for part in separator)
        return await self.readers[actor].readuntil(encoded)

    async def op_next(self, actor):
        return await anext(self.readers[actor])

    def op_ask(self, actor):
        reader, writer = self.readers[actor], self.writers[actor]
        answers = [reader.at_eof(), writer.is_closing(), writer.can_write_eof(), bool(reader.exception())]
        answers += [writer.get_extra_info(name) is None for name in ("peername", "socket", "sslcontext", "nothing")]
        return answers

    def op_limits(self, actor, high):
        # Any other mark resumes what is paused with nothing left; 0 once more only goes on in turn.
        self.is_toggling[actor] = self.is_tls and high == 0
        self.is_uncounted[actor] = self.is_uncounted[actor] and self.is_toggling[actor]
        self.lose_count()
        return self.writers[actor].transport.set_write_buffer_limits(high)

    def lose_count(self):
        """While bytes move in bulk, either way, it is not known whether an end that toggles is paused after them."""
        if any(self.is_bulk):
            for actor in range(2):
                self.is_uncounted[actor] = self.is_uncounted[actor] or self.is_toggling[actor]

    def may_limits(self, actor, high):
        return not self.is_bulk[actor] and not (self.is_tls and self.is_closed(actor))

    def may_end(self, actor):
        """Whether an end now is seen the same by the peer: nothing in flight either way that could be cut."""
        peer = 1 - actor
        if self.is_bulk[actor] or self.is_bulk[peer] or self.running(actor, "sendfile", "start_tls"):
            return False
        return not self.running(peer, "sendfile", "start_tls") and not self.load[peer] and self.moving is None

    def may_write_eof(self, actor):
        return self.may_end(actor)

    def op_write_eof(self, actor):
        answer = self.writers[actor].write_eof()
        self.has_ended[actor] = self.has_ended[actor] or "eof"
        return answer

    def may_close(self, actor):
        return self.may_end(actor) and not (self.is_tls and self.is_closed(actor))

    def op_close(self, actor):
        self.has_ended[actor] = "closed"
        self.ended_now[actor] = True
        return self.writers[actor].close()

    def may_abort(self, actor):
        return self.may_end(actor) and not (self.is_tls and self.load[actor])

    def op_abort(self, actor):
        self.has_ended[actor] = "closed"
        self.ended_now[actor] = True
        return self.writers[actor].transport.abort()

    async def op_wait_closed(self, actor):
        return await self.writers[actor].wait_closed()

    def op_fail(self, actor):
        return self.readers[actor].set_exception(ValueError("set"))

    async def op_bad(self, actor, what):
        if what == "negative":
            return await self.readers[actor].readexactly(-1)
        if what == "read_none":
            return await self.readers[actor].readuntil(b"")
        return self.writers[actor].write({"str": "text", "None": None}[what])

    def may_start_tls(self, actor):
        # Some versions forget what the reader has got already.
        if (
            self.is_tls
            or any(self.load)
            or any(reader._buffer for reader in self.readers)
            or any(self.has_ended)
            or self.is_closed(0)
            or self.is_closed(1)
        ):
            return False
        return not any(self.running(end, "drain", "sendfile", *READS, "read_all") for end in range(2))

    async def op_start_tls(self, actor):
        self.is_tls = True
        client, server = tls_contexts(self.options["tls_version"])
        await asyncio.gather(
            self.writers[0].start_tls(client, server_hostname="localhost"),
            self.writers[1].start_tls(server),
        )


STAGE = Streams
