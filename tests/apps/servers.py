"""Real servers for the tests of their clients: PostgreSQL and Redis, each a process of its own in a new directory.

A server listens on a free port of the loopback and takes TLS, too. Where its program is not installed whoever asks
for it is skipped (`make servers` installs both). The fixtures are in conftest.py.
"""

import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

START_LIMIT = 30
# A library that is loaded before all others is meant for Python.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("LD_", "ASAN_", "UBSAN_"))}


@dataclass
class Address:
    """Where a server is, and the context in which its certificate is trusted."""

    host: str
    port: int
    tls_port: int
    directory: Path
    trust: ssl.SSLContext


def free_ports(count):
    """Ports below those that the kernel gives to connections, one of which might have taken a free one meanwhile."""
    with contextlib.ExitStack() as held:
        ports = []
        while len(ports) < count:
            port = random.SystemRandom().randrange(10_000, 32_768)
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
        return ports


def wait_for(port, process):
    """Return True when something listens; False when the process ended instead."""
    until = time.monotonic() + START_LIMIT
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        time.sleep(0.02)
    return False


def stop(process, how):
    process.send_signal(how)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextlib.contextmanager
def directory_for(user):
    """A directory that the user may enter; pytest's own ones are for whoever runs the tests alone."""
    path = Path(tempfile.mkdtemp(prefix="loopmod-"))
    try:
        if user is not None:
            os.chown(path, user.pw_uid, user.pw_gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def make_certificate(directory, user):
    """Write cert.pem and key.pem for 127.0.0.1, and ca.pem; return the context that trusts them."""
    trustme = pytest.importorskip("trustme")
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", "localhost")
    (directory / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    (directory / "key.pem").write_bytes(issued.private_key_pem.bytes())
    for name in ("cert.pem", "key.pem"):
        (directory / name).chmod(0o600)
        if user is not None:
            os.chown(directory / name, user.pw_uid, user.pw_gid)
    (directory / "ca.pem").write_bytes(authority.cert_pem.bytes())
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextlib.contextmanager
def serving(start, how):
    """Start a server, which another process may have taken the port from; end it afterwards."""
    for _ in range(3):
        process, address = start()
        if wait_for(address.port, process):
            break
        stop(process, how)
    else:
        pytest.fail(f"the server did not start:\n{(address.directory / 'log').read_text(errors='replace')}")
    try:
        yield address
    finally:
        stop(process, how)


def find_postgres():
    """The directory of PostgreSQL's programs, which Debian keeps off PATH."""
    beside = shutil.which("initdb")
    found = [Path(beside).resolve().parent] if beside else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((path for path in reversed(found) if (path / "postgres").exists()), None)


def unprivileged():
    """Whom PostgreSQL runs as, since it refuses root; None where the tests have no root to give up."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    pytest.skip("no user that PostgreSQL could run as")


@contextlib.contextmanager
def postgres():
    """A PostgreSQL whose superuser `tester` needs no password."""
    programs = find_postgres()
    if programs is None:
        pytest.skip("PostgreSQL is not installed: make servers")
    user = unprivileged()
    identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
    with directory_for(user) as directory:
        data = directory / "data"
        options = ["-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"]
        done = subprocess.run(
            [programs / "initdb", *options],
            cwd=directory,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=60,
            **identity,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        trust = make_certificate(directory, user)
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": directory,
            "fsync": "off",
            "max_connections": "50",
            "ssl": "on",
            "ssl_cert_file": directory / "cert.pem",
            "ssl_key_file": directory / "key.pem",
        }

        def start():
            (port,) = free_ports(1)
            words = [f"{name}={value}" for name, value in {**settings, "port": port}.items()]
            with open(directory / "log", "wb") as log:
                process = subprocess.Popen(
                    [programs / "postgres", "-D", data, *(word for pair in words for word in ("-c", pair))],
                    cwd=directory,
                    env=ENVIRONMENT,
                    stdout=log,
                    stderr=log,
                    **identity,
                )
            return process, Address("127.0.0.1", port, port, directory, trust)

        with serving(start, signal.SIGINT) as address:  # which ends the sessions of its clients
            wait_until_accepting(address)
            yield address


def wait_until_accepting(address):
    """It listens before it takes sessions."""
    until = time.monotonic() + START_LIMIT
    while b"ready to accept connections" not in (address.directory / "log").read_bytes():
        assert time.monotonic() < until, "the server takes no sessions"
        time.sleep(0.02)


@contextlib.contextmanager
def redis():
    """A Redis that keeps nothing on disk."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("Redis is not installed: make servers")
    with directory_for(None) as directory:
        trust = make_certificate(directory, None)
        base = {
            "bind": "127.0.0.1",
            "dir": str(directory),
            "save": "",
            "unixsocket": str(directory / "redis.sock"),
            "tls-cert-file": str(directory / "cert.pem"),
            "tls-key-file": str(directory / "key.pem"),
            "tls-ca-cert-file": str(directory / "ca.pem"),
            "tls-auth-clients": "no",
        }

        def start():
            port, tls_port = free_ports(2)
            settings = {**base, "port": str(port), "tls-port": str(tls_port)}
            words = [word for name, value in settings.items() for word in (f"--{name}", value)]
            with open(directory / "log", "wb") as log:
                process = subprocess.Popen([program, *words], cwd=directory, env=ENVIRONMENT, stdout=log, stderr=log)
            return process, Address("127.0.0.1", port, tls_port, directory, trust)

        with serving(start, signal.SIGTERM) as address:
            yield address
