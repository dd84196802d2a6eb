"""What an attacker, a callback or an unusual SSLObject may do to a TLS connection, and to the others of its loop."""

import asyncio
import gc
import ssl
import sys

import pytest
from tcp_support import BufferedRecorder, Recorder, pattern, tcp_pair, turns
from tls_support import HOST, client_context, quiet_drop, server_context, tls_linked, with_raw_peer


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_an_empty_record_does_not_end_the_stream(run, version):
    """Nothing in it is authenticated: anybody on the way can send one."""

    async def main():
        async with with_raw_peer(version=version) as (_, protocol, peer):
            await peer.send(b"hello")
            await protocol.until_received(5)
            await peer.loop.sock_sendall(peer.sock, b"\x17\x03\x03\x00\x00")
            assert isinstance(await protocol.lost, ssl.SSLError)
            assert protocol.events == ["made", "data", "lost"]

    run(main())


@pytest.mark.parametrize("method", ["read", "write"])
def test_bytes_of_one_connection_never_reach_another(run, method):
    """What a finalizer, a signal handler or a profiler writes while an SSLObject's method begins."""

    async def main():
        async with tls_linked() as (near, far), tls_linked() as (other, other_far):
            objects = [end.transport.get_extra_info("ssl_object") for end in (near, far)]
            code = getattr(ssl.SSLObject, method).__code__

            def intrude(frame, event, arg):
                if event == "call" and frame.f_code is code and frame.f_locals["self"] in objects:
                    sys.setprofile(None)
                    other.transport.write(b"secret" * 10_000)

            near.transport.write(b"before")
            await far.until_received(6)
            sys.setprofile(intrude)
            try:
                near.transport.write(b"public" * 10_000)
                received = await far.until_received(60_006)
            finally:
                sys.setprofile(None)
            assert received == b"before" + b"public" * 10_000
            assert await other_far.until_received(60_000) == b"secret" * 10_000

    run(main())
