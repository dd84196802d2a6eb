"""AsyncSSH takes the running loop: a server and a client of it that runs a command there."""

import asyncio

import asyncssh

import loopmod


class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return False  # everybody may come in


def handle(process):
    process.stdout.write(f"{process.command} on {type(asyncio.get_running_loop()).__module__}")
    process.exit(0)


async def main():
    keys = [asyncssh.generate_private_key("ssh-ed25519")]
    listening = {"server_factory": Server, "server_host_keys": keys, "process_factory": handle}
    async with asyncssh.listen("127.0.0.1", 0, **listening) as server:
        connecting = {"username": "guest", "known_hosts": None, "client_keys": None, "config": None}
        async with asyncssh.connect("127.0.0.1", server.get_port(), **connecting) as connection:
            return (await connection.run("echo")).stdout


if __name__ == "__main__":
    print(loopmod.run(main()))
