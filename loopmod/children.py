"""How Pythons that a program starts anew inherit its choice: by multiprocessing, or as programs of their own.

The environment carries it: LOOPMOD_CHILDREN holds the words, and PYTHONPATH begins with the directory startup/, whose
sitecustomize.py the interpreter runs before anything else. A child that gets another environment, or is told by -E,
-I or -S to look at neither, starts on asyncio's loop.
"""

import os
from collections.abc import Collection
from pathlib import Path

VARIABLE = "LOOPMOD_CHILDREN"
_STARTUP = str(Path(__file__).resolve().parent / "startup")


def let_inherit(words: Collection[str]) -> None:
    """Let what is started from here on make the choice of these words. Idempotent."""
    os.environ[VARIABLE] = " ".join(sorted(words))
    before = os.environ.get("PYTHONPATH")
    # An empty entry stays: it is the current directory.
    paths = [path for path in before.split(os.pathsep) if path != _STARTUP] if before else []
    os.environ["PYTHONPATH"] = os.pathsep.join([_STARTUP, *paths])


def inherited(known: Collection[str]) -> set[str]:
    """Return the words of the environment. Raises ValueError for one that is not known."""
    words = set(os.environ.get(VARIABLE, "").split())
    unknown = words.difference(known)
    if unknown:
        raise ValueError(f"{VARIABLE} holds {' '.join(sorted(unknown))!r}, and may hold {' '.join(known)!r}")
    return words
