"""Whose suites are run, at which version, and with which words of pytest.

The versions of what they need are in requirements/suites.txt. What is left out is left out on both loops: tests of
other loops, tests that want a network, a browser or an image of a container.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Project:
    """One project: its sdist, and how its tests are run in the unpacked directory."""

    name: str
    version: str
    arguments: tuple[str, ...]
    # Directories of the sdist that would hide the installed package, which may have compiled parts.
    hides: tuple[str, ...] = ()
    # The server that its tests need: "postgres" or "redis".
    server: str = ""


# Settings of the projects that only count coverage or spread a run out do not matter here.
PLAIN = ("-o", "addopts=")
# Projects that drive their tests otherwise make errors of the warnings of a plugin that they do not know.
OTHERWISE = (*PLAIN, "-p", "no:asyncio")

PROJECTS = (
    Project(
        "aiohttp",
        "3.14.5",
        (*OTHERWISE, "-n", "logical", "-m", "not dev_mode and not autobahn and not internal", "tests"),
        hides=("aiohttp",),
    ),
    Project("anyio", "4.16.0", (*OTHERWISE, "-k", "not trio and not uvloop", "tests"), hides=("src",)),
    Project("uvicorn", "0.54.0", (*OTHERWISE, "-k", "not uvloop", "tests"), hides=("uvicorn",)),
    Project("tornado", "6.6.1", (*OTHERWISE, "--log-disable=tornado.access", "tornado/test")),
    Project("asyncpg", "0.32.0", (*OTHERWISE, "-k", "not flake8 and not mypy", "tests"), ("asyncpg",), "postgres"),
    Project(
        "redis",
        "8.1.0",
        (*PLAIN, "-m", "not redismod and not onlycluster", "tests/test_asyncio"),
        ("redis",),
        "redis",
    ),
    Project("pytest-asyncio", "1.5.0", (*PLAIN, "tests"), hides=("pytest_asyncio",)),
    Project("janus", "2.0.0", (*PLAIN, "tests"), hides=("janus",)),
)
