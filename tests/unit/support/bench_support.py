"""Modules of benchmarks/, which import each other by plain names.

They are loaded without leaving those names behind, and beside modules of the tests that have the same ones.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def load(name: str) -> ModuleType:
    named = {path.stem for path in BENCHMARKS.iterdir()}
    others = {name: module for name, module in sys.modules.items() if name.split(".")[0] in named}
    for other in others:
        del sys.modules[other]
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))
        for left in [left for left in sys.modules if left.split(".")[0] in named]:
            del sys.modules[left]
        sys.modules.update(others)
