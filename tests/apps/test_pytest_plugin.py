"""`pytest --loopmod` on small projects of each kind of driver. Each run of pytest is a process of its own.

A driver that is not installed is skipped. The plugin is loaded by name, since the package need not be installed.
"""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(120)

ROOT = Path(__file__).resolve().parents[2]

PROJECTS = {
    "pytest_asyncio": """
import asyncio, pytest, pytest_asyncio
@pytest_asyncio.fixture
async def made():
    yield asyncio.get_running_loop()
@pytest.mark.asyncio
async def test_loop(made, name):
    assert type(asyncio.get_running_loop()).__name__ == name
    assert made is asyncio.get_running_loop()
""",
    "anyio": """
import asyncio, pytest
@pytest.fixture
def anyio_backend():
    return "asyncio"
@pytest.mark.anyio
async def test_loop(name):
    assert type(asyncio.get_running_loop()).__name__ == name
""",
    "aiohttp": """
import asyncio
from aiohttp import web
pytest_plugins = "aiohttp.pytest_plugin"
async def test_loop(aiohttp_client, name):
    async def handler(request):
        return web.Response(text=type(asyncio.get_running_loop()).__name__)
    app = web.Application()
    app.router.add_get("/", handler)
    client = await aiohttp_client(app)
    response = await client.get("/")
    assert await response.text() == name
""",
    "tornado": """
import asyncio, os
from tornado.testing import AsyncTestCase, gen_test
class Case(AsyncTestCase):
    @gen_test
    async def test_loop(self):
        assert type(asyncio.get_running_loop()).__name__ == os.environ["LOOP_NAME"]
""",
    "unittest": """
import asyncio, os, unittest
class Case(unittest.IsolatedAsyncioTestCase):
    async def test_loop(self):
        assert type(asyncio.get_running_loop()).__name__ == os.environ["LOOP_NAME"]
""",
}

CONFTEST = """
import os, pytest
@pytest.fixture
def name():
    return os.environ["LOOP_NAME"]
"""


def run_pytest(directory, *options, name):
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    environment |= {"PYTHONPATH": str(ROOT), "LOOP_NAME": name}
    # looptime gives the loops of pytest-asyncio another class; ddtrace takes a second to be loaded.
    others = ["-p", "no:cacheprovider", "-p", "no:ddtrace", "-p", "no:looptime_plugin"]
    words = [*others, "-p", "loopmod.pytest_plugin", *options, "."]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("driver", PROJECTS)
def test_drivers(driver, tmp_path):
    if importlib.util.find_spec(driver) is None:
        pytest.skip(f"{driver} is not installed")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_project.py").write_text(PROJECTS[driver])
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    ours = run_pytest(tmp_path, "--loopmod", name="Loop")
    assert ours.returncode == 0, ours.stdout + ours.stderr
    assert "asyncio.new_event_loop() makes loopmod.loop.Loop" in ours.stdout
    assert "1 passed" in ours.stdout
    stock = run_pytest(tmp_path, name="_UnixSelectorEventLoop")
    assert stock.returncode == 0, stock.stdout + stock.stderr
    assert "loopmod.loop" not in stock.stdout


def test_ini_option(tmp_path):
    (tmp_path / "test_project.py").write_text(PROJECTS["unittest"])
    (tmp_path / "pytest.ini").write_text("[pytest]\nloopmod = true\n")
    done = run_pytest(tmp_path, name="Loop")
    assert done.returncode == 0, done.stdout + done.stderr
