"""Names are looked up by threads of the loop's own: os/resolver.c, os/name_threads.c, loopmod/resolver.py.

Each case is a program in a child, under a preloaded library that has a name which is slow and names that fail
(slow_names.c), run on asyncio and on loopmod.
"""

import pytest
from preload_support import build, output_of

pytestmark = pytest.mark.timeout(120)

PRELUDE = """
import asyncio, concurrent.futures, ctypes, gc, os, signal, socket, sys, threading, time, warnings, weakref
names = ctypes.CDLL(None)
KIND = sys.argv[1]
if KIND == "loopmod":
    import loopmod
    new_loop = loopmod.new_event_loop
else:
    new_loop = asyncio.SelectorEventLoop

OTHERS = 0
if "TSAN_OPTIONS" in os.environ:  # it starts a thread of its own beside the first one
    OTHERS = 1
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()

def threads():
    return len(os.listdir("/proc/self/task")) - OTHERS

async def until(condition):
    while not condition():
        await asyncio.sleep(0.001)

def run(main):
    loop = new_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return build("slow_names.c", tmp_path_factory.mktemp("shim"))


@pytest.fixture
def program(shim, kind, tmp_path):
    """Run the program on one loop and return what it printed."""

    def run(text, *flags):
        path = tmp_path / "program.py"
        path.write_text(PRELUDE + text, encoding="utf-8")
        return output_of(shim, path, kind, flags=flags)

    return run


needs_loopmod = pytest.mark.parametrize("kind", ["loopmod"])


# The answers and the errors of the socket module, for whatever arguments.
ANSWERS = r"""
hosts = ["localhost", "LOCALHOST", "localhost.", "", None, "many", "127.0.0.1", "::1", b"localhost", "l\u00f6calhost",
         "a" * 64, "a..b", ".", "local\0host", 5, "again", "system", "no such name.", "x" * 300]
ports = [80, 0, -1, 65536, 10**30, "80", "http", "no such service", None, b"80", True, "8\0", 1.5]
numbers = [{}, {"type": socket.SOCK_STREAM}, {"family": socket.AF_INET6}, {"family": 12345}, {"type": 99},
           {"flags": socket.AI_PASSIVE}, {"flags": socket.AI_CANONNAME}, {"flags": socket.AI_NUMERICHOST},
           {"proto": socket.IPPROTO_TCP}, {"flags": 1 << 30}]

def told(call):
    try:
        return call()
    except Exception as exc:
        return type(exc), str(exc), getattr(exc, "errno", None)

async def main():
    loop = asyncio.get_running_loop()
    for host in hosts:
        for port in ports:
            for keywords in numbers:
                expected = told(lambda: socket.getaddrinfo(host, port, **keywords))
                try:
                    found = await loop.getaddrinfo(host, port, **keywords)
                except Exception as exc:
                    found = type(exc), str(exc), getattr(exc, "errno", None)
                assert found == expected, (host, port, keywords, found, expected)
                if type(found) is list:
                    assert [[type(part) for part in one] for one in found] == [
                        [type(part) for part in one] for one in expected]
run(main)
print("ok")
"""


def test_answers_and_errors(program):
    assert program(ANSWERS) == "ok\n"


def test_look_ups_do_not_wait_behind_other_work(program, kind):
    """On asyncio they do: the default executor is full."""
    found = program("""
async def main():
    loop = asyncio.get_running_loop()
    gate = threading.Event()
    jobs = [loop.run_in_executor(None, gate.wait) for _ in range(64)]
    look_up = loop.create_task(loop.getaddrinfo("localhost", 80))
    await asyncio.wait([look_up], timeout=0.5 if KIND == "asyncio" else 50)
    print(look_up.done())
    gate.set()
    await asyncio.gather(look_up, *jobs)
    await loop.shutdown_default_executor()
run(main)
""")
    assert found == ("True\n" if kind == "loopmod" else "False\n")


@needs_loopmod
def test_as_many_at_a_time_as_was_said(program):
    found = program("""
for most in (1, 3):
    names.names_open(0)
    async def main():
        loop = asyncio.get_running_loop()
        before = threads()
        look_ups = [loop.create_task(loop.getaddrinfo("slow", 80)) for _ in range(10)]
        await until(lambda: names.names_waiting() == most)
        await asyncio.sleep(0.05)
        assert (names.names_waiting(), threads() - before) == (most, most)
        names.names_open(1)
        for found in await asyncio.gather(*look_ups):
            assert found[0][4] == ("127.0.0.1", 80)
        assert threads() - before == most  # for the next ones
    loop = loopmod.Loop(lookup_threads=most)
    loop.run_until_complete(main())
    loop.close()
    assert threads() == 1  # those that were idle have ended with it
print("ok")
""")
    assert found == "ok\n"


def test_a_look_up_that_is_cancelled(program):
    """What had not begun does not begin; the others go on."""
    found = program("""
async def main():
    loop = asyncio.get_running_loop()
    look_up = loop.create_task(loop.getaddrinfo("slow", 80))
    await until(lambda: names.names_waiting() == 1)
    look_up.cancel()
    try:
        await look_up
    except asyncio.CancelledError:
        print("cancelled")
    names.names_open(1)
    print((await loop.getaddrinfo("slow", 81))[0][4])
run(main)
""")
    assert found == "cancelled\n('127.0.0.1', 81)\n"


def test_a_loop_that_is_closed_meanwhile(program):
    """Nobody waits for the system; what comes too late is dropped, and the loop is not kept alive by it."""
    found = program("""
loop = new_loop()
look_ups = [loop.create_task(loop.getaddrinfo("slow", 80)) for _ in range(20)]
loop.run_until_complete(until(lambda: names.names_waiting() > 0))
if KIND == "loopmod":
    loop.close()
    assert names.names_waiting() > 0
    kept = weakref.ref(loop)
    del loop, look_ups
    gc.collect()
    assert kept() is None
    names.names_open(1)
    while threads() > 1:
        time.sleep(0.001)
else:
    names.names_open(1)
    loop.run_until_complete(asyncio.gather(*look_ups))
    loop.close()
print("ok")
""")
    assert found.endswith("ok\n")


@needs_loopmod
def test_a_loop_that_is_forgotten(program):
    """Without close(), by the collector, with look-ups that wait."""
    found = program("""
warnings.simplefilter("ignore")
async def main():
    future = asyncio.get_running_loop()._look_up("slow", "80", 0, 0, 0, 0)
    future.add_done_callback(print)
    await until(lambda: names.names_waiting() > 0)
for _ in range(3):
    loop = new_loop()
    loop.run_until_complete(main())
    kept = weakref.ref(loop)
    del loop
    gc.collect()
    assert kept() is None
names.names_open(1)
while threads() > 1:
    time.sleep(0.001)
print("ok")
""")
    assert found == "ok\n"


def test_fork(program):
    """No idle thread is there at a fork; a child's loop looks up by threads of its own."""
    found = program("""
warnings.simplefilter("error")  # of threads at a fork
def in_child(work):
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as exc:
            print(repr(exc), file=sys.stderr)
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0

async def look():
    assert (await asyncio.get_running_loop().getaddrinfo("localhost", 80))[0][4][1] == 80

loop = new_loop()
if KIND == "asyncio":
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor())  # its threads are there, and nobody ends them
    warnings.simplefilter("ignore")
loop.run_until_complete(look())
in_child(lambda: run(look))
loop.run_until_complete(look())
if KIND == "loopmod":
    in_child(lambda: loop.run_until_complete(look()))  # its copy, which makes threads of its own
    names.names_open(0)
    async def busy():
        look_up = loop.create_task(loop.getaddrinfo("slow", 80))
        await until(lambda: names.names_waiting() == 1)
        warnings.simplefilter("ignore")  # the busy one is there
        in_child(lambda: None)
        names.names_open(1)
        await look_up
    loop.run_until_complete(busy())
    loop.run_until_complete(look())
loop.close()
print("ok")
""")
    assert found == "ok\n"


@needs_loopmod
def test_signals_are_for_the_program(program):
    found = program("""
async def main():
    loop = asyncio.get_running_loop()
    got = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, got.set)
    look_up = loop.create_task(loop.getaddrinfo("slow", 80))
    await until(lambda: names.names_waiting() == 1)
    for task in os.listdir("/proc/self/task"):
        if int(task) != os.getpid():
            with open(f"/proc/self/task/{task}/status") as status:
                blocked = next(int(line.split()[1], 16) for line in status if line.startswith("SigBlk"))
            assert blocked & 1 << signal.SIGUSR1 - 1 and blocked & 1 << signal.SIGINT - 1
    os.kill(os.getpid(), signal.SIGUSR1)
    await got.wait()
    names.names_open(1)
    await look_up
run(main)
print("ok")
""")
    assert found == "ok\n"


# Whoever has put something of his own in the way of a look-up is asked as in asyncio.
OVERRIDES = {
    "socket.getaddrinfo": """
real = socket.getaddrinfo
socket.getaddrinfo = lambda *args, **keywords: seen.append("patched") or real(*args, **keywords)
""",
    "_socket.getaddrinfo": """
import _socket
real = _socket.getaddrinfo
_socket.getaddrinfo = socket._socket.getaddrinfo = lambda *args: seen.append("patched") or real(*args)
""",
    "run_in_executor": """
real = loop.run_in_executor
loop.run_in_executor = lambda executor, *args: seen.append("patched") or real(executor, *args)
""",
    "set_default_executor": """
class Executor(concurrent.futures.ThreadPoolExecutor):
    def submit(self, *args):
        seen.append("patched")
        return super().submit(*args)
loop.set_default_executor(Executor())
""",
    "audit": """
sys.addaudithook(lambda event, args: event == "socket.getaddrinfo" and seen.append("patched"))
""",
}


@pytest.mark.parametrize("name", OVERRIDES)
def test_what_stands_in_the_way_is_asked(program, name):
    found = program(f"""
seen = []
loop = new_loop()
{OVERRIDES[name]}
print(loop.run_until_complete(loop.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM))[0][4][1], *seen)
loop.run_until_complete(loop.shutdown_default_executor())
loop.close()
""")
    assert found == "80 patched\n"


def test_audit_hook_that_forbids(program):
    found = program("""
def hook(event, args):
    if event == "socket.getaddrinfo":
        raise PermissionError(args[0])
async def main():
    sys.addaudithook(hook)
    try:
        await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    except PermissionError as exc:
        print("forbidden", exc)
run(main)
""")
    assert found == "forbidden localhost\n"


def test_after_the_executors_end(program):
    found = program("""
async def main():
    loop = asyncio.get_running_loop()
    await loop.shutdown_default_executor()
    try:
        await loop.getaddrinfo("localhost", 80)
    except RuntimeError as exc:
        print(exc)
run(main)
""")
    assert found == "Executor shutdown has been called\n"


@needs_loopmod
def test_argument(program):
    found = program(
        """
loop = loopmod.Loop(lookup_threads=0)
assert loop.run_until_complete(loop.getaddrinfo("localhost", 80))
assert loop._default_executor is not None
loop.close()
for wrong in (-1, 1001):
    try:
        loopmod.Loop(lookup_threads=wrong)
    except ValueError as exc:
        print(exc)
""",
        "-W",
        "ignore",
    )
    assert found == 2 * "lookup_threads is from 0 to 1000\n"


@needs_loopmod
def test_connections_by_name(program):
    found = program("""
async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "localhost", 0, family=socket.AF_INET)
    port = server.sockets[0].getsockname()[1]
    transport, _ = await loop.create_connection(asyncio.Protocol, "localhost", port)
    print(transport.get_extra_info("peername") == ("127.0.0.1", port), loop._default_executor)
    transport.close()
    server.close()
run(main)
""")
    assert found == "True None\n"
