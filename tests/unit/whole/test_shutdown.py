"""The end of the interpreter with a loop in any state, forks, and interpreters within the process.

Each program runs in processes of its own, on stock asyncio and on loopmod, under `-X dev`: it must end as it does on
stock asyncio, with the same complaints, but for addresses, line numbers of the library and names of the loop.
"""

import os
import re
import subprocess
import sys

import pytest
from child_support import inherited_path

pytestmark = pytest.mark.timeout(120)

ONLY = os.environ.get("LOOPMOD_TEST_ONLY")

START = """
import asyncio, gc, logging, os, socket, sys, threading, time, signal
# How long a step takes on a busy machine is nobody's fault.
logging.getLogger("asyncio").addFilter(lambda record: not record.getMessage().startswith("Executing "))
if sys.argv[1] == "asyncio":
    new_loop = asyncio.SelectorEventLoop
else:
    import loopmod
    new_loop = loopmod.new_event_loop
async def give(value):
    await asyncio.sleep(0.001)
    return value
def forever_in_a_thread():
    loop = new_loop()
    running = threading.Event()
    loop.call_soon(running.set)
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    assert running.wait(30)
    return loop
"""

# Programs that end the interpreter, and the exit code each must have.
ENDINGS = {
    "idle loop in a daemon thread": (0, "loop = forever_in_a_thread()"),
    "busy loop in a daemon thread": (
        0,
        """
loop = forever_in_a_thread()
def again():
    loop.call_soon(again)
    loop.call_later(0.0001, int)
loop.call_soon_threadsafe(again)
time.sleep(0.05)
""",
    ),
    "tasks in a daemon thread": (
        0,
        """
loop = forever_in_a_thread()
async def ticks():
    while True:
        await asyncio.sleep(0)
for _ in range(5):
    asyncio.run_coroutine_threadsafe(ticks(), loop)
time.sleep(0.05)
""",
    ),
    "daemon threads that call for ever": (
        0,
        """
loop = forever_in_a_thread()
def calls():
    while True:
        loop.call_soon_threadsafe(int)
for _ in range(3):
    threading.Thread(target=calls, daemon=True).start()
time.sleep(0.05)
""",
    ),
    "daemon threads that call a loop which does not run": (
        0,
        """
loop = new_loop()
def calls():
    try:
        while True:
            loop.call_soon_threadsafe(int)
            time.sleep(0.0001)
    except RuntimeError as exc:  # whether there is time left to see it is chance
        assert str(exc) == "Event loop is closed"
for _ in range(3):
    threading.Thread(target=calls, daemon=True).start()
time.sleep(0.02)
loop._keep = loop
loop.close()
""",
    ),
    "unclosed loop": (0, "loop = new_loop()"),
    "unclosed loop that has run": (0, "loop = new_loop(); print(loop.run_until_complete(give(3)))"),
    "unclosed loop in a cycle": (0, "loop = new_loop(); loop.me = loop; loop.run_until_complete(give(3)); del loop"),
    "pending tasks": (
        0,
        """
loop = new_loop()
async def waits():
    await asyncio.Event().wait()
task = loop.create_task(waits(), name="pending one")
loop.run_until_complete(give(1))
loop.close()
""",
    ),
    "a task that was never begun": (
        0,
        """
loop = new_loop()
task = loop.create_task(give(1), name="never begun")
loop.close()
""",
    ),
    "errors nobody looked at": (
        0,
        """
loop = new_loop()
async def fails():
    raise ValueError("unseen")
task = loop.create_task(fails(), name="failing")
future = loop.create_future()
future.set_exception(KeyError("unseen too"))
loop.run_until_complete(give(1))
loop.close()
del task
gc.collect()
""",
    ),
    "everything alive in cycles": (
        0,
        """
loop = new_loop()
async def main():
    class Kept(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
            self.me = self
            kept.append(self)
    kept = []
    server = await loop.create_server(Kept, "127.0.0.1", 0)
    transport, protocol = await loop.create_connection(Kept, *server.sockets[0].getsockname())
    left, right = socket.socketpair()
    left.setblocking(False)
    loop.add_reader(left, kept.append, left)
    future = loop.create_future()
    future.add_done_callback(kept.append)
    kept += [loop, server, transport, left, right, future, loop.call_later(3600, kept.append, 1)]
    kept += [loop.call_soon(kept.append, 2), kept, asyncio.current_task()]
    loop.kept = kept
    await asyncio.sleep(0.01)
loop.run_until_complete(main())
import warnings
warnings.simplefilter("ignore", ResourceWarning)
del loop
""",
    ),
    "sys.exit in a callback": (
        5,
        """
loop = new_loop()
loop.call_soon(sys.exit, 5)
loop.call_soon(print, "not reached")
try:
    loop.run_forever()
finally:
    loop.close()
""",
    ),
    "sys.exit in a task of a runner": (
        6,
        """
async def leaves():
    await asyncio.sleep(0)
    sys.exit(6)
async def main():
    task = asyncio.create_task(leaves())
    await asyncio.sleep(60)
with asyncio.Runner(loop_factory=new_loop) as runner:
    runner.run(main())
""",
    ),
    "os._exit in a callback": (
        7,
        """
loop = new_loop()
loop.call_soon(print, "printed", flush=True) if False else loop.call_soon(lambda: print("printed", flush=True))
loop.call_soon(os._exit, 7)
loop.run_forever()
""",
    ),
    "uncaught error of the program": (
        1,
        """
async def main():
    raise ValueError("of the program")
sys.tracebacklimit = 0
with asyncio.Runner(loop_factory=new_loop) as runner:
    runner.run(main())
""",
    ),
    "finalizers that use the loop": (
        0,
        """
loop = new_loop()
class Evil:
    def __del__(self):
        try:
            loop.call_soon(int)
            loop.create_future()
            loop.call_later(1, int)
        except Exception as error:
            print(type(error).__name__, error)
        raise OSError("of a finalizer")
sys.unraisablehook = lambda unraisable: print(unraisable.exc_value)
future = loop.create_future()
future.add_done_callback(lambda done, evil=Evil(): None)
loop.call_later(3600, lambda evil=Evil(): None)
del future
loop.close()
loop.me = loop
gc.collect()
""",
    ),
    "an executor's job that goes on": (
        0,
        """
loop = new_loop()
async def main():
    job = loop.run_in_executor(None, time.sleep, 0.3)
    await asyncio.sleep(0.01)
loop.run_until_complete(main())
loop.close()
""",
    ),
    "async generators left open": (
        0,
        """
async def numbers():
    try:
        while True:
            yield 1
    finally:
        await asyncio.sleep(0)
        print("closed")
kept = []
async def main():
    kept.append(numbers())
    return await anext(kept[0])
with asyncio.Runner(loop_factory=new_loop) as runner:
    print(runner.run(main()))
""",
    ),
}

FORKS = {
    "a child of a running loop makes its own": """
async def child():
    return await asyncio.gather(give(1), asyncio.to_thread(lambda: 2))
async def main():
    loop = asyncio.get_running_loop()
    await asyncio.sleep(0.001)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            assert asyncio._get_running_loop() is None
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                with asyncio.Runner(loop_factory=new_loop) as runner:
                    assert runner.run(child()) == [1, 2]
                code = 23
        except BaseException as error:
            print("child", repr(error), flush=True)
        finally:
            os._exit(code)
    assert asyncio.get_running_loop() is loop
    await asyncio.sleep(0.001)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), await give("goes on"))
    assert await asyncio.to_thread(int) == 0
with asyncio.Runner(loop_factory=new_loop) as runner:
    runner.run(main())
""",
    "a child runs a loop that it inherits": """
loop = new_loop()
print(loop.run_until_complete(give(1)), flush=True)
pid = os.fork()
if pid == 0:
    code = 1
    try:
        fed = loop.create_future()
        left, right = socket.socketpair()
        left.setblocking(False)
        loop.add_reader(left, lambda: (loop.remove_reader(left), fed.set_result("read")))
        right.send(b"x")
        assert loop.run_until_complete(fed) == "read"
        threading.Timer(0.01, loop.call_soon_threadsafe, [loop.stop]).start()
        loop.run_forever()
        code = 24
    except BaseException as error:
        print("child", repr(error), flush=True)
    finally:
        os._exit(code)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
threading.Timer(0.01, loop.call_soon_threadsafe, [loop.stop]).start()
loop.run_forever()
print(loop.run_until_complete(give("goes on")))
loop.close()
""",
    "the watches of the parent outlive a child that closes its copy": """
loop = new_loop()
async def main():
    left, right = socket.socketpair()
    left.setblocking(False)
    got = asyncio.Queue()
    loop.add_reader(left, lambda: got.put_nowait(left.recv(100)))
    right.send(b"before")
    print(await got.get(), flush=True)
    pid = os.fork()
    if pid == 0:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(give(1))
        left.close()
        right.close()
        os._exit(0)
    os.waitpid(pid, 0)
    right.send(b"after")
    print(await got.get())
    loop.remove_reader(left)
    left.close()
    right.close()
loop.run_until_complete(main())
loop.close()
""",
    "multiprocessing by fork": """
import multiprocessing, warnings
warnings.simplefilter("ignore", DeprecationWarning)
def work(number):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(give(number * 2))
async def main():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(await asyncio.to_thread(pool.map, work, range(5)))
with asyncio.Runner(loop_factory=new_loop) as runner:
    runner.run(main())
""",
    "multiprocessing by spawn": """
import concurrent.futures, multiprocessing
async def main():
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        loop = asyncio.get_running_loop()
        print(await asyncio.gather(*(loop.run_in_executor(pool, pow, i, 2) for i in range(5))))
with asyncio.Runner(loop_factory=new_loop) as runner:
    runner.run(main())
""",
}

INTERPRETERS = """
import sys, threading
CODE = '''
import asyncio, sys
if KIND == "asyncio":
    new_loop = asyncio.SelectorEventLoop
else:
    import loopmod
    new_loop = loopmod.new_event_loop
async def give(value):
    await asyncio.sleep(0.001)
    return value
async def main():
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"line")
    writer.write_eof()
    assert await reader.read() == b"line"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    assert await asyncio.gather(*(give(i) for i in range(20))) == list(range(20))
    async with asyncio.TaskGroup() as group:
        group.create_task(give(1))
for _ in range(2):
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())
LEAVE
'''.replace("KIND", repr(sys.argv[1]))
problems = []
if sys.version_info >= (3, 14):
    from concurrent import interpreters
    def once(code):
        interpreter = interpreters.create()
        try:
            interpreter.exec(code)
        except BaseException as error:
            problems.append(str(error))
        finally:
            interpreter.close()
else:
    if sys.version_info >= (3, 13):
        import _interpreters as api
    else:
        import _xxsubinterpreters as api
    def once(code):
        number = api.create(*CONFIG)
        try:
            found = api.run_string(number, code)
            if found is not None:
                problems.append(found.formatted)
        except BaseException as error:
            problems.append(str(error))
        finally:
            api.destroy(number)
CONFIG = ["legacy"] if sys.version_info >= (3, 13) else []
for _ in range(3):
    once(CODE.replace("LEAVE", ""))
once(CODE.replace("LEAVE", "loop = new_loop(); loop.me = loop; loop.run_until_complete(give(1)); loop.close()"))
threads = [threading.Thread(target=once, args=(CODE.replace("LEAVE", ""),)) for _ in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
exec(CODE.replace("LEAVE", ""), {"__name__": "again in the main interpreter"})
print(problems)
"""


def launch(kind, program, directory, *options):
    script = directory / f"{kind}_program.py"
    script.write_text(program)
    return subprocess.run(
        [sys.executable, *options, str(script), kind],
        env={**os.environ, "PYTHONPATH": inherited_path(), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def plain(text):
    text = re.sub(r"0x[0-9a-f]+", "0x", text)
    text = re.sub(r"(asyncio|loopmod)_program", "program", text)
    text = re.sub(r"<_UnixSelectorEventLoop |<loopmod\.(loop\.)?Loop |<Loop ", "<Loop ", text)
    # Where in the library the complaint is raised, and the line of it which shows then.
    text = re.sub(r"^\S*(asyncio|loopmod)/\w+\.py:\d+: (\w+Warning: .*)\n.*\n", r"\2\n", text, flags=re.MULTILINE)
    text = re.sub(r"^\S+\.py:\d+: (\w+Warning: .*)$", r"\1", text, flags=re.MULTILINE)
    # Stock asyncio makes a future in Python code, which is then where it was made.
    return re.sub(r"created at \S+:\d+", "created at", text)


def complaints(text):
    """What asyncio and the interpreter complain of, in whatever order, without the tracebacks under it."""
    found = re.findall(r"^(?!Traceback|Object allocated|  |\s*$)(\S.*)$", plain(text), flags=re.MULTILINE)
    # The waking socket pair of stock asyncio's loop is an object, ours is two numbers.
    skipped = re.compile(r"source_traceback|self\._|_warn\(|.*unclosed <socket|ImportError: sys.meta_path")
    return sorted(re.sub(r"^<sys>:0: ", "", line) for line in found if not skipped.match(line))


@pytest.mark.skipif(ONLY == "asyncio", reason="LOOPMOD_TEST_ONLY leaves loopmod out")
@pytest.mark.parametrize("name", ENDINGS)
def test_ends_as_on_stock_asyncio(name, tmp_path):
    code, program = ENDINGS[name]
    stock = launch("asyncio", START + program, tmp_path, "-X", "dev")
    ours = launch("loopmod", START + program, tmp_path, "-X", "dev")
    assert (stock.returncode, ours.returncode) == (code, code), stock.stderr + ours.stderr
    assert ours.stdout == stock.stdout
    assert complaints(ours.stderr) == complaints(stock.stderr)


@pytest.mark.parametrize("name", FORKS)
def test_forks(kind, name, tmp_path):
    # Children and pools want the guard of the main module.
    program = START + 'if __name__ != "__main__":\n    raise SystemExit\n' * ("spawn" not in name) + FORKS[name]
    if "spawn" in name:
        program = START.replace("sys.argv[1]", "sys.argv[-1]") + FORKS[name].replace(
            "with asyncio.Runner", 'if __name__ == "__main__":\n  with asyncio.Runner'
        )
    done = launch(kind, program, tmp_path, "-W", "ignore::DeprecationWarning")
    expected = {
        "a child of a running loop makes its own": "23 goes on\n",
        "a child runs a loop that it inherits": "1\n24\ngoes on\n",
        "the watches of the parent outlive a child that closes its copy": "b'before'\nb'after'\n",
        "multiprocessing by fork": "[0, 2, 4, 6, 8]\n",
        "multiprocessing by spawn": "[0, 1, 4, 9, 16]\n",
    }
    assert (done.stdout, done.stderr, done.returncode) == (expected[name], "", 0)


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="3.12 frees memory twice when such a program ends")
@pytest.mark.skipif(sys.version_info < (3, 12), reason="interpreters of their own came with 3.12")
def test_interpreters(kind, tmp_path):
    done = launch(kind, INTERPRETERS, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n", "", 0)
