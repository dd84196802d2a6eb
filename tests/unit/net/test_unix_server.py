"""Unix servers: the names they listen on, what lies in the way, what is left behind, what is refused.

Covers create_unix_server, net/listener.c and net/addr.c. Relies on unix_support.
"""

import asyncio
import errno
import logging
import os
import socket
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from loop_support import until
from server_support import SINCE_3_13, Listed, listed
from tcp_support import BIG, only_loopmod, pattern, recv_all, recv_exactly, turns
from unix_support import NAMES, is_socket, leave_stale, no_fd_left, raw_client, refused, shown, unprivileged

pytestmark = pytest.mark.timeout(60)

CLEANS_UP = sys.version_info >= (3, 13)


def create(*args, factory=asyncio.Protocol, **options):
    return asyncio.get_running_loop().create_unix_server(factory, *args, **options)


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_names_of_both_ends(run, tmp_path, name):
    name = name(tmp_path)

    async def main():
        factory, made = listed()
        async with await create(name, factory=factory) as server:
            [sock] = server.sockets
            assert sock.family == socket.AF_UNIX and sock.getsockname() == shown(name)
            transport, protocol = await asyncio.get_running_loop().create_unix_connection(Listed2, name)
            await until(lambda: made)
            accepted = made[0].transport
            for end, own, other in ((transport, "", shown(name)), (accepted, shown(name), "")):
                assert end.get_extra_info("sockname") == own
                assert end.get_extra_info("peername") == other
                assert type(end.get_extra_info("sockname")) is type(own)
                sock = end.get_extra_info("socket")
                assert type(sock) is asyncio.trsock.TransportSocket and sock.family == socket.AF_UNIX
            transport.write(b"to the server")
            assert await made[0].until_received(13) == b"to the server"
            accepted.write(b"to the client")
            assert await protocol.until_received(13) == b"to the client"
            transport.close()
            await made[0].lost

    run(main())


class Listed2(Listed):
    made = []


def test_names_asked_for_when_all_is_over(run, tmp_path):
    """The names are those of the open connection, whoever asks late."""
    name = str(tmp_path / "s")

    async def main():
        factory, made = listed()
        async with await create(name, factory=factory):
            with socket.socket(socket.AF_UNIX) as peer:
                peer.bind(str(tmp_path / "peer"))
                peer.setblocking(False)
                await asyncio.get_running_loop().sock_connect(peer, name)
                await until(lambda: made)
            await made[0].lost
        transport = made[0].transport
        assert transport.get_extra_info("peername") == str(tmp_path / "peer")
        assert transport.get_extra_info("sockname") == name
        assert transport.get_extra_info("socket").fileno() == -1

    run(main())


def test_both_ends_are_native(kind, run, tmp_path):
    only_loopmod(kind, "asyncio has one kind of transport")
    from loopmod import _loopmod

    async def main():
        factory, made = listed()
        async with await create(tmp_path / "s", factory=factory) as server:
            listeners = server.get_loop()._listeners
            assert [type(each) for each in listeners.values()] == [_loopmod.Listener]
            transport, _ = await server.get_loop().create_unix_connection(asyncio.Protocol, tmp_path / "s")
            await until(lambda: made)
            assert type(transport) is type(made[0].transport) is _loopmod.SocketTransport
            # no task was made for the connection
            assert asyncio.all_tasks() == {asyncio.current_task()}
            transport.close()
            await made[0].lost

    run(main())


def test_stale_socket_is_replaced(run, tmp_path):
    path = tmp_path / "s"
    leave_stale(path)

    async def main():
        async with await create(path):
            (await raw_client(path)).close()
            await turns()

    run(main())


def test_socket_of_a_living_server_is_replaced(run, tmp_path):
    """asyncio does not ask whether somebody listens; who is connected stays so."""
    path = tmp_path / "s"

    async def main():
        old_factory, old = listed()
        new_factory, new = listed()
        first = await create(path, factory=old_factory)
        peer = await raw_client(path)
        await until(lambda: old)
        second = await create(path, factory=new_factory)
        other = await raw_client(path)
        await until(lambda: new)
        peer.send(b"still here")
        assert await old[0].until_received(10) == b"still here"
        assert (len(old), len(new)) == (1, 1)
        # the first one's file is gone, and it must not take the second one's
        first.close()
        assert is_socket(path)
        second.close()
        peer.close()
        other.close()
        await old[0].lost
        await new[0].lost

    run(main())


@pytest.mark.parametrize("what", ["file", "directory", "dangling link"])
def test_something_else_is_in_the_way(run, tmp_path, what):
    path = tmp_path / "s"
    {"file": path.touch, "directory": path.mkdir, "dangling link": lambda: path.symlink_to("nowhere")}[what]()

    async def main():
        with no_fd_left(), pytest.raises(OSError) as caught:
            await create(path)
        assert caught.value.errno == errno.EADDRINUSE
        assert caught.value.strerror == f"Address {str(path)!r} is already in use"
        assert os.path.lexists(path)

    run(main())


def test_abstract_name_in_use(run, tmp_path):
    name = NAMES["abstract"](tmp_path)

    async def main():
        async with await create(name):
            with no_fd_left(), pytest.raises(OSError, match="is already in use") as caught:
                await create(name)
            assert caught.value.errno == errno.EADDRINUSE
        # free again at once
        (await create(name)).close()

    run(main())


def test_nowhere_to_bind(run, tmp_path):
    async def main():
        with no_fd_left(), pytest.raises(FileNotFoundError):
            await create(tmp_path / "missing" / "s")

    run(main())


@pytest.mark.parametrize("is_given", [False, True], ids=["made", "given"])
def test_serving_that_cannot_start(kind, run, tmp_path, monkeypatch, is_given):
    """The socket is closed, unless it is the program's own."""
    if not is_given and sys.version_info >= (3, 13):
        only_loopmod(kind, "asyncio holds it in a table, as long as the loop lives")

    def refuse(*args):
        raise OSError(errno.EADDRINUSE, "refused")

    async def main():
        monkeypatch.setattr(socket.socket, "listen", refuse)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(tmp_path / "given"))
            with no_fd_left(), pytest.raises(OSError, match="refused"):
                await (create(sock=sock) if is_given else create(tmp_path / "s"))
            assert sock.fileno() >= 0

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio leaves it to the collector
        run(main())


# asyncio closes the socket of a refused name only where bind() raises OSError; before 3.13 not in every case
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize(
    ("name", "error"),
    [("x" * 200, OSError), ("\0" + "x" * 200, OSError), (5, TypeError), (None, ValueError)],
    ids=["long", "long abstract", "number", "none"],
)
def test_unusable_names(run, name, error):
    async def main():
        with pytest.raises(error):
            await create(name)

    run(main())


def test_directory_without_permission(run, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir()
    os.chmod(tmp_path, 0o755)
    closed.chmod(0o555)

    async def main():
        with unprivileged(), no_fd_left(), pytest.raises(PermissionError):
            await create(closed / "s")

    run(main())


@pytest.fixture
def open_directory():
    """A directory that other users reach: those that pytest makes are its user's alone."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes the files of two users")
def test_stale_socket_of_somebody_else(run, open_directory, caplog):
    """In a directory like /tmp it cannot be removed: asyncio says so, and binding fails."""
    open_directory.chmod(0o1777)
    path = str(open_directory / "s")
    leave_stale(path)

    async def main():
        with unprivileged(), no_fd_left(), pytest.raises(OSError) as caught:
            await create(path)
        assert caught.value.errno == errno.EADDRINUSE

    with caplog.at_level(logging.ERROR, "asyncio"):
        run(main())
    [record] = caplog.records
    assert record.getMessage().startswith(f"Unable to check or remove stale UNIX socket {path!r}: PermissionError(")


def test_socket_that_others_may_not_use(run, open_directory):
    path = open_directory / "s"
    open_directory.chmod(0o755)

    async def main():
        async with await create(path) as server:
            path.chmod(0o600)
            with unprivileged(), no_fd_left():
                if os.geteuid() == path.stat().st_uid:
                    path.chmod(0)
                with pytest.raises(PermissionError):
                    await server.get_loop().create_unix_connection(asyncio.Protocol, path)
            path.chmod(0o666)
            with unprivileged():
                (await raw_client(path)).close()
            await turns()

    run(main())


def test_file_is_removed_with_the_server(run, tmp_path):
    path = tmp_path / "s"

    async def main():
        server = await create(path)
        assert is_socket(path)
        server.close()
        assert is_socket(path) is not CLEANS_UP
        server.close()
        await server.wait_closed()
        assert server.sockets == ()

    run(main())


@SINCE_3_13
def test_file_is_left_on_request(run, tmp_path):
    path = tmp_path / "s"

    async def main():
        (await create(path, cleanup_socket=False)).close()
        assert is_socket(path)
        # found stale by the next one, which cleans up
        (await create(path, cleanup_socket=True)).close()
        assert not path.exists()

    run(main())


@pytest.mark.parametrize("what", ["gone", "file", "other socket"])
def test_only_its_own_file_is_removed(run, tmp_path, what):
    path = tmp_path / "s"

    async def main():
        server = await create(path)
        # not simply deleted: the file system might use the number of the inode again
        path.rename(tmp_path / "moved")
        if what == "file":
            path.touch()
        elif what == "other socket":
            leave_stale(path)
        server.close()
        assert path.exists() is (what != "gone")
        assert (tmp_path / "moved").exists()

    run(main())


def test_socket_given(run, tmp_path):
    path = tmp_path / "s"

    async def main():
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(path))
        factory, made = listed()
        server = await create(factory=factory, sock=sock)
        assert sock.gettimeout() == 0
        assert [each.fileno() for each in server.sockets] == [sock.fileno()]
        with await raw_client(path):
            await until(lambda: made)
        await made[0].lost
        server.close()
        assert sock.fileno() == -1
        assert path.exists() is not CLEANS_UP
        await server.wait_closed()

    run(main())


ONLY_SSL = "is only meaningful with ssl"
BAD = [
    ({}, ValueError, "path was not specified, and no sock specified"),
    ({"path": "x", "sock": "unix"}, ValueError, "path and sock can not be specified at the same time"),
    ({"sock": "inet"}, ValueError, "A UNIX Domain Stream Socket was expected, got"),
    ({"sock": "datagram"}, ValueError, "A UNIX Domain Stream Socket was expected, got"),
    ({"path": "x", "ssl": True}, TypeError, "ssl argument must be an SSLContext or None"),
    ({"path": "x", "ssl": False}, TypeError, "ssl argument must be an SSLContext or None"),
    ({"path": "x", "ssl_handshake_timeout": 1}, ValueError, f"ssl_handshake_timeout {ONLY_SSL}"),
    ({"path": "x", "ssl_shutdown_timeout": 1}, ValueError, f"ssl_shutdown_timeout {ONLY_SSL}"),
    ({"path": "x", "nonsense": 1}, TypeError, "nonsense"),
]


@pytest.mark.parametrize(("arguments", "error", "text"), BAD)
def test_bad_arguments(run, arguments, error, text):
    run(refused(create, arguments, error, text))
    assert not os.path.exists("x")


def test_start_serving_later(run, tmp_path):
    path = tmp_path / "s"

    async def main():
        factory, made = listed()
        server = await create(path, factory=factory, start_serving=False)
        assert not server.is_serving() and is_socket(path)
        with pytest.raises(ConnectionRefusedError):
            await raw_client(path)
        await server.start_serving()
        with await raw_client(path):
            await until(lambda: made)
        await made[0].lost
        server.close()
        await server.wait_closed()

    run(main())


@pytest.mark.parametrize("backlog", [1, 3, 100])
def test_backlog_is_drained(run, errors, tmp_path, backlog):
    """More clients than one turn accepts; each is served, also those that ended before."""
    path = str(tmp_path / "s")

    async def main():
        factory, made = listed()
        async with await create(path, factory=factory, backlog=backlog):
            for _ in range(5):
                peers = []
                for _ in range(backlog):
                    peer = socket.socket(socket.AF_UNIX)
                    peer.connect(path)
                    peer.send(b"hello")
                    peers.append(peer)
                for peer in peers:
                    peer.close()
                await until(lambda: sum(each.received == b"hello" for each in made) == len(peers))  # noqa: B023
                for protocol in made:
                    await protocol.lost
                made.clear()

    run(main())
    assert errors == []


def test_clients_outlive_the_server(run, errors, tmp_path):
    path = tmp_path / "s"

    async def main():
        factory, made = listed()
        server = await create(path, factory=factory)
        peer = await raw_client(path)
        await until(lambda: made)
        server.close()
        waits = asyncio.ensure_future(server.wait_closed())
        made[0].transport.write(pattern(BIG))
        assert await recv_exactly(peer, BIG) == pattern(BIG)
        # until 3.12.1 whoever came after close() did not wait
        assert waits.done() is (sys.version_info < (3, 12, 1))
        peer.close()
        await waits

    run(main())
    assert errors == []


@SINCE_3_13
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_clients_are_closed_or_aborted(run, errors, tmp_path, method):
    path = tmp_path / "s"

    async def main():
        factory, made = listed()
        server = await create(path, factory=factory)
        peers = [await raw_client(path) for _ in range(3)]
        await until(lambda: len(made) == 3)
        for protocol in made:
            protocol.transport.write(pattern(BIG))
        server.close()
        getattr(server, method)()
        got = [await recv_all(peer) for peer in peers]
        await server.wait_closed()
        for data, protocol, peer in zip(got, made, peers, strict=True):
            assert (data == pattern(BIG)) is (method == "close_clients")
            assert protocol.events[-1] == "lost" and protocol.exception is None
            peer.close()

    run(main())
    assert errors == []


def test_streams(run, errors, tmp_path):
    path = tmp_path / "s"

    async def handle(reader, writer):
        async for line in reader:
            writer.write(line.upper())
            await writer.drain()
        writer.close()
        await writer.wait_closed()

    async def main():
        async with await asyncio.start_unix_server(handle, path, limit=2**17, backlog=5):
            reader, writer = await asyncio.open_unix_connection(path, limit=2**18)
            assert writer.get_extra_info("peername") == str(path)
            assert writer.get_extra_info("sockname") == ""
            writer.write(b"a line\n")
            assert await reader.readline() == b"A LINE\n"
            writer.write(b"x" * 100_000 + b"\n")
            assert await reader.readline() == b"X" * 100_000 + b"\n"
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()

    run(main())
    assert errors == []
