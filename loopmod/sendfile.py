"""SendfileMixin: what of asyncio's sendfile is done otherwise on a loop of ours: the transport's part, and the file.

asyncio keeps the file's number while it waits for the socket. Who closes the file meanwhile, and opens another that
gets the number, would have that one sent: so Source stands for the number.
"""

import contextlib
import errno
import os
import socket
from typing import Any

from . import _loopmod
from .base import BaseLoop


class Source:
    """A file as its number, that is looked at anew in each call; OSError where the file has it no more."""

    __slots__ = ("_file", "_number")

    def __init__(self, file: Any) -> None:
        self._file = file
        self._number: int | None = None

    def fileno(self) -> "Source":
        """Return what stands for the number; raise what the file raises that has none."""
        self._number = self._file.fileno()
        return self

    def __index__(self) -> int:
        try:
            number = self._file.fileno()
        except ValueError:  # closed
            number = None
        if number is None or number != self._number:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return int(number)


class SendfileMixin(BaseLoop):
    """The methods of a loop by which asyncio sends files."""

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int | None) -> int:
        """Send a file over a transport by the system call; see AbstractEventLoop.sendfile.

        The transport sends what it has first and nothing of its own meanwhile, nor does it read.
        """
        if not isinstance(transp, _loopmod.SocketTransport):
            result: int = await super()._sendfile_native(transp, file, offset, count)  # type: ignore[misc]
            return result
        all_is_sent = transp._make_empty_waiter()
        resume_reading = transp.is_reading()
        transp.pause_reading()
        try:
            await all_is_sent
            return await self.sock_sendfile(transp._sock, file, offset, count, fallback=False)
        finally:
            transp._reset_empty_waiter()
            if resume_reading:
                transp.resume_reading()

    async def _sock_sendfile_native(self, sock: socket.socket, file: Any, offset: int, count: int | None) -> int:
        sent: int = await super()._sock_sendfile_native(sock, Source(file), offset, count)  # type: ignore[misc]
        return sent

    def _sock_sendfile_native_impl(self, fut: Any, registered_fd: int | None, *args: Any) -> None:
        try:
            super()._sock_sendfile_native_impl(fut, registered_fd, *args)  # type: ignore[misc]
        except OSError as exc:
            # The kernel refuses to watch the socket: where the loop called, who waits for the future has to know.
            if registered_fd is None or fut.done():
                raise
            fut.set_exception(exc)

    def _sock_sendfile_update_filepos(self, *args: Any) -> None:
        with contextlib.suppress(OSError):  # closed meanwhile, it stands nowhere
            super()._sock_sendfile_update_filepos(*args)  # type: ignore[misc]
