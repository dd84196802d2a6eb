"""The documentation says what is so: its Python blocks run, its server commands serve on the loop, no page lacks.

Each block is a program of its own, in a directory with the files that earlier blocks of its page are titled as. A
server gets a listening socket of the test's, so that no port is guessed. What needs a package that is not installed
is skipped.
"""

import ast
import importlib.util
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(100)

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
PROGRAMS = {
    f"{page}:{text.count(chr(10), 0, block.start()) + 1}": (page, block)
    for page, text in TEXTS.items()
    for block in BLOCK.finditer(text)
    if block[1] == "python"
}
COMMANDS = [
    line
    for block in BLOCK.finditer(TEXTS["docs/frameworks.md"])
    if block[1] == "sh"
    for line in block[3].splitlines()
    if line.endswith("app:app")
]
# How each server is given a socket that listens already.
SOCKET = {"uvicorn": "--fd {}", "gunicorn": "--bind fd://{}", "hypercorn": "--bind fd://{}"}
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONASYNCIODEBUG"},
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH"), "."])),
}


def need(packages):
    for name in packages:
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")


def imported(source):
    """Names of the packages that a program imports unconditionally, standard library included."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield statement.module.partition(".")[0]


def write_titled(page, directory, before=None):
    """Write the files of a page; return their names."""
    titled = [
        block for block in BLOCK.finditer(TEXTS[page]) if block[2] and (before is None or block.start() < before)
    ]
    for block in titled:
        (directory / block[2]).write_text(block[3], encoding="utf-8")
    return {Path(block[2]).stem for block in titled}


def test_there_are_programs_and_commands():
    assert {page for page, _ in PROGRAMS.values()} >= {"README.md", "docs/index.md", "docs/frameworks.md"}
    assert {name for name in SOCKET for line in COMMANDS if name in line.split()} == set(SOCKET)


@pytest.mark.parametrize("where", PROGRAMS)
def test_program(where, tmp_path):
    page, block = PROGRAMS[where]
    own = write_titled(page, tmp_path, block.start())
    need(set(imported(block[3])) - own)
    program = tmp_path / (block[2] or "program.py")
    program.write_text(block[3], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, program.name],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    if "ModuleNotFoundError: No module named 'uvicorn" in done.stdout:
        pytest.skip("uvicorn is not installed")  # where the block tries two names for it
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("line", COMMANDS)
def test_server_serves_on_the_loop(line, tmp_path):
    write_titled("docs/frameworks.md", tmp_path)
    words = shlex.split(line)
    (server,) = (word for word in words if word in SOCKET)
    need([server, "uvicorn"] if "worker.Worker" in words else [server])
    command = [sys.executable, *words[1:]] if words[0] == "python" else [sys.executable, "-m", *words]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor = listening.fileno()
        url = "http://{}:{}/".format(*listening.getsockname())
        with subprocess.Popen(
            [*command, *SOCKET[server].format(descriptor).split()],
            cwd=tmp_path,
            env=ENVIRONMENT,
            pass_fds=[descriptor],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process:
            try:
                # It waits in the socket's queue until the server is there.
                with urllib.request.urlopen(url, timeout=50) as response:
                    assert response.read() == b"loopmod.loop"
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    said = process.communicate(timeout=20)[0]
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    said = process.communicate()[0]
                print(said.decode())


def test_pages_take_in_what_is_there():
    taken = [
        (page, *found) for page, text in TEXTS.items() for found in re.findall(r'--8<-- "([^":]+):?(\w*)"', text)
    ]
    assert len(taken) >= 20
    # A formatter that takes the line for Python breaks it: its block is one of `{.py}`.
    assert not [page for page, text in TEXTS.items() if "8 < --" in text]
    for page, name, section in taken:
        text = (ROOT / name).read_text(encoding="utf-8")
        if section:
            assert text.count(f"[start:{section}]") == text.count(f"[end:{section}]") == 1, (page, name, section)


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2].partition("\nplugins:")[0]
    named = set(re.findall(r"[\w-]+\.md", navigation))
    assert named == {page.name for page in PAGES if page.parent.name == "docs"}
