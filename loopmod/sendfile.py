"""Source: the file that sendfile sends.

asyncio keeps the file's number while it waits for the socket. Who closes the file meanwhile, and opens another that
gets the number, would have that one sent.
"""

import errno
import os
from typing import Any


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
