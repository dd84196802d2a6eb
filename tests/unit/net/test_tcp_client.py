"""TCP clients: what create_connection resolves, binds and tries, how it fails and how it is cancelled.

Covers net/addr.c and the connecting of net/sockops.c. Relies on the fixtures of net/conftest.py: names are resolved
by a patched socket.getaddrinfo, and a listener whose queue is full stands for a host that does not answer.
"""

import asyncio
import errno
import socket
import sys

import pytest
from tcp_support import Recorder, check, needs_ipv6, open_fds, tcp_pair, turns

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("host", ["127.0.0.1", b"127.0.0.1", "name.test"])
@pytest.mark.parametrize("port_type", [int, str])
def test_host_and_port(run, listener, resolver, host, port_type):
    resolver.names["name.test"] = [listener.getsockname()]
    made = []

    def factory():
        made.append(Recorder())
        return made[-1]

    async def main():
        port = port_type(listener.getsockname()[1])
        transport, protocol = await asyncio.get_running_loop().create_connection(factory, host, port)
        assert made == [protocol]
        assert protocol.transport is transport and protocol.events == ["made"]
        assert transport.get_protocol() is protocol
        assert transport.get_extra_info("peername") == listener.getsockname()
        await check(transport, listener)
        assert bool(resolver.calls) is (host == "name.test")

    run(main())


def test_resolver_arguments(run, listener, resolver):
    resolver.names["name.test"] = [listener.getsockname()]

    async def main():
        transport, _ = await asyncio.get_running_loop().create_connection(
            Recorder, "name.test", "http", family=socket.AF_INET, proto=6, flags=socket.AI_CANONNAME
        )
        await check(transport, listener)
        assert resolver.calls == [("name.test", "http", socket.AF_INET, socket.SOCK_STREAM, 6, socket.AI_CANONNAME)]

    run(main())


@needs_ipv6
@pytest.mark.parametrize("family", [0, socket.AF_INET6])
def test_ipv6(run, family):
    async def main():
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
            transport, _ = await asyncio.get_running_loop().create_connection(
                Recorder, "::1", listener.getsockname()[1], family=family
            )
            assert transport.get_extra_info("peername") == listener.getsockname()
            assert len(transport.get_extra_info("sockname")) == 4
            sock = transport.get_extra_info("socket")
            assert sock.family == socket.AF_INET6
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
            await check(transport, listener)

    run(main())


def test_family_that_does_not_fit(run, listener):
    async def main():
        with pytest.raises(OSError):
            await asyncio.get_running_loop().create_connection(
                Recorder, *listener.getsockname(), family=socket.AF_INET6, flags=socket.AI_NUMERICHOST
            )

    run(main())


def test_refused(run, refusing):
    async def main():
        before = open_fds()
        with pytest.raises(ConnectionRefusedError) as caught:
            await asyncio.get_running_loop().create_connection(Recorder, *refusing)
        assert caught.value.errno == errno.ECONNREFUSED
        assert f"Connect call failed {refusing}" in str(caught.value)
        assert open_fds() == before

    run(main())


def test_next_address_after_a_refusal(run, refusing, listener, resolver):
    resolver.names["two.test"] = [refusing, listener.getsockname()]

    async def main():
        transport, _ = await asyncio.get_running_loop().create_connection(Recorder, "two.test", 80)
        assert transport.get_extra_info("peername") == listener.getsockname()
        await check(transport, listener)

    run(main())


def test_all_addresses_refuse(run, refusing, resolver):
    other = ("127.0.0.2", refusing[1])
    resolver.names["two.test"] = [refusing, other]

    async def main():
        connect = asyncio.get_running_loop().create_connection
        with pytest.raises(OSError) as caught:
            await connect(Recorder, "two.test", 80)
        text = str(caught.value)
        assert text.startswith("Multiple exceptions: ")
        assert text.index(str(refusing)) < text.index(str(other))
        # equal messages are not repeated
        resolver.names["two.test"] = [refusing, refusing]
        with pytest.raises(ConnectionRefusedError):
            await connect(Recorder, "two.test", 80)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="all_errors is new in 3.12")
@pytest.mark.parametrize("delay", [None, 0.01])
def test_all_errors(run, refusing, resolver, delay):
    resolver.names["two.test"] = [refusing, ("127.0.0.2", refusing[1])]

    async def main():
        with pytest.raises(ExceptionGroup) as caught:
            await asyncio.get_running_loop().create_connection(
                Recorder, "two.test", 80, all_errors=True, happy_eyeballs_delay=delay
            )
        assert caught.value.message == "create_connection failed"
        assert [type(exc) for exc in caught.value.exceptions] == [ConnectionRefusedError] * 2

    run(main())


def test_unresolvable(run, resolver):
    resolver.names["none.test"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    resolver.names["empty.test"] = []

    async def main():
        connect = asyncio.get_running_loop().create_connection
        with pytest.raises(socket.gaierror) as caught:
            await connect(Recorder, "none.test", 80)
        assert caught.value.errno == socket.EAI_NONAME
        with pytest.raises(OSError, match=r"getaddrinfo\(\) returned empty list"):
            await connect(Recorder, "empty.test", 80)

    run(main())


def test_local_addr(run, listener):
    async def main():
        connect = asyncio.get_running_loop().create_connection
        address = listener.getsockname()
        transport, _ = await connect(Recorder, *address, local_addr=("127.0.0.3", 0))
        assert transport.get_extra_info("sockname")[0] == "127.0.0.3"
        await check(transport, listener)
        before = open_fds()
        with pytest.raises(OSError) as caught:
            await connect(Recorder, *address, local_addr=address)
        assert caught.value.errno == errno.EADDRINUSE
        assert f"error while attempting to bind on address {address}" in str(caught.value)
        with pytest.raises(OSError, match="no matching local address with family="):
            await connect(Recorder, *address, local_addr=("::1", 0))
        assert open_fds() == before

    run(main())


@needs_ipv6
def test_interleave(run, refusing, resolver):
    port = refusing[1]
    four = [("127.0.0.1", port), ("127.0.0.2", port), ("127.0.0.3", port)]
    with socket.socket(socket.AF_INET6) as six_sock:
        six_sock.bind(("::1", 0))
        six = six_sock.getsockname()
        resolver.names["many.test"] = [*four, six]

        async def order(**options):
            with pytest.raises(OSError) as caught:
                await asyncio.get_running_loop().create_connection(Recorder, "many.test", 80, **options)
            text = str(caught.value)
            return sorted([*four, six], key=lambda address: text.index(str(address)))

        async def main():
            assert await order() == [*four, six]
            assert await order(interleave=1) == [four[0], six, four[1], four[2]]
            assert await order(interleave=2) == [four[0], four[1], six, four[2]]
            assert await order(happy_eyeballs_delay=30) == [four[0], six, four[1], four[2]]

        run(main())


def test_happy_eyeballs_passes_a_silent_host(run, silent, listener, resolver):
    resolver.names["eyes.test"] = [silent, listener.getsockname()]

    async def main():
        await asyncio.get_running_loop().run_in_executor(None, int)
        before = open_fds()
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, "eyes.test", 80, happy_eyeballs_delay=0.02
        )
        assert transport.get_extra_info("peername") == listener.getsockname()
        # the attempt that lost the race is closed
        assert open_fds() == before + 1
        await check(transport, listener)
        await protocol.lost
        assert open_fds() == before

    run(main())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_protocol_factory_raises(run, listener):
    async def main():
        with pytest.raises(ZeroDivisionError):
            await asyncio.get_running_loop().create_connection(lambda: 1 / 0, *listener.getsockname())

    run(main())


@pytest.mark.parametrize("eyeballs", [None, 0.01])
def test_cancelled_while_the_host_is_silent(run, silent, eyeballs):
    async def main():
        loop = asyncio.get_running_loop()
        before = open_fds()
        task = loop.create_task(loop.create_connection(Recorder, *silent, happy_eyeballs_delay=eyeballs))
        await asyncio.sleep(0.02)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await turns()
        assert open_fds() == before

    run(main())


def test_cancelled_at_each_turn(run, errors):
    """Wherever the cancellation falls, no fd stays open and none is closed twice."""

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        await turns()
        before = open_fds()
        ends = set()
        for turn in range(12):
            for given in (False, True):
                if given:
                    near, far = tcp_pair()
                    task = loop.create_task(loop.create_connection(Recorder, sock=near))
                else:
                    task = loop.create_task(loop.create_connection(Recorder, *address))
                await turns(turn)
                task.cancel()
                guards = []
                try:
                    transport, _ = await task
                    ends.add("connected")
                    transport.close()
                except asyncio.CancelledError:
                    ends.add("cancelled")
                await turns()
                # take the numbers that were freed: closing one of them again would show in fstat
                guards = [socket.socket() for _ in range(3)]
                await turns()
                for guard in guards:
                    guard.getsockname()
                    guard.close()
                if given:
                    near.close()
                    far.close()
        assert ends == {"connected", "cancelled"}
        while open_fds() > before:
            await asyncio.sleep(0.001)
        assert open_fds() == before
        server.close()
        await server.wait_closed()

    run(main())
    assert errors == []
