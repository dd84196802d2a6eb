"""Whether there is a GIL: what stands on it is not asked of a build that runs without."""

import sys

import pytest

HAS_GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

needs_gil = pytest.mark.skipif(not HAS_GIL, reason="needs the GIL")
