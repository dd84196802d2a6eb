"""What the tests of programs in processes of their own share: environments, and a run that has none."""

import os
import subprocess
import sys
from pathlib import Path

from tree import ROOT

import loopmod

# What a child would behave differently by.
REMOVED = (
    "FORCE_COLOR",
    "LOOPMOD_CHILDREN",
    "PYTHONASYNCIODEBUG",
    "PYTHONDEVMODE",
    "PYTHONSTARTUP",
    "PYTHONWARNINGS",
)


def environment(**changes):
    """The environment of a child that finds loopmod, and nothing else that this process was told."""
    kept = {name: value for name, value in os.environ.items() if name not in REMOVED}
    return {**kept, "PYTHONPATH": str(Path(loopmod.__file__).parent.parent), "NO_COLOR": "1", **changes}


def inherited_path():
    """PYTHONPATH of a child: this tree, and what this process was given."""
    return os.pathsep.join(
        [str(ROOT), *(entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry)]
    )


def run_without_environment(*words, cwd):
    """`python -m loopmod` with these words in an interpreter that was told to ignore the environment."""
    parent = str(Path(loopmod.__file__).parent.parent)
    code = f"import sys, runpy; sys.path.insert(0, {parent!r}); sys.argv[1:] = {list(words)!r}; "
    command = [sys.executable, "-E", "-c", code + "runpy.run_module('loopmod', run_name='__main__', alter_sys=True)"]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=50, check=False)
