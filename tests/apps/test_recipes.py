"""The recipes of examples/recipes do what they say: each as its program on loopmod, most of them on both loops too.

A recipe that is a client and a server in one is imported and its `main` run on each loop, in normal and in debug
mode. A server is started as its docstring says, and asked for the loop that its application runs on. What needs a
package that is not installed is skipped.
"""

import ast
import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from servers import free_ports

pytestmark = [
    pytest.mark.timeout(100),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "examples" / "recipes"
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONASYNCIODEBUG"},
    "PYTHONPATH": os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)]),
    "PYTHONWARNINGS": "ignore",
}
MESSAGE = b"Subject: hello\r\n\r\nworld\r\n"
# What main() of each returns; its program prints the same.
RESULTS = {
    "aiodns_lookup": ["192.0.2.7"] * 5,
    "aioquic_echo": [6, 100_000],
    "aiosmtpd_server": [MESSAGE],
    "grpc_echo": [b"HELLO", b"a", b"b", b"c"],
    "httpx_many": {200: 100},
    "trio_guest": ["asyncio", "done", "trio"],
    "websockets_echo": list(range(10)),
    "zmq_echo": [b"ONE", b"TWO", b"THREE"],
}
NEW_IN_314 = {"interpreter_pool": [f"WORKER {number}, loopmod.loop" for number in range(6)]}
OWN_RUN = {
    "anyio_echo": b"hello",
    "fastapi_app": ['"loopmod.loop"', "42", "0,1,2,3,4,", "SAID", [21]],
}
LOOPMOD = "loopmod.loop"
PROCESSES = {"dask_cluster": {"total": 328350, "workers": [LOOPMOD] * 2, "scheduler": LOOPMOD}}
THREADS = {"threads_guide": (["Loop"] * 4, [0, 1, 2, 3, 4])}
# One server on several loops: how many threads or interpreters it is told to use.
SHARED_PORT = {"threads_http": 3, "threads_aiohttp": 3}
WITH_SERVER = {"asyncpg_pool": {"from": 810, "to": 190}, "redis_queue": 2470}
SERVERS = [
    ("aiohttp_app", "aiohttp"),
    ("asgi_servers granian", "granian"),
    ("asgi_servers gunicorn", "gunicorn"),
    ("asgi_servers gunicorn-uvicorn", "uvicorn_worker"),
    ("asgi_servers hypercorn", "hypercorn"),
    ("asgi_servers uvicorn", "uvicorn"),
    ("sanic_app", "sanic"),
    ("tornado_app", "tornado"),
    ("twisted_app", "twisted"),
]


def need_imports_of(recipe):
    """Skip where what the recipe imports is not installed."""
    for statement in ast.walk(ast.parse((RECIPES / f"{recipe}.py").read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import) and statement.col_offset == 0:
            for alias in statement.names:
                pytest.importorskip(alias.name.partition(".")[0])
        elif isinstance(statement, ast.ImportFrom) and statement.col_offset == 0:
            pytest.importorskip(statement.module.partition(".")[0])


def load(recipe):
    need_imports_of(recipe)
    spec = importlib.util.spec_from_file_location(f"recipe_{recipe}", RECIPES / f"{recipe}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_program(recipe, *arguments):
    """What the program of a recipe prints."""
    need_imports_of(recipe)
    done = subprocess.run(
        [sys.executable, RECIPES / f"{recipe}.py", *arguments],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def server_url(request):
    """Maker of the address that the recipe of a client takes."""

    def make(recipe):
        if recipe == "asyncpg_pool":
            address = request.getfixturevalue("postgres")
            return f"postgresql://tester@{address.host}:{address.port}/postgres"
        address = request.getfixturevalue("redis_server")
        return f"redis://{address.host}:{address.port}"

    return make


def test_every_recipe_is_tested():
    named = {
        *RESULTS,
        *NEW_IN_314,
        *OWN_RUN,
        *PROCESSES,
        *SHARED_PORT,
        *THREADS,
        *WITH_SERVER,
        "interpreters_http",
        *(words.partition(" ")[0] for words, _ in SERVERS),
    }
    assert named == {path.stem for path in RECIPES.glob("*.py")}


@pytest.mark.parametrize("recipe", RESULTS)
def test_main_on_each_loop(recipe, run, errors):
    assert run(load(recipe).main()) == RESULTS[recipe]
    assert errors == []


@pytest.mark.parametrize("recipe", WITH_SERVER)
def test_main_with_a_server_on_each_loop(recipe, run, errors, server_url):
    module = load(recipe)
    assert run(module.main(server_url(recipe))) == WITH_SERVER[recipe]
    assert errors == []


def test_anyio_on_each_loop(new_loop):
    module = load("anyio_echo")
    assert module.anyio.run(module.main, backend_options={"loop_factory": new_loop}) == OWN_RUN["anyio_echo"]


def test_fastapi_on_each_loop(new_loop, kind):
    name, *others = load("fastapi_app").main(new_loop)
    assert name.startswith('"loopmod') == (kind == "loopmod")
    assert others == OWN_RUN["fastapi_app"][1:]


PROGRAMS = {**RESULTS, **OWN_RUN, **PROCESSES, **THREADS}


@pytest.mark.parametrize("recipe", PROGRAMS)
def test_program(recipe):
    assert run_program(recipe).rstrip("\n") == str(PROGRAMS[recipe])


@pytest.mark.parametrize("recipe", WITH_SERVER)
def test_program_with_a_server(recipe, server_url):
    need_imports_of(recipe)
    assert run_program(recipe, server_url(recipe)).rstrip("\n") == str(WITH_SERVER[recipe])


@pytest.mark.skipif(sys.version_info < (3, 14), reason="InterpreterPoolExecutor is new in Python 3.14")
@pytest.mark.parametrize("recipe", NEW_IN_314)
def test_program_of_314(recipe):
    assert run_program(recipe).rstrip("\n") == str(NEW_IN_314[recipe])


def answer_of(process, port):
    """What the server answers once it is there; None when its process ended instead."""
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError, urllib.error.URLError):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as response:
                return response.read().decode()
        time.sleep(0.05)
    return None


@contextlib.contextmanager
def serving(recipe, port, *arguments):
    """The process of a server on several loops, which Ctrl-C ends, and the file of what it says."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, RECIPES / f"{recipe}.py", str(port), *arguments],
            env=ENVIRONMENT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield process, log
            assert process.returncode == 0
        finally:
            process.kill()
            process.wait()


def said_at_the_end(process, log):
    """End the server by Ctrl-C; return all that it said."""
    process.send_signal(signal.SIGINT)
    process.wait(60)
    log.seek(0)
    return log.read()


@pytest.mark.parametrize("recipe", SHARED_PORT)
def test_server_on_a_loop_in_each_thread(recipe):
    """All threads answer, and no count is lost between them."""
    need_imports_of(recipe)
    (port,) = free_ports(1)
    answers = []
    with serving(recipe, port, str(SHARED_PORT[recipe])) as (process, log):
        while len({answer["thread"] for answer in answers}) < SHARED_PORT[recipe]:
            answer = answer_of(process, port)
            assert answer is not None, said_at_the_end(process, log)
            answers.append(json.loads(answer))
        hits = json.loads(said_at_the_end(process, log))
    assert {answer["loop"] for answer in answers} == {LOOPMOD}
    assert [answer["total"] for answer in answers] == list(range(1, len(answers) + 1))
    assert hits == Counter(answer["thread"] for answer in answers)


@pytest.mark.skipif(sys.version_info < (3, 14), reason="InterpreterPoolExecutor is new in Python 3.14")
def test_server_on_a_loop_in_each_interpreter():
    (port,) = free_ports(1)
    with serving("interpreters_http", port, "3") as (process, log):
        answers = [answer_of(process, port) for _ in range(30)]
        hits = ast.literal_eval(said_at_the_end(process, log))
    assert answers == [LOOPMOD] * 30 and len(hits) == 3 and sum(hits) == 30


@pytest.mark.parametrize(("words", "package"), SERVERS)
def test_server(words, package, tmp_path):
    pytest.importorskip(package)
    recipe, *arguments = words.split()
    need_imports_of(recipe)
    (port,) = free_ports(1)
    with open(tmp_path / "log", "w+", encoding="utf-8") as log:
        process = subprocess.Popen(
            [sys.executable, RECIPES / f"{recipe}.py", *arguments, str(port)],
            cwd=RECIPES,
            env=ENVIRONMENT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            answer = answer_of(process, port)
            if "sanic" in recipe:
                # Its manager looks ten times a second whether the worker is up, and on any loop it never ends when
                # it is told to before it has seen that.
                time.sleep(0.5)
        finally:
            # On SIGINT gunicorn tells its workers to quit in a way that uvicorn's does not know.
            process.send_signal(signal.SIGTERM if "gunicorn" in words else signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                answer = "it did not end"
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        assert answer == LOOPMOD, log.read()


def test_dask_on_each_loop(run, debug):
    distributed = pytest.importorskip("distributed")
    if debug:
        pytest.skip("it says how long each step of it took")

    async def main():
        options = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
        async with distributed.LocalCluster(**options, asynchronous=True) as cluster:
            async with distributed.Client(cluster, asynchronous=True) as client:
                loops = {type(worker.loop.asyncio_loop) for worker in cluster.workers.values()}
                assert loops == {type(asyncio.get_running_loop())}
                squares = client.map(lambda number: number**2, range(50))
                total = client.submit(sum, squares)
                failing = client.submit(lambda: 1 / 0)
                with pytest.raises(ZeroDivisionError):
                    await failing
                block = (await client.scatter([bytes(3_000_000)]))[0]
                return await total, await client.submit(len, block)

    assert run(main()) == (40425, 3_000_000)
