"""The face of calls_shim.c: which call may fail how; built on demand, preloaded by starting anew, armed and asked."""

import ctypes
import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
SOURCES = [HERE / "calls_shim.c", HERE / "calls_plan.h"]

# What a fault may be besides an errno.
PARTS = {"SHORT": 1001, "FEWER": 1002, "EARLY": 1003, "FALSE": 1004}

IN = ("EINTR EAGAIN SHORT", "ECONNRESET ETIMEDOUT ENOMEM")
OUT = ("EINTR EAGAIN SHORT", "EPIPE ECONNRESET ENOBUFS ENOMEM")
NEW = "EMFILE ENFILE ENOMEM"
# Each call: its soft faults, which must not be seen, and its hard ones, which must be told.
ERRORS = {
    **dict.fromkeys(("read", "readv", "recv", "recvfrom", "recvmsg"), IN),
    **dict.fromkeys(("write", "writev", "send", "sendto", "sendmsg"), OUT),
    "recvmmsg": ("EINTR EAGAIN ENOSYS", "ECONNRESET ETIMEDOUT ENOMEM"),
    "sendmmsg": ("EINTR EAGAIN ENOSYS", "ENOBUFS ENOMEM"),
    "sendfile": ("EINTR EAGAIN SHORT", "EIO ECONNRESET EPIPE ENOMEM"),
    "accept": ("EINTR EAGAIN ECONNABORTED", "EMFILE ENFILE ENOBUFS ENOMEM EPROTO"),
    "accept4": ("EINTR EAGAIN ECONNABORTED ENOSYS", "EMFILE ENFILE ENOBUFS ENOMEM EPROTO"),
    "connect": ("EINTR", "ECONNREFUSED ETIMEDOUT ENOBUFS ENOMEM EADDRNOTAVAIL"),
    "socket": ("", NEW + " ENOBUFS"),
    **dict.fromkeys(("socketpair", "pipe", "dup", "epoll_create"), ("", NEW)),
    **dict.fromkeys(("pipe2", "epoll_create1", "pidfd_open"), ("ENOSYS", NEW)),
    "eventfd": ("ENOSYS EMFILE ENFILE ENOMEM", ""),  # a pipe takes its place
    "timerfd_create": ("ENOSYS EMFILE ENFILE ENOMEM", ""),  # without it only precision is lost
    "timerfd_settime": ("ENOMEM", ""),
    "epoll_ctl": ("", "ENOMEM ENOSPC"),
    "epoll_wait": ("EINTR FEWER EARLY FALSE", ""),
    "poll": ("EINTR", "ENOMEM"),
    "bind": ("", "EADDRINUSE ENOMEM"),
    "listen": ("", "EADDRINUSE"),
    "shutdown": ("", "ENOTCONN ENOBUFS"),
    **dict.fromkeys(("getsockopt", "setsockopt"), ("", "ENOMEM ENOBUFS")),
    "getsockname": ("", "ENOBUFS"),
    "getpeername": ("", "ENOTCONN ENOBUFS"),
    "close": ("", "EINTR EIO ENOSPC"),
    "fcntl": ("", "EMFILE"),  # of those that duplicate
    **dict.fromkeys(("waitpid", "waitid"), ("EINTR", "")),
}
# Where CPython itself has another way without one of the newer calls; the others are ours.
PYTHON_FALLS_BACK = ("pidfd_open",)
# Faults of a loop that can be planted, to see that they are found: a short count is taken for the whole, or what was
# sent is sent again; a close that failed is none; a refused registration is taken for made; a read that failed is
# tried for ever; an error is kept back.
PLANTS = ("", "short", "twice", "leak", "deaf", "spin", "untold")


class Fault(NamedTuple):
    """One that was injected: at which call, the how manieth of its kind and of all."""

    call: str
    fd: int
    err: int
    nth: int
    total: int

    @property
    def name(self):
        return name_of(self.err)

    def __str__(self):
        return f"{self.call}#{self.nth}(fd {self.fd}) {self.name}"


def number_of(name):
    return PARTS.get(name) or getattr(errno, name)


def name_of(err):
    for name, number in PARTS.items():
        if number == err:
            return name
    return errno.errorcode.get(err, str(err))


def build():
    """Compile the shim if that has not been done; return its path, or None where there is no compiler."""
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    text = b"".join(path.read_bytes() for path in SOURCES)
    made = ROOT / "build" / "faults" / f"calls_shim-{hashlib.sha256(text).hexdigest()[:16]}.so"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        fresh = made.with_suffix(f".{os.getpid()}")
        command = [
            compiler,
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Wextra",
            "-o",
            fresh,
            SOURCES[0],
            "-ldl",
            "-lpthread",
        ]
        subprocess.run(command, check=True)
        fresh.replace(made)
    return made


def start_preloaded():
    """Start this program anew with the shim loaded, unless it is."""
    if hasattr(ctypes.CDLL(None), "calls_arm"):
        os.environ.pop("LD_PRELOAD", None)  # not for the children
        return
    library = build()
    if library is None:
        sys.exit("faults-calls: skipped, needs Linux and a C compiler")
    preload = ":".join(filter(None, [os.environ.get("LD_PRELOAD"), str(library)]))
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, "LD_PRELOAD": preload})


class _Fault(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ("call", "fd", "err", "nth", "total")]


class Shim:
    """The loaded library."""

    def __init__(self, *, has_fallbacks=True):
        self.library = library = ctypes.PyDLL(None)
        library.calls_name.restype = ctypes.c_char_p
        self.names = []
        while (name := library.calls_name(len(self.names))) is not None:
            self.names.append(name.decode())
        for call, name in enumerate(self.names):
            for is_hard in (0, 1):
                errors = ERRORS[name][is_hard].split()
                if not has_fallbacks:
                    errors = [error for error in errors if error != "ENOSYS" or name in PYTHON_FALLS_BACK]
                for place, error in enumerate(errors):
                    library.calls_allow(call, is_hard, place, number_of(error))

    def arm(self, seed, soft_rate=0, hard_count=0, hard_gap=1, hard_runs=1, idle_limit=400, total_limit=400_000):
        """Let this thread's calls fail: so many of 1024 softly, and so many hard."""
        self.library.calls_arm(
            ctypes.c_uint64(seed), soft_rate, hard_count, hard_gap, hard_runs, idle_limit, total_limit
        )

    def point(self, call, nth, error):
        """Let one call fail, and none else."""
        self.library.calls_point(self.names.index(call), nth, number_of(error))

    def plant(self, name):
        self.library.calls_plant(PLANTS.index(name))

    def faults(self):
        found, one = [], _Fault()
        for index in range(self.library.calls_fault_count()):
            self.library.calls_fault(index, ctypes.byref(one))
            found.append(Fault(self.names[one.call], one.fd, one.err, one.nth, one.total))
        return found

    def able(self):
        """How many calls of each kind a point could be."""
        return {name: count for i, name in enumerate(self.names) if (count := self.library.calls_able(i))}
