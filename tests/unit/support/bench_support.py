"""Modules of benchmarks/, which import each other by plain names: loaded without leaving those names behind."""

import importlib
import sys
from pathlib import Path
from types import ModuleType

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


def load(name: str) -> ModuleType:
    before = set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))
        for left in set(sys.modules) - before:
            if str(getattr(sys.modules[left], "__file__", None)).startswith(str(BENCHMARKS)):
                del sys.modules[left]
