"""An SSLContext whose wrap_bio() looks for the SSLProtocol that is being made, and one that gives an object of its own."""

import asyncio
import gc
import ssl
import sys

import loopmod

STOCK = "--stock" in sys.argv
new = asyncio.SelectorEventLoop if STOCK else loopmod.new_event_loop
if STOCK:
    print("ok")
    raise SystemExit
from loopmod import _loopmod

USES = [
    lambda found: found.connection_made(Below()),
    lambda found: found._get_extra_info("x"),
    lambda found: (found.get_buffer(1), found.buffer_updated(5)),
    lambda found: found.eof_received(),
    lambda found: found.connection_lost(None),
    lambda found: (found._state, found._is_native, found._app_transport.close()),
]


class Below:
    def write(self, data):
        pass

    def _force_close(self, exc):
        pass

    def close(self):
        pass


class Finds(ssl.SSLContext):
    def wrap_bio(self, *args, **kwargs):
        for found in gc.get_objects():
            if type(found) is _loopmod.SSLProtocol:
                self.use(found)
        return super().wrap_bio(*args, **kwargs)


class Keeps:
    """In the place of what an SSLObject hands everything to; keeps the memory that it is given."""

    kept = []

    def __getattr__(self, name):
        return lambda *args: 0

    def read(self, size, into=None):
        if into is None:
            raise ssl.SSLWantReadError
        self.kept.append(memoryview(into))
        raise ssl.SSLWantReadError

    def write(self, data):
        self.kept.append(memoryview(data))
        return len(data)

    def do_handshake(self):
        pass


class Swaps(ssl.SSLContext):
    def wrap_bio(self, *args, **kwargs):
        made = super().wrap_bio(*args, **kwargs)
        made._sslobj = Keeps()
        return made


def main():
    loop = loopmod.new_event_loop()
    loop.set_exception_handler(lambda loop, context: None)
    for use in USES:
        context = Finds(ssl.PROTOCOL_TLS_CLIENT)
        context.use = use
        try:
            _loopmod.SSLProtocol(loop, asyncio.Protocol(), context, None, False, "localhost")
        except RuntimeError:
            pass
        gc.collect()

    protocol = _loopmod.SSLProtocol(
        loop, asyncio.Protocol(), Swaps(ssl.PROTOCOL_TLS_CLIENT), None, False, "localhost"
    )
    protocol.connection_made(Below())
    for _ in range(3):
        protocol._app_transport.write(b"x" * 1000)
        view = protocol.get_buffer(-1)
        record = b"\x17\x03\x03\x00\x20" + b"y" * 32
        view[: len(record)] = record
        protocol.buffer_updated(len(record))
    kept = [bytes(view) for view in Keeps.kept]
    assert set(kept) <= {b"x" * 1000}, kept

    # What it left unread is not the next connection's.
    class Reads(asyncio.Protocol):
        pass

    other = _loopmod.SSLProtocol(loop, Reads(), ssl.create_default_context(), None, False, "localhost")
    other.connection_made(Below())
    assert other._state.name == "DO_HANDSHAKE", other._state
    for each in (protocol, other):
        each._abort(None)
    loop.close()


main()
print("ok")
