"""A Jupyter kernel whose process runs on loopmod, driven through the client library as a notebook does.

Skipped where ipykernel or jupyter_client is not installed. Each kernel is a process of its own.
"""

import os
import queue
import sys
import time
from pathlib import Path

import pytest

jupyter_client = pytest.importorskip("jupyter_client")
pytest.importorskip("ipykernel")

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ROOT = Path(__file__).resolve().parents[2]
LAUNCH = "from ipykernel import kernelapp; kernelapp.launch_new_instance()"
LIMIT = 60


class Kernel:
    """A running kernel and what one needs to send it cells."""

    def __init__(self, kind, directory):
        begin = "import loopmod; loopmod.install(); " if kind == "loopmod" else ""
        path = [str(ROOT), *(entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path), "IPYTHONDIR": str(directory)}
        from jupyter_client.kernelspec import KernelSpec

        self.manager = jupyter_client.KernelManager()
        self.manager._kernel_spec = KernelSpec(
            argv=[sys.executable, "-c", begin + LAUNCH, "-f", "{connection_file}"],
            display_name="under test",
            language="python",
        )
        self.manager.connection_file = str(directory / "connection.json")
        self.manager.start_kernel(env=environment)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=LIMIT)

    def stop(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def send(self, cell):
        return self.client.execute(cell)

    def result(self, request):
        """Return (result or None, printed text, name of the error or None) of a cell that was sent."""
        value, printed, error = None, "", None
        until = time.monotonic() + LIMIT
        while True:
            message = self.client.get_iopub_msg(timeout=max(until - time.monotonic(), 0))
            if message["parent_header"].get("msg_id") != request:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "execute_result":
                    value = content["data"]["text/plain"]
                case "stream":
                    printed += content["text"]
                case "error":
                    error = content["ename"]
                case "status" if content["execution_state"] == "idle":
                    return value, printed, error

    def run(self, cell):
        return self.result(self.send(cell))

    def value(self, cell):
        value, printed, error = self.run(cell)
        assert (printed, error) == ("", None)
        return value


@pytest.fixture
def kernel(kind, tmp_path):
    started = Kernel(kind, tmp_path)
    yield started
    started.stop()


def test_top_level_await(kernel, kind):
    loop_type = kernel.value("import asyncio; type(asyncio.get_running_loop()).__module__")
    assert loop_type.startswith("'loopmod") == (kind == "loopmod")
    assert kernel.value("await asyncio.sleep(0.001, 'slept')") == "'slept'"
    assert kernel.value("await asyncio.gather(*(asyncio.sleep(0, i) for i in range(5)))") == "[0, 1, 2, 3, 4]"
    assert kernel.run("task = asyncio.create_task(asyncio.sleep(0.01, 'later'))") == (None, "", None)
    assert kernel.value("await task") == "'later'"
    cell = "async for i in numbers():\n    print(i)"
    numbers = "async def numbers():\n    for i in range(3):\n        await asyncio.sleep(0)\n        yield i\n"
    assert kernel.run(numbers + cell) == (None, "0\n1\n2\n", None)
    cell = "process = await asyncio.create_subprocess_exec('echo', 'child', stdout=-1)\n"
    assert kernel.value(cell + "(await process.communicate())[0], process.returncode") == "(b'child\\n', 0)"


def test_runs_are_refused_until_asked_for(kernel):
    assert kernel.run("import asyncio; asyncio.run(asyncio.sleep(0))")[2] == "RuntimeError"
    assert kernel.value("await asyncio.sleep(0, 'usable')") == "'usable'"


def test_errors_of_cells(kernel):
    assert kernel.run("import asyncio\nawait asyncio.wait_for(asyncio.sleep(60), 0.001)")[2] == "TimeoutError"
    assert kernel.run("async def fails():\n    raise KeyError(1)\nawait fails()")[2] == "KeyError"
    assert kernel.run("await asyncio.create_task(fails())")[2] == "KeyError"
    assert kernel.run("raise ValueError(1)")[2] == "ValueError"
    assert kernel.value("await asyncio.sleep(0, 'usable')") == "'usable'"


@pytest.mark.parametrize("cell", ["while True: pass", "import time; time.sleep(60)", "await asyncio.sleep(60)"])
def test_interrupts(kernel, kind, cell):
    if kind == "asyncio" and cell.startswith("await"):
        pytest.skip("this kernel on stock asyncio does not notice the interrupt until something else happens")
    kernel.run("import asyncio")
    request = kernel.send("print('begun', flush=True)\n" + cell)
    until = time.monotonic() + LIMIT
    while True:
        message = kernel.client.get_iopub_msg(timeout=max(until - time.monotonic(), 0))
        if message["msg_type"] == "stream":
            break
    kernel.manager.interrupt_kernel()
    try:
        error = kernel.result(request)[2]
    except queue.Empty:
        pytest.fail("the cell went on")
    assert error in ("KeyboardInterrupt", "CancelledError")
    assert kernel.value("await asyncio.sleep(0, 'usable')") == "'usable'"


ASKS = {
    "allow_nested_runs": "import loopmod; loopmod.allow_nested_runs()",
    "nest_asyncio": "import nest_asyncio; nest_asyncio.apply()",
}


@pytest.mark.parametrize("way", ASKS)
def test_runs_within_cells(kernel, kind, way):
    if kind == "asyncio":
        if way == "allow_nested_runs":
            pytest.skip("it is loopmod's loop that this allows")
        if sys.version_info >= (3, 14):
            pytest.skip("nest_asyncio does not keep the current task of stock asyncio on 3.14")
    if way == "nest_asyncio":
        pytest.importorskip("nest_asyncio")
    kernel.run("import asyncio\n" + ASKS[way])
    assert kernel.value("asyncio.run(asyncio.sleep(0.001, 'ran'))") == "'ran'"
    assert kernel.value("loop = asyncio.get_event_loop(); loop.run_until_complete(asyncio.sleep(0, 2))") == "2"
    gather = "async def main():\n    return await asyncio.gather(*(asyncio.sleep(0.001, i) for i in range(3)))\n"
    assert kernel.value(gather + "asyncio.run(main())") == "[0, 1, 2]"
    assert kernel.value("asyncio.run(main()), await main()") == "([0, 1, 2], [0, 1, 2])"
    assert kernel.run("async def fails():\n    raise KeyError(1)\nasyncio.run(fails())")[2] == "KeyError"
    limited = "asyncio.run(asyncio.wait_for(asyncio.sleep(60), 0.001))"
    assert kernel.run(limited)[2] == "TimeoutError"
    background = "task = asyncio.create_task(asyncio.sleep(0.001, 'meanwhile'))\nasyncio.run(asyncio.sleep(0.05))\n"
    assert kernel.value(background + "task.done()") == "True"
    assert kernel.value("await asyncio.sleep(0, 'usable')") == "'usable'"
