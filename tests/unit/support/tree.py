"""Where the things of this repository are, for tests in any folder."""

from pathlib import Path

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").exists())
UNIT = ROOT / "tests" / "unit"
# Programs that each run in a process of their own.
ISOLATED = ROOT / "tests" / "isolated"
# What tests import: this file's folder.
SUPPORT = Path(__file__).resolve().parent
