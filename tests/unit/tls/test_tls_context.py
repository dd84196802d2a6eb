"""What hangs on the SSLContext works on the loop: SNI, key log, messages, tickets, ALPN, late client certificates.

Covers tls/engine.c and tls/handshake.c. OpenSSL calls back in the middle of an operation; a callback may use other
connections, the same one, or the loop.
"""

import asyncio
import os
import ssl
import subprocess
import sys

import pytest
from tcp_support import Recorder, pattern, tcp_pair, turns
from tls_support import (
    HOST,
    RawPeer,
    certificates,
    client_context,
    quiet_drop,
    server_context,
    serving,
    tls_linked,
    tls_pair,
)
from tree import ROOT, SUPPORT


async def link(client, server, near_factory=Recorder, far_factory=Recorder, name=HOST):
    (_, near_protocol), (_, far_protocol) = await tls_pair(client, server, near_factory, far_factory, name)
    return near_protocol, far_protocol


async def check_both_ways(near, far, size=30_000):
    near.received.clear()
    far.received.clear()
    near.transport.write(pattern(size))
    far.transport.write(pattern(size, 2))
    assert await far.until_received(size) == pattern(size)
    assert await near.until_received(size) == pattern(size, 2)


async def end(*protocols):
    for protocol in protocols:
        quiet_drop(protocol.transport)
    await turns(8)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_the_key_log(run, version, tmp_path):
    log = tmp_path / "keys"

    async def main():
        client, server = client_context(version), server_context(version)
        client.keylog_filename = server.keylog_filename = str(log)
        near, far = await link(client, server)
        await check_both_ways(near, far)
        await end(near, far)

    run(main())
    label = "CLIENT_RANDOM" if version == "1.2" else "CLIENT_TRAFFIC_SECRET_0"
    assert log.read_text().count(label) == 2


def test_the_key_log_of_the_environment(kind, tmp_path):
    log = tmp_path / "keys"
    script = (
        "import asyncio, ssl, sys\n"
        "from test_tls_context import *\n"
        "async def main():\n"
        "    client = ssl.create_default_context()\n"
        "    certificates().authority.configure_trust(client)\n"
        "    near, far = await link(client, server_context())\n"
        "    await check_both_ways(near, far)\n"
        "    await end(near, far)\n"
        "import loopmod\n"
        f"factory = asyncio.SelectorEventLoop if {kind!r} == 'asyncio' else loopmod.new_event_loop\n"
        "with asyncio.Runner(loop_factory=factory) as runner: runner.run(main())\n"
    )
    path = os.pathsep.join([os.path.dirname(__file__), str(SUPPORT), str(ROOT)])
    environment = {**os.environ, "SSLKEYLOGFILE": str(log), "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "CLIENT_TRAFFIC_SECRET_0" in log.read_text()


def test_sni_chooses_the_certificate(run):
    async def main():
        names = []
        other = server_context(cert=certificates().named("other.example"))
        server = server_context()

        def choose(sslobj, name, context):
            names.append(name)
            assert context is server
            if name == "other.example":
                sslobj.context = other

        server.sni_callback = choose
        for name in (HOST, "other.example"):
            near, far = await link(client_context(), server, name=name)
            assert near.transport.get_extra_info("peercert")["subjectAltName"][0] == ("DNS", name)
            await check_both_ways(near, far)
            await end(near, far)
        assert names == [HOST, "other.example"]

    run(main())


@pytest.mark.parametrize("outcome", ["alert", "exception"])
def test_sni_refuses(run, outcome, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: None)

    async def main():
        server = server_context()

        def refuse(sslobj, name, context):
            if outcome == "exception":
                raise ZeroDivisionError("on purpose")
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

        server.sni_callback = refuse
        loop = asyncio.get_running_loop()
        near, far = tcp_pair()
        results = await asyncio.gather(
            loop.create_connection(Recorder, sock=near, ssl=client_context(), server_hostname=HOST),
            loop.connect_accepted_socket(Recorder, sock=far, ssl=server),
            return_exceptions=True,
        )
        assert isinstance(results[0], OSError) and isinstance(results[1], ssl.SSLError)

    run(main())


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_the_sni_callback_uses_other_connections(run, size):
    async def main():
        async with tls_linked() as (near, far):

            def busy(sslobj, name, context):
                near.transport.write(pattern(size))
                far.transport.write(pattern(size, 2))

            server = server_context()
            server.sni_callback = busy
            third, fourth = await link(client_context(), server)
            await check_both_ways(third, fourth)
            assert await far.until_received(size) == pattern(size)
            assert await near.until_received(size) == pattern(size, 2)
            await end(third, fourth)

    run(main())


def test_the_sni_callback_starts_and_ends_other_connections(run):
    async def main():
        loop = asyncio.get_running_loop()
        async with tls_linked() as (near, far):
            tasks = []

            def busy(sslobj, name, context):
                near.transport.close()
                tasks.append(loop.create_task(link(client_context(), server_context())))

            server = server_context()
            server.sni_callback = busy
            third, fourth = await link(client_context(), server)
            await check_both_ways(third, fourth)
            await near.lost
            await far.lost
            fifth, sixth = await tasks[0]
            await check_both_ways(fifth, sixth)
            await end(third, fourth, fifth, sixth)

    run(main())


@pytest.mark.skipif(not hasattr(ssl.SSLContext, "_msg_callback"), reason="no message callback")
@pytest.mark.parametrize("action", ["nothing", "write here", "write there", "close here", "abort here"])
def test_the_message_callback(run, kind, action):
    if kind == "asyncio" and action != "nothing":
        pytest.skip("OpenSSL may not be entered twice for one connection, and asyncio may do that")

    async def main():
        async with tls_linked() as (near, far):
            seen = []
            target = None

            def message(sslobj, direction, version, content, kind, data):
                seen.append(direction)
                if target is None or len(seen) > 3:
                    return
                if action == "write here":
                    target.transport.write(b"within")
                elif action == "write there":
                    near.transport.write(b"within")
                elif action == "close here":
                    target.transport.close()
                elif action == "abort here":
                    target.transport.abort()

            server = server_context()
            server._msg_callback = message
            third, fourth = await link(client_context(), server)
            await check_both_ways(third, fourth)
            assert seen
            seen.clear()
            target = fourth
            third.received.clear()
            fourth.received.clear()
            third.transport.write(b"x" * 100)
            if action in ("close here", "abort here"):
                await fourth.lost
                await third.lost
            else:
                await fourth.until_received(100)
                target = None
                if action == "write here":
                    assert (await third.until_received(6)).startswith(b"within")
                if action == "write there":
                    assert (await far.until_received(6)).startswith(b"within")
            await end(third, fourth)

    run(main())


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_sessions_are_resumed(run, version):
    async def main():
        client, server = client_context(version), server_context(version)
        async with serving(context=server) as address:
            sessions = []
            for number in range(3):
                # The session is the raw end's affair: asyncio has no argument for it.
                near = RawPeer(await dialled(address), client)
                if sessions:
                    near.tls.session = sessions[-1]
                await near.handshake()
                assert near.tls.session_reused == (number > 0)
                await near.send(b"x")
                near.sock.setblocking(False)
                try:
                    near.tls.read(1)
                except ssl.SSLWantReadError:
                    pass
                if version == "1.3" and not near.tls.session.has_ticket:
                    near.incoming.write(await near.loop.sock_recv(near.sock, 65536))
                    with pytest.raises(ssl.SSLWantReadError):
                        near.tls.read(1)
                sessions.append(near.tls.session)
                near.close()
            assert server.session_stats()["hits"] == 2

    run(main())


async def dialled(address):
    import socket

    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, address)
    return sock


def test_tickets_among_the_data(run):
    async def main():
        client, server = client_context("1.3"), server_context("1.3")
        server.num_tickets = 8
        near, far = await link(client, server)
        await check_both_ways(near, far)
        assert near.transport.get_extra_info("ssl_object").session.has_ticket
        await end(near, far)

    run(main())


def test_alpn(run):
    async def main():
        client, server = client_context(), server_context()
        client.set_alpn_protocols(["h2", "http/1.1"])
        server.set_alpn_protocols(["http/1.1"])
        near, far = await link(client, server)
        for protocol in (near, far):
            assert protocol.transport.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        await end(near, far)

    run(main())


def test_a_client_certificate_asked_for_later(run):
    async def main():
        client, server = client_context("1.3"), server_context("1.3")
        client.post_handshake_auth = True
        certificates().client.configure_cert(client)
        server.post_handshake_auth = True
        server.verify_mode = ssl.CERT_REQUIRED
        certificates().authority.configure_trust(server)
        server.verify_mode = ssl.CERT_OPTIONAL
        near, far = await link(client, server)
        await check_both_ways(near, far)
        sslobj = far.transport.get_extra_info("ssl_object")
        assert sslobj.getpeercert() is None or sslobj.getpeercert()
        sslobj.verify_client_post_handshake()
        # The request goes out with the next bytes, the answer comes with the next ones of the client.
        await check_both_ways(near, far)
        await check_both_ways(near, far)
        assert ("email", "client@example.org") in sslobj.getpeercert()["subjectAltName"]
        await end(near, far)

    run(main())


def test_channel_binding_is_the_same_on_both_ends(run):
    async def main():
        near, far = await link(client_context("1.2"), server_context("1.2"))
        bindings = {
            protocol.transport.get_extra_info("ssl_object").get_channel_binding("tls-unique")
            for protocol in (near, far)
        }
        assert len(bindings) == 1 and None not in bindings
        await end(near, far)

    run(main())


def test_a_class_of_the_users_in_place_of_sslobject(run):
    kept = []

    class Watched(ssl.SSLObject):
        def write(self, data):
            kept.append(data)
            return super().write(data)

        def read(self, len=1024, buffer=None):
            return super().read(len, buffer) if buffer is not None else super().read(len)

    async def main():
        client, server = client_context(), server_context()
        client.sslobject_class = server.sslobject_class = Watched
        near, far = await link(client, server)
        assert isinstance(near.transport.get_extra_info("ssl_object"), Watched)
        await check_both_ways(near, far)
        await end(near, far)

    run(main())
    assert sum(len(data) for data in kept) >= 60_000
    assert {bytes(data[:1]) for data in kept}


def test_methods_put_in_the_place_of_sslobjects_own(run, monkeypatch):
    seen = {"read": 0, "write": 0}

    def counting(name, method):
        def replaced(self, *args):
            seen[name] += 1
            return method(self, *args)

        monkeypatch.setattr(ssl.SSLObject, name, replaced)

    async def main():
        near, far = await link(client_context(), server_context())
        await check_both_ways(near, far)
        await end(near, far)

    counting("read", ssl.SSLObject.read)
    counting("write", ssl.SSLObject.write)
    run(main())
    assert seen["read"] >= 2 and seen["write"] >= 2


def test_a_call_on_one_ssl_object_touches_no_other_connection(run):
    async def main():
        async with tls_linked() as (near, far), tls_linked() as (third, fourth):
            with pytest.raises(ssl.SSLWantReadError):
                near.transport.get_extra_info("ssl_object").unwrap()
            await check_both_ways(third, fourth)
            await check_both_ways(third, fourth)

    run(main())


def test_the_default_context_verifies(run):
    async def main():
        loop = asyncio.get_running_loop()
        async with serving() as address:
            with pytest.raises(ssl.SSLCertVerificationError):
                await loop.create_connection(Recorder, *address, ssl=True, server_hostname=HOST)

    run(main())


def test_ssl_true_on_a_server_is_refused(run):
    async def main():
        loop = asyncio.get_running_loop()
        with pytest.raises(TypeError, match="SSLContext"):
            await loop.create_server(Recorder, "127.0.0.1", 0, ssl=True)

    run(main())
