"""pytest plugin (entry point `pytest11`): `pytest --loopmod` runs a project's asyncio tests on loopmod.

The loop is chosen the way any program chooses it for a whole process, so it does not matter what drives the tests:
pytest-asyncio, anyio's plugin, aiohttp's, tornado's test cases or unittest's. A test that sets a policy or names a
loop class of asyncio keeps what it asked for. Relies on pytest only where pytest loads it.
"""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: "pytest.Parser") -> None:
    """Add --loopmod and the ini option of the same name."""
    text = "run asyncio tests on loopmod's event loop"
    parser.getgroup("loopmod").addoption("--loopmod", action="store_true", default=False, help=text)
    parser.addini("loopmod", help=text, type="bool", default=False)


def pytest_configure(config: "pytest.Config") -> None:
    """Choose the loop before anything makes one."""
    if _is_chosen(config):
        # Here and not above: a run without the option does not load the extension.
        from . import choice

        choice.use_loop()


def pytest_report_header(config: "pytest.Config") -> str | None:
    """Say what a new loop is now; nothing where loopmod was not chosen."""
    if not _is_chosen(config):
        return None
    from . import __version__

    loop = asyncio.new_event_loop()
    loop.close()
    return f"loopmod {__version__}: asyncio.new_event_loop() makes {type(loop).__module__}.{type(loop).__qualname__}"


def _is_chosen(config: "pytest.Config") -> bool:
    return bool(config.getoption("loopmod") or config.getini("loopmod"))
