"""The allocators that fail on demand: builds allocation_hook.c, and starts the program again with it preloaded."""

import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
ALLOCATORS = {"python": 1, "libc": 2}
PRELOADED = "LOOPMOD_ALLOCATION_HOOK"


def compiler():
    return shutil.which("cc") or shutil.which("gcc")


def build():
    """The path of the library, built where that is older than its source."""
    source = HERE / "allocation_hook.c"
    library = ROOT / "build" / "faults" / f"allocation_hook{sysconfig.get_config_var('EXT_SUFFIX')}"
    if library.exists() and library.stat().st_mtime > source.stat().st_mtime:
        return library
    library.parent.mkdir(parents=True, exist_ok=True)
    made = library.with_suffix(f".{os.getpid()}")
    include = sysconfig.get_path("include")
    # Lazily bound: it is preloaded before there is a Python, and in programs that have none.
    command = [compiler(), "-shared", "-fPIC", "-O1", "-g", "-Wl,-z,lazy", f"-I{include}", "-o", made, source, "-ldl"]
    subprocess.run(command, check=True)
    made.rename(library)
    return library


def start_preloaded(arguments):
    """Become the same program with the library preloaded, and hashes that do not differ from run to run."""
    library = build()
    preload = " ".join(filter(None, [str(library), os.environ.get("LD_PRELOAD")]))
    environment = {**os.environ, PRELOADED: str(library), "LD_PRELOAD": preload, "PYTHONHASHSEED": "0"}
    os.execve(sys.executable, [sys.executable, *arguments], environment)


def load():
    """The module, where the program was started with it preloaded; children get none of it."""
    path = os.environ.pop(PRELOADED)
    os.environ["LD_PRELOAD"] = os.environ["LD_PRELOAD"].removeprefix(path).strip()
    if not os.environ["LD_PRELOAD"]:
        del os.environ["LD_PRELOAD"]
    loader = importlib.machinery.ExtensionFileLoader("allocation_hook", path)
    spec = importlib.util.spec_from_loader("allocation_hook", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
