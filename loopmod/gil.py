"""The GIL on free-threaded builds of Python: whether it is on all the same, and why.

Such a build switches it on, for all threads and for good, when it loads an extension module that does not declare
that it does without. Loops in several threads then take turns on one core and nothing shows why; so the first loop
that is made in this state warns, once in each interpreter. Who asked for the GIL by `-X gil=1` or PYTHON_GIL is not
warned.
Relies on `sys._is_gil_enabled`, and for the cause on the registry of the warning that Python gives itself.
"""

import re
import sys
import threading
import warnings
from importlib import _bootstrap
from os.path import dirname

IS_FREE_THREADED = "t" in sys.abiflags

# What was asked for: 1, 0 or nothing, in which case the modules that are loaded decide.
_wish: int | None = getattr(sys.flags, "gil", None)

# Whether a new loop has to look. Read where loops are made, on any build.
is_watched = IS_FREE_THREADED and _wish is None

_first_warning = threading.Lock()


def is_on() -> bool:
    """Return whether the GIL is on in this interpreter."""
    if sys.version_info >= (3, 13):
        return sys._is_gil_enabled()
    return True


def look() -> None:
    """Warn if the GIL was switched on, once, whichever threads come with new loops; raise it where filters say so."""
    global is_watched
    if not is_on() or not _first_warning.acquire(blocking=False):
        return
    is_watched = False
    if sys.version_info >= (3, 12):
        warnings.warn(
            f"the GIL is on, though this Python is built to run without it: {cause()}. Loops in several threads "
            "take turns on one core. PYTHON_GIL=0 or -X gil=0 keeps the GIL off (at your own risk).",
            RuntimeWarning,
            skip_file_prefixes=(dirname(__file__),),
        )


def cause() -> str:
    """Return what switched the GIL on, as far as Python has told."""
    if _wish is not None:
        return "-X gil=1 or PYTHON_GIL=1 asked for it"
    name = _loaded_module()
    if name is None:
        return "an extension module needs it, which python -v names when it loads it"
    return f"it was switched on to load the module {name!r}, which does not declare that it does without"


def _loaded_module() -> str | None:
    """Return the module that Python's own warning named, unless that was hidden: then it is in no registry."""
    for key in list(getattr(_bootstrap, "__warningregistry__", ())):
        if isinstance(key, tuple) and key[1] is RuntimeWarning:
            named = re.search(r"\(GIL\) has been enabled to load module '([^']+)'", str(key[0]))
            if named is not None:
                return named[1]
    return None


def described() -> str:
    """Return the state of the GIL in one line, for a report."""
    if not IS_FREE_THREADED:
        return "on: this Python is no free-threaded build"
    if is_on():
        return f"on, in a free-threaded build: {cause()}"
    return "off: this Python is a free-threaded build"
