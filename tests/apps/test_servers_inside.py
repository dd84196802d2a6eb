"""The commands of docs/servers-inside.md run on loopmod, and without their switches say that they do not.

Each is started as its users start it, in examples/inside; a server is asked for the loop of its application, a
program prints it. What is not installed is skipped: requirements/inside.txt has all of it.
"""

import asyncio
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from servers import free_ports

pytestmark = pytest.mark.timeout(100)

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / "examples" / "inside"
PAGE = (ROOT / "docs" / "servers-inside.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.M | re.S) for line in block.splitlines()]
# What a command needs, by a word in it; and what it answers where that is not on "/".
NEEDS = {
    "uvicorn": ["uvicorn"],
    "gunicorn": ["gunicorn"],
    "uvicorn_worker.UvicornWorker": ["uvicorn_worker"],
    "hypercorn": ["hypercorn"],
    "granian": ["granian"],
    "daphne": ["daphne"],
    "datasette": ["datasette"],
    "litestar": ["litestar", "uvicorn"],
    "nicegui_app.py": ["nicegui"],
    "gradio_app.py": ["gradio"],
    "scrapy": ["scrapy"],
    "mitmproxy_addon.py": ["mitmproxy"],
    "asyncssh_echo.py": ["asyncssh"],
    "streamlit": ["streamlit", "websockets"],
    "black": ["black"],
    "taskiq": ["taskiq"],
}
PATHS = {"datasette": "/loop", "streamlit": "/_stcore/health"}
PRINTED = {
    "policy.py": "loopmod.loop\n",
    "gradio_app.py": "loopmod.loop\n",
    "scrapy": "loopmod.loop\nhello\n",
    "mitmproxy_addon.py": "loopmod.loop\n",
    "asyncssh_echo.py": "echo on loopmod.loop\n",
    "black": "",  # with --debug it would say so if no loop of ours was made
    "taskiq": "loopmod.loop\n",
}
SERVERS = [line for line in COMMANDS if not any(word in line for word in PRINTED)]
PROGRAMS = [line for line in COMMANDS if line not in SERVERS]
SWITCH = re.compile("--(as-uvloop|children|defaults) ")
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name not in ("PYTHONASYNCIODEBUG", "LOOPMOD_CHILDREN")},
    "PYTHONPATH": str(ROOT),
    "PYTHONWARNINGS": "ignore",
    "PYTHONUNBUFFERED": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}


def words_of(line, port):
    words = [word.replace("8001", str(port)) for word in shlex.split(line)]
    for word, packages in NEEDS.items():
        if word in line:
            for package in packages:
                pytest.importorskip(package)
    return [sys.executable, *(words[1:] if words[0] == "python" else ["-m", *words])]


def answer_of(process, url):
    """What the server answers once it is there; None when its process ended instead."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            with urllib.request.urlopen(url, timeout=30) as response:
                answer = response.read().decode().strip('"')
                return session_of_streamlit(url) if "_stcore" in url else answer
        time.sleep(0.05)
    return None


def session_of_streamlit(url):
    """What its page says, for which a browser has to ask by WebSocket."""
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from websockets.sync.client import connect

    place = url.removeprefix("http").removesuffix("/_stcore/health")
    rerun = BackMsg()
    rerun.rerun_script.query_string = ""
    with connect(f"ws{place}/_stcore/stream", subprotocols=["streamlit"], origin=f"http{place}") as page:
        page.send(rerun.SerializeToString())
        while True:
            found = re.search(rb"runs on ([\w.]+)", page.recv(timeout=30))
            if found:
                return found[1].decode()


def stop(process):
    """As a service manager does; what does not end, or leaves children, is killed."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def serve(line, directory):
    """Start a server; return its answer and what it said."""
    (port,) = free_ports(1)
    path = next((path for word, path in PATHS.items() if word in line), "/")
    with open(directory / "log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            words_of(line, port), cwd=PLACE, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
        )
        try:
            answer = answer_of(process, f"http://127.0.0.1:{port}{path}")
        finally:
            stop(process)
        log.seek(0)
        return answer, log.read()


def notices(text):
    return [line for line in text.splitlines() if line.startswith("loopmod: ")]


def test_every_command_and_file_is_tried():
    assert len(SERVERS) >= 10 and len(PROGRAMS) >= 4
    assert {word for word in NEEDS if any(word in line for line in COMMANDS)} == set(NEEDS)
    named = {path.stem for path in PLACE.rglob("*.py")}
    assert {name for name in named if name not in PAGE} == {"loop_in_use"}  # the plugin, by its directory


@pytest.mark.parametrize("line", SERVERS)
def test_server(line, tmp_path):
    answer, said = serve(line, tmp_path)
    assert answer == "loopmod.loop", said
    assert notices(said) == []


@pytest.mark.parametrize("line", [line for line in SERVERS if SWITCH.search(line)])
def test_server_that_is_not_reached(line, tmp_path):
    answer, said = serve(SWITCH.sub("", line), tmp_path)
    if answer == "loopmod.loop":
        pytest.fail(f"needs no switch: {said}")
    # Each process that runs another loop says so, or the one that started it.
    assert {line.split(" (docs")[0] for line in notices(said)}, said
    wanted = "--children" if "children" in line else "--as-uvloop"
    assert all(wanted in said for said in notices(said))


def run_program(line):
    (port,) = free_ports(1)
    done = subprocess.run(
        words_of(line, port), cwd=PLACE, env=ENVIRONMENT, capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("line", PROGRAMS)
def test_program(line):
    done = run_program(line)
    assert done.stdout == next(text for word, text in PRINTED.items() if word in line), done.stderr
    assert notices(done.stderr) == []


@pytest.mark.parametrize("line", [line for line in PROGRAMS if SWITCH.search(line)])
def test_program_that_is_not_reached(line):
    done = run_program(SWITCH.sub("", line))
    if "loopmod.loop" in done.stdout:
        pytest.fail("needs no switch")
    (said,) = notices(done.stderr)
    assert all(switch in said for switch in re.findall(r"--(?:as-uvloop|defaults)", line))


def test_table_of_uvicorn():
    pytest.importorskip("uvicorn")
    program = (
        "import asyncio, uvicorn, uvicorn.config\n"
        "for name, join in (('loop_factory', 0), ('server_loop_factory', 2)):\n"
        "    uvicorn.config.LOOP_FACTORIES['auto'] = f'loopmod.uvicorn:{name}'\n"
        "    factory = uvicorn.Config('app:app').get_loop_factory()\n"
        "    with asyncio.Runner(loop_factory=factory) as runner:\n"
        "        loop = runner.get_loop()\n"
        "        assert (type(loop).__module__, loop._join_writes) == ('loopmod.loop', join)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=PLACE, env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_asyncssh_on_each_loop(run, debug):
    pytest.importorskip("asyncssh")
    import importlib.util

    spec = importlib.util.spec_from_file_location("asyncssh_echo", PLACE / "asyncssh_echo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    async def main():
        return await module.main(), type(asyncio.get_running_loop()).__module__

    said, kind = run(main())
    assert said == f"echo on {kind}"
