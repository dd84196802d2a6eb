"""What target `tls` has below the connection: a transport in Python, or the loop's own over a socket pair."""

import asyncio
import contextlib
import socket

from fuzz_draw import run_turns


class Below(asyncio.Transport):
    """A transport over nothing: what is written is kept for the peer, what the peer sends comes in drawn pieces."""

    def __init__(self, loop, protocol):
        super().__init__()
        self.loop, self.protocol = loop, protocol
        self.to_peer = bytearray()
        self.waiting = bytearray()
        self.is_paused = self.is_closing_ = self.is_lost = self.is_eof = self.is_full = False
        self.fed = 0

    def begin(self):
        self.protocol.connection_made(self)

    def send(self, data, piece):
        """From the peer."""
        self.waiting += data
        while self.waiting and not self.is_paused and not self.is_closing_ and not self.is_lost:
            room = self.protocol.get_buffer(-1)
            count = min(piece, len(room), len(self.waiting))
            room[:count] = self.waiting[:count]
            del room, self.waiting[:count]
            self.fed += count
            self.protocol.buffer_updated(count)

    def end_of_peer(self):
        if not self.is_eof and not self.is_lost and not self.is_closing_:
            self.is_eof = True
            if not self.protocol.eof_received():
                self.close()

    def received_by_peer(self):
        taken = bytes(self.to_peer)
        self.to_peer.clear()
        return taken

    def set_full(self, is_full):
        if self.is_full != is_full and not self.is_lost:
            self.is_full = is_full
            (self.protocol.pause_writing if is_full else self.protocol.resume_writing)()

    def lose(self, exc):
        if not self.is_lost:
            self.is_lost = self.is_closing_ = True
            self.loop.call_soon(self.protocol.connection_lost, exc)

    def pause_reading(self):
        self.is_paused = True

    def resume_reading(self):
        self.is_paused = False

    def is_reading(self):
        return not self.is_paused

    def is_closing(self):
        return self.is_closing_

    def write(self, data):
        self.to_peer += data

    def writelines(self, pieces):
        for data in pieces:
            self.write(data)

    def get_write_buffer_size(self):
        return 0

    def close(self):
        self.lose(None)

    def abort(self):
        self.lose(None)

    def _force_close(self, exc):
        self.lose(exc)

    def get_protocol(self):
        return self.protocol

    def set_protocol(self, protocol):
        self.protocol = protocol

    def finish(self):
        self.close()


class BelowSocket:
    """The loop's own transport over a socket, with the peer's end of it."""

    def __init__(self, loop, protocol):
        self.loop, self.protocol = loop, protocol
        near, self.far = socket.socketpair()
        for sock in (near, self.far):
            sock.setblocking(False)
        self.near = near
        self.waiting = bytearray()
        self.is_eof = False

    def begin(self):
        self.transport = self.loop._make_socket_transport(self.near, self.protocol)
        run_turns(self.loop, 3)

    def send(self, data, piece):
        self.waiting += data
        while self.waiting and not self.is_eof:
            try:
                sent = self.far.send(self.waiting[: max(piece, len(self.waiting) // 64)])
            except BlockingIOError:
                break
            except OSError:
                self.is_eof = True
                break
            del self.waiting[:sent]
            run_turns(self.loop)
        run_turns(self.loop)

    def end_of_peer(self):
        with contextlib.suppress(OSError):
            self.far.shutdown(socket.SHUT_WR)
        self.is_eof = True
        run_turns(self.loop)

    def received_by_peer(self):
        taken = b""
        with contextlib.suppress(OSError):
            while piece := self.far.recv(1 << 18):
                taken += piece
                run_turns(self.loop)
        return taken

    def set_full(self, is_full):
        run_turns(self.loop)

    def lose(self, exc):
        self.far.close()
        run_turns(self.loop, 2)

    def finish(self):
        self.transport.abort()
        self.far.close()
