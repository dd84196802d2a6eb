"""Who has a number next is not watched, and of no file that took one is anything sent.

Covers net/readers.c and net/sock_fd.c. Where asyncio refuses the next owner (ENOENT) or sends the next file, what
is right is stated.
"""

import asyncio
import os
import socket
import tempfile

import pytest
from fd_support import LOOPS, Notes, Stranger, noting, play
from tcp_support import turns

pytestmark = pytest.mark.timeout(60)


async def by_callbacks(seen, first, second):
    """A callback is left on a closed socket; the next one with the number adds the other direction."""
    loop = asyncio.get_running_loop()
    old, gone = socket.socketpair()
    fd = old.fileno()
    getattr(loop, f"add_{first}")(old, seen.append, "old")
    old.close()
    new, peer = socket.socketpair()
    if new.fileno() != fd:
        os.dup2(new.fileno(), fd)
        new.close()
        new = socket.socket(fileno=fd)
    peer.send(b"for the new one")
    called = loop.create_future()
    getattr(loop, f"add_{second}")(new, lambda: called.done() or called.set_result(None))
    await called
    await turns()
    seen.append(getattr(loop, f"remove_{first}")(fd))
    seen.append(getattr(loop, f"remove_{second}")(fd))
    for each in (gone, new, peer):
        each.close()


@pytest.mark.parametrize("first, second", [("reader", "writer"), ("writer", "reader")])
@pytest.mark.parametrize("loop", LOOPS)
def test_the_other_direction(loop, first, second):
    assert play(LOOPS[loop], by_callbacks, first, second) == [False, True]


async def in_one_step(seen, kind, is_writer):
    """The number changes hands in the very step that begins to wait for it."""
    ours, other = socket.socketpair()
    transport, protocol = await asyncio.get_running_loop().create_connection(Notes, sock=ours)
    transport.pause_reading()
    await turns()
    fd = ours.fileno()
    if is_writer:
        while not transport.get_write_buffer_size():
            transport.write(b"x" * 1_000_000)
    else:
        transport.resume_reading()
    ours.close()
    stranger = Stranger(kind, fd)
    stranger.speak()
    await asyncio.sleep(0.002)
    seen.append([event for event in protocol.events if event != "pause"])
    transport.abort()
    await turns()
    seen.append([event for event in protocol.events if event != "pause"])
    seen.append(stranger.finish())
    other.close()


# The end of a pipe that is read from is never ready to be written to.
@pytest.mark.parametrize(
    "kind, is_writer",
    [("socket", False), ("datagrams", False), ("pipe", False), ("socket", True), ("datagrams", True)],
)
def test_a_number_that_changes_hands_in_the_step(kind, is_writer):
    expected = play(asyncio.SelectorEventLoop, in_one_step, kind, is_writer)
    for factory in LOOPS.values():
        assert play(factory, in_one_step, kind, is_writer) == expected


async def by_write_pipe(seen, kind):
    """A write pipe watches for its reader's end; the number changes hands before the poll that tells the kernel."""
    loop = asyncio.get_running_loop()
    end, fd = os.pipe()
    file = open(fd, "wb", 0)
    protocol = Notes()
    strangers = []
    transport = loop._make_write_pipe_transport(file, protocol)

    def hand_over():
        file.close()
        strangers.append(Stranger(kind, fd))
        strangers[0].speak()

    loop.call_soon(hand_over)  # after what starts the watch, in the same turn
    await asyncio.sleep(0.01)
    seen.append(protocol.events)
    transport.abort()
    await turns()
    seen.append(strangers[0].finish())
    os.close(end)


@pytest.mark.parametrize("kind", ["socket", "datagrams", "pipe"])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_write_pipe_does_not_take_the_next_owners_input_for_its_end(loop, kind):
    """asyncio watches nothing then: the kernel was told at once, and has forgotten the closed one."""
    events, heard = play(LOOPS[loop], by_write_pipe, kind)
    assert events == [("lost", "EBADF")]
    assert b"mine" in heard


async def by_sendfile(seen, is_reused, has_transport):
    loop = asyncio.get_running_loop()
    ours, other = socket.socketpair()
    ours.setblocking(False)
    other.setblocking(False)
    with tempfile.TemporaryFile() as file, tempfile.TemporaryFile() as strange:
        for each, content in ((file, b"A"), (strange, b"S")):
            each.write(content * 3_000_000)
            each.seek(0)
        transport = None
        if has_transport:
            transport, _ = await loop.create_connection(Notes, sock=ours)
            sending = loop.create_task(loop.sendfile(transport, file, fallback=False))
        else:
            sending = loop.create_task(loop.sock_sendfile(ours, file, fallback=False))
        got = await loop.sock_recv(other, 10)
        fd = file.fileno()
        file.close()
        if is_reused:
            os.dup2(strange.fileno(), fd)
        while not sending.done():
            try:
                got += other.recv(1_000_000)
            except BlockingIOError:
                await asyncio.sleep(0)
        with noting(seen):
            await sending
        seen.append((b"S" in got, strange.tell(), os.lseek(strange.fileno(), 0, os.SEEK_CUR)))
        if is_reused:
            os.close(fd)
    if transport is not None:
        transport.abort()
        await turns()
    ours.close()
    other.close()


@pytest.mark.parametrize("has_transport", [False, True])
@pytest.mark.parametrize("is_reused", [False, True])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_file_that_is_closed_while_it_is_sent(loop, is_reused, has_transport):
    """asyncio sends the next file with its number, and without one waits for ever."""
    seen = play(LOOPS[loop], by_sendfile, is_reused, has_transport)
    assert seen == [("raised", "EBADF"), (False, 0, 0)]


async def pipe_with_a_number_before(seen):
    """A pipe that was closed behind its transport's back; the next one has its number when that transport ends."""
    loop = asyncio.get_running_loop()
    got = loop.create_future()

    class Next(asyncio.Protocol):
        def data_received(self, data):
            got.set_result(data)

    old, gone = os.pipe()
    first, _ = await loop.connect_read_pipe(asyncio.Protocol, open(old, "rb", 0, closefd=False))
    os.close(old)
    new, peer = os.pipe()
    if new != old:
        os.dup2(new, old)
        os.close(new)
    second, _ = await loop.connect_read_pipe(Next, open(old, "rb", 0))
    await turns()
    first.close()
    await turns()
    os.write(peer, b"for the next one")
    seen.append(await asyncio.wait_for(got, 30))
    second.close()
    for each in (gone, peer):
        os.close(each)


@pytest.mark.parametrize("loop", [name for name in LOOPS if name != "asyncio"])
def test_the_end_of_a_pipe_that_lost_its_number_leaves_the_next_one_watched(loop):
    """asyncio takes the number out of its selector, whoever has it."""
    assert play(LOOPS[loop], pipe_with_a_number_before) == [b"for the next one"]


class Asked(socket.socket):
    """Counts how often it is asked for bytes."""

    times = 0

    def recv(self, size):
        self.times += 1
        return super().recv(size)


async def waiting_with_a_number_before(seen):
    """Somebody waits for a socket that is closed, a copy of it is not; who has its number next waits too."""
    loop = asyncio.get_running_loop()
    old, old_peer = socket.socketpair()
    old.setblocking(False)
    fd = old.fileno()
    first = asyncio.ensure_future(loop.sock_recv(old, 100))
    await turns()
    copy = os.dup(fd)
    old.close()
    near, peer = socket.socketpair()
    if near.fileno() != fd:
        os.dup2(near.fileno(), fd)
        near.close()
    else:
        near.detach()
    new = Asked(fileno=fd)
    new.setblocking(False)
    second = asyncio.ensure_future(loop.sock_recv(new, 100))
    await turns()
    before = new.times
    old_peer.send(b"for the old one")
    await asyncio.sleep(0.05)  # turns alone need not ask the kernel
    seen.append(new.times - before)
    peer.send(b"for the new one")
    seen.append(await asyncio.wait_for(second, 30))
    first.cancel()
    os.close(copy)
    for each in (old_peer, peer, new):
        each.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_what_is_told_of_a_number_before_is_not_for_the_next_owner(loop):
    assert play(LOOPS[loop], waiting_with_a_number_before) == [0, b"for the new one"]
