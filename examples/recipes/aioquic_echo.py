"""aioquic on loopmod: a QUIC server that answers in capitals and a client, whose packets leave and come in bursts.

python examples/recipes/aioquic_echo.py
"""

import asyncio
import datetime
import ipaddress
import ssl

from aioquic.asyncio import connect, serve
from aioquic.quic.configuration import QuicConfiguration
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import loopmod


def server_configuration() -> QuicConfiguration:
    """One with a certificate of its own making."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    configuration = QuicConfiguration(is_client=False, alpn_protocols=["echo"])
    configuration.certificate, configuration.private_key = certificate, key
    return configuration


def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def echo() -> None:
        writer.write((await reader.read()).upper())
        writer.write_eof()

    tasks.add(asyncio.ensure_future(echo()))


tasks: set[asyncio.Future[None]] = set()


async def main() -> list[int]:
    server = await serve("127.0.0.1", 0, configuration=server_configuration(), stream_handler=answer)
    port = server._transport.get_extra_info("sockname")[1]  # serve() gives no other way to the port
    configuration = QuicConfiguration(alpn_protocols=["echo"], verify_mode=ssl.CERT_NONE)
    sizes = []
    async with connect("127.0.0.1", port, configuration=configuration) as client:
        for size in (6, 100_000):
            reader, writer = await client.create_stream()
            writer.write(b"x" * size)
            writer.write_eof()
            sizes.append((await asyncio.wait_for(reader.read(), 60)).count(b"X"))
    server.close()
    return sizes


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loopmod.new_server_loop) as runner:
        print(runner.run(main()))
