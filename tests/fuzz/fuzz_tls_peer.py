"""The peer of target `tls`: an SSLObject of the ssl module, and what it has seen."""

import _ssl
import contextlib
import ctypes
import ssl


def openssl():
    """The ssl module's OpenSSL; None where it cannot be reached."""
    library = ctypes.CDLL(_ssl.__file__) if hasattr(_ssl, "__file__") else None
    if library is None or not hasattr(library, "SSL_key_update"):
        return None
    library.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return library


OPENSSL = openssl()


class Peer:
    """The other end: the ssl module's own, as long as it plays by the rules."""

    def __init__(self, context, is_server):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=is_server)
        self.wrote = bytearray()
        self.received = bytearray()
        self.is_made = self.is_failed = self.is_closed = False
        self.error = None

    def fail(self, exc):
        """It speaks no more. What its own close has to answer for, and that of the other end, is no error."""
        self.is_failed = True
        if not self.is_closed and not isinstance(exc, ssl.SSLZeroReturnError):
            self.error = exc

    def take(self, data):
        with contextlib.suppress(ssl.SSLError):
            self.incoming.write(data)

    def step(self):
        """As far as it gets with what it has; its records are returned."""
        if not self.is_failed:
            try:
                if not self.is_made:
                    self.tls.do_handshake()
                    self.is_made = True
                while piece := self.tls.read(1 << 16):
                    self.received += piece
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as exc:
                self.fail(exc)
        return self.outgoing.read()

    def write(self, data):
        if self.is_made and not self.is_failed and data:
            try:
                self.tls.write(data)
            except ssl.SSLError as exc:
                self.fail(exc)
                return
            self.wrote += data

    def ask_for_new_keys(self):
        """And, behind that, send a byte. The pointer stands behind the object's header and one word."""
        if self.is_made and not self.is_failed and OPENSSL is not None and self.tls.version() == "TLSv1.3":
            pointer = ctypes.c_void_p.from_address(id(self.tls._sslobj) + object.__basicsize__ + 8).value
            if OPENSSL.SSL_key_update(pointer, 1):
                self.write(b"x")

    def close(self):
        if self.is_made and not self.is_failed:
            self.is_closed = True
            with contextlib.suppress(ssl.SSLError):
                self.tls.unwrap()
