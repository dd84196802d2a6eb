"""Fixtures of the net tests: pairs, listening, refusing and silent addresses, names that resolve as told.

They rely on nothing but loopback and tcp_support.
"""

import contextlib
import socket

import pytest
from tcp_support import tcp_pair, unix_pair


@pytest.fixture
def pair():
    """A connected socket pair, non-blocking."""
    left, right = unix_pair()
    with left, right:
        yield left, right


@pytest.fixture(params=["tcp", "unix"])
def stream_pair(request):
    """Two connected non-blocking stream sockets, of each family in turn."""
    near, far = tcp_pair() if request.param == "tcp" else unix_pair()
    with near, far:
        yield near, far


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


@pytest.fixture
def refusing():
    """An address on which nobody listens: bound, so that nobody else takes it."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


@pytest.fixture
def silent():
    """An address that takes no connection and refuses none."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.socket())
        sock.bind(("127.0.0.1", 0))
        sock.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield sock.getsockname()


@pytest.fixture
def resolver(monkeypatch):
    """resolver.names maps a name to addresses or an exception; resolver.calls lists what was asked."""
    real = socket.getaddrinfo

    class Resolver:
        def __call__(self, host, port, family=0, type=0, proto=0, flags=0):
            if host not in self.names:
                return real(host, port, family, type, proto, flags)
            self.calls.append((host, port, family, type, proto, flags))
            found = self.names[host]
            if isinstance(found, Exception):
                raise found
            return [(socket.AF_INET6 if ":" in a[0] else socket.AF_INET, socket.SOCK_STREAM, 6, "", a) for a in found]

    resolver = Resolver()
    resolver.names, resolver.calls = {}, []
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    return resolver
