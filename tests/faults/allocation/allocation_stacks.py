"""Names for the stacks that the hook took."""

import functools
import shutil
import subprocess


@functools.cache
def names(library, offsets):
    """The function and line at each offset, by addr2line where there is one."""
    tool = shutil.which("addr2line")
    if tool is None or not library.startswith("/"):
        return [f"{library}+{offset:#x}" for offset in offsets]
    # A frame is where the call returns to: what called is before.
    command = [tool, "-f", "-s", "-e", library, *(hex(offset - 1) for offset in offsets)]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return [f"{function} ({place})" for function, place in zip(lines[::2], lines[1::2], strict=False)]


def stack(frames):
    """Each frame as text, innermost first, without the hook's own."""
    frames = [tuple(frame) for frame in frames if "allocation_hook" not in frame[0]]
    found = {}
    for library in {library for library, _ in frames}:
        offsets = tuple({offset for name, offset in frames if name == library})
        found.update(zip(((library, offset) for offset in offsets), names(library, offsets), strict=False))
    return [f"{library.rpartition('/')[2].partition('.')[0]}: {found[library, o]}" for library, o in frames]


def functions(frames):
    """The names alone."""
    return [text.split(" ")[1] for text in stack(frames)]


def first_library(frames):
    """Whose code it is, libc apart."""
    names = [text.partition(":")[0] for text in stack(frames)]
    return next((name for name in names if name not in ("libc", "linux-vdso")), None)


def site(result):
    """Where it failed, in short: who asked, and the first of ours behind; then where the process ended."""
    parts = []
    for key in ("failed_at", "ended_at"):
        shown = stack(result.get(key, ()))
        if shown:
            ours = [text for text in shown if text.startswith("_loopmod")][:3]
            parts.append(" < ".join([*shown[:6], "..", *ours]))
    return " | ended: ".join(parts)
