"""aiosmtpd on loopmod: a mail server on the running loop, and a message that smtplib sends it from a thread.

python examples/recipes/aiosmtpd_server.py
"""

import asyncio
import smtplib

from aiosmtpd.smtp import SMTP

import loopmod


class Mailbox:
    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def handle_DATA(self, server, session, envelope) -> str:
        self.messages.append(envelope.content)
        return "250 taken"


def send(port: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=60) as client:
        client.sendmail("from@example.org", ["to@example.org"], "Subject: hello\r\n\r\nworld\r\n")


async def main() -> list[bytes]:
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, hostname="localhost"), "127.0.0.1", 0)
    async with server:
        await asyncio.to_thread(send, server.sockets[0].getsockname()[1])
    return mailbox.messages


if __name__ == "__main__":
    print(loopmod.run(main()))
