"""aiodns on loopmod: names are looked up without threads; here at a small name server of this program.

python examples/recipes/aiodns_lookup.py
"""

import asyncio
import struct

import aiodns

import loopmod

ADDRESS = bytes([192, 0, 2, 7])


class NameServer(asyncio.DatagramProtocol):
    """Says of every name that it has one address."""

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        (number,) = struct.unpack("!H", data[:2])
        question = data[12 : data.index(b"\0", 12) + 5]
        header = struct.pack("!6H", number, 0x8180, 1, 1, 0, 0)
        record = struct.pack("!3HIH", 0xC00C, 1, 1, 60, len(ADDRESS)) + ADDRESS
        self.transport.sendto(header + question + record, address)


async def main() -> list[str]:
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(NameServer, ("127.0.0.1", 0))
    host, port = server.get_extra_info("sockname")
    resolver = aiodns.DNSResolver([host], udp_port=port, tcp_port=port, timeout=60)
    try:
        names = [f"host{number}.example" for number in range(5)]
        found = await asyncio.gather(*(resolver.query_dns(name, "A") for name in names))
        return [record.data.addr for result in found for record in result.answer]
    finally:
        await resolver.close()
        server.close()


if __name__ == "__main__":
    print(loopmod.run(main()))
