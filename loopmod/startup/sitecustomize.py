"""What a Python runs first that was started under `python -m loopmod --children`: see loopmod/children.py.

It stands before whatever other sitecustomize there is, which has its turn here. A failure is said and stops nothing:
the program may be one of another Python, for which there is no loopmod.
"""

import os
import sys


def run_next(here: str) -> None:
    """Import the sitecustomize that this one hides, and leave sys.path as it would be without us."""
    sys.path[:] = [entry for entry in sys.path if os.path.realpath(entry) != here]
    own = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # type: ignore[import-not-found] # noqa: F401
    except ImportError as exc:
        if exc.name != "sitecustomize":
            raise
    finally:
        # The interpreter, which is importing us under this name, wants to find it.
        sys.modules.setdefault("sitecustomize", own)


def choose(root: str) -> None:
    """Make the choice of the environment. The child may have another way to loopmod than the parent, or none."""
    if sys.version_info < (3, 11):  # noqa: UP036 (the child may be any Python)
        raise ImportError(name="loopmod")
    before = sys.path[:]
    sys.path.append(root)
    try:
        from loopmod import children, choice
    finally:
        sys.path[:] = before
    choice.make(children.inherited(choice.WORDS))


def complain(words: list[str], exc: Exception) -> None:
    """Say that the choice could not be made."""
    if sys.stderr is None or ("no-notice" in words and "debug" not in words):
        return
    version = "Python {}.{}".format(*sys.version_info)
    reason = f"there is none for {version}" if isinstance(exc, ImportError) and exc.name == "loopmod" else exc
    try:
        sys.stderr.write(f"loopmod: {sys.executable} does not inherit the loop: {reason}\n")
    except OSError:
        pass


def start() -> None:
    here = os.path.dirname(os.path.realpath(__file__))
    try:
        run_next(here)
    finally:
        words = os.environ.get("LOOPMOD_CHILDREN", "").split()
        if words:
            try:
                choose(os.path.dirname(os.path.dirname(here)))
            except Exception as exc:
                complain(words, exc)


start()
