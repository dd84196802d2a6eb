"""tools/freethreaded where it has nothing to do, or cannot do it: no build of CPython is made here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "freethreaded"

pytestmark = pytest.mark.skipif(not TOOL.is_file(), reason="needs the tools of the source tree")


@pytest.fixture
def ask(tmp_path):
    """Run the tool with a cache of the test's own; return its output, its complaints and its exit status."""

    def run(*words, **changes):
        variables = {**os.environ, "LOOPMOD_FREETHREADED_DIR": str(tmp_path / "cache" / "python"), **changes}
        done = subprocess.run(
            ["/bin/bash", TOOL, *words], env=variables, capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout, done.stderr, done.returncode

    return run


@pytest.mark.parametrize(("words", "name"), [((), "python"), (("tsan",), "python-tsan")], ids=["plain", "tsan"])
def test_what_is_there_is_named_and_left_alone(ask, tmp_path, words, name):
    python = tmp_path / "cache" / name / "bin" / "python3.14t"
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    assert ask(*words) == (f"{python}\n", "", 0)
    assert [path.name for path in tmp_path.joinpath("cache").iterdir()] == [name]


def test_a_word_that_it_does_not_know(ask):
    assert ask("debug") == ("", "freethreaded: usage: tools/freethreaded [tsan]\n", 2)


def test_a_system_without_apt_is_said_in_one_line(ask, tmp_path):
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("dirname", "realpath", "mkdir"):
        found = shutil.which(name)
        assert found is not None
        (path / name).symlink_to(found)
    said = "freethreaded: skipped, building CPython here needs Debian's apt-get\n"
    assert ask(PATH=str(path)) == ("", said, 0)


@pytest.mark.parametrize(("content", "status"), [(None, 0), (b"another archive", 1)], ids=["gone", "another"])
def test_nothing_is_left_where_the_source_is_not_the_one(ask, tmp_path, content, status):
    source = tmp_path / "source.tar.xz"
    if content is not None:
        source.write_bytes(content)
    path = tmp_path / "bin"
    path.mkdir()
    # What would install packages here must not: all of them are said to be there.
    for name, does in (("apt-get", "exit 1"), ("dpkg-query", "echo install ok installed")):
        (path / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (path / name).chmod(0o755)
    environment = {"PATH": f"{path}:{os.environ['PATH']}", "LOOPMOD_FREETHREADED_SOURCE": str(source)}
    output, complaint, seen = ask(**environment)
    assert (output, seen) == ("", status)
    said = "is not to be had here" if content is None else "is not the one of CPython"
    assert said in complaint.splitlines()[-1]
    assert not any(path.is_dir() for path in tmp_path.joinpath("cache").iterdir())
