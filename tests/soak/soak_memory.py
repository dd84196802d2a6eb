"""What the process holds: bytes in use, what the allocators keep beside them, descriptors, objects, tasks.

*In use* is what somebody has allocated and not freed: libc's `uordblks` and `hblkhd` (mallinfo2) and the blocks of
pymalloc. It does not move where nobody leaks. What the allocators hold besides stands apart: `arena` less `uordblks`
is free within libc's heaps, and RSS is what the kernel sees of all that, at its highest tide.
"""

import collections
import ctypes
import gc
import os
import re
import sys
import tempfile
import warnings

LIBC = ctypes.CDLL(None)
MIB = 1024 * 1024


class Mallinfo2(ctypes.Structure):
    """glibc's struct of that name; it sums up all arenas."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


def libc_bytes():
    """In use, and held in heaps; None where libc does not say, or another allocator took its place."""
    if not hasattr(LIBC, "mallinfo2"):
        return None
    LIBC.mallinfo2.restype = Mallinfo2
    info = LIBC.mallinfo2()
    return info.uordblks + info.hblkhd, info.arena + info.hblkhd


def stderr_of(call):
    """What a function writes to descriptor 2."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            call()
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        return file.read().decode()


def pymalloc_bytes():
    """In use, and held in arenas; zeros where PYTHONMALLOC chose otherwise."""
    text = stderr_of(sys._debugmallocstats)
    used = re.search(r"# bytes in allocated blocks\s*=\s*([\d,]+)", text)
    arenas = re.search(r"([\d]+) arenas \* (\d+) bytes/arena\s*=\s*([\d,]+)", text)
    if not used or not arenas:
        return 0, 0
    return tuple(int(match.replace(",", "")) for match in (used[1], arenas[3]))


def resident():
    """Kernel's view in bytes: resident, and the share of this process in it."""
    with open("/proc/self/smaps_rollup") as file:
        kib = {line.split(":")[0]: int(line.split()[1]) for line in file if line.endswith("kB\n")}
    return kib["Rss"] * 1024, kib["Pss"] * 1024


def descriptors():
    """How many descriptors of each kind there are."""
    counts = collections.Counter()
    for number in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # that of the listing
            continue
        counts[re.sub(r":?\[?\d+\]?$", "", name) if not name.startswith("/") else "file"] += 1
    return counts


def objects(modules):
    """How many objects the collector knows of each type that these packages define, and how many in all."""
    everything = gc.get_objects()
    mine = collections.Counter()
    for kind, count in collections.Counter(map(type, everything)).items():
        module = kind.__module__
        if isinstance(module, str) and module.partition(".")[0] in modules:
            mine[kind.__name__] += count
    return mine, len(everything)


def forget_names():
    """Empty the interpreter's cache of attributes of types: its 4096 places keep the names that were looked up.

    A call by a C string makes a new name each time, so that all places fill up in the end: 256 KiB.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        getattr(sys, "_clear_internal_caches", lambda: None)()
        sys._clear_type_cache()


def sample(modules, is_whole):
    """All of it; `is_whole` collects first, for figures of a process that has come to rest."""
    if is_whole:
        forget_names()
        for _ in range(3):
            gc.collect()
    ours, tracked = objects(modules)
    libc, pymalloc, (rss, pss) = libc_bytes(), pymalloc_bytes(), resident()
    return {
        "rss": rss,
        "pss": pss,
        "libc_used": libc[0] if libc else 0,
        "libc_held": libc[1] if libc else 0,
        "pymalloc_used": pymalloc[0],
        "pymalloc_held": pymalloc[1],
        "used": pymalloc[0] + (libc[0] if libc else 0),
        "tracked": tracked,
        "ours": ours,
        "descriptors": descriptors(),
        "garbage": len(gc.garbage),
        "collections": [generation["collections"] for generation in gc.get_stats()],
    }
