"""Loops in several interpreters at the same time, a thread for each: TCP, TLS, subprocesses, executors.

    python interpreters_at_once.py asyncio|loopmod ROUNDS [CERTIFICATE AUTHORITY]

Each thread makes an isolated interpreter, runs the program in it and ends it, ROUNDS times over. Prints how many
rounds there were and the resident memory in KiB after the first tenth and at the end. Needs CPython 3.12; relies on
nothing of the test suite, so that it can run alone.
"""

import ctypes
import os
import sys
import threading
import traceback

THREADS = 4

PROGRAM = """
import sys
sys.path[:0] = [ROOT]
import asyncio, os, ssl, threading
if KIND == "loopmod":
    import loopmod
    new = loopmod.new_event_loop
else:
    new = asyncio.SelectorEventLoop


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line)
        await writer.drain()
    writer.close()


async def talk(server=None, **client):
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server)
    address = server.sockets[0].getsockname()

    async def one(number):
        reader, writer = await asyncio.open_connection(*address, **client)
        for size in (1, 1000, 50_000):
            line = b"%d" % number * size + b"\\n"
            writer.write(line)
            assert await reader.readline() == line
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*[one(number) for number in range(5)])
    server.close()


async def talk_tls():
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(FILES[0])
    client = ssl.create_default_context(cafile=FILES[1])
    await talk(server, ssl=client, server_hostname="localhost")


async def child(number):
    process = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    said, _ = await process.communicate(b"%d" % number * 1000)
    assert said == b"%d" % number * 1000 and process.returncode == 0
    process = await asyncio.create_subprocess_exec("sleep", "1000")
    process.kill()
    assert await process.wait() == -9


async def threads():
    loop = asyncio.get_running_loop()
    assert await asyncio.gather(*[loop.run_in_executor(None, pow, n, 2) for n in range(5)]) == [0, 1, 4, 9, 16]
    heard = asyncio.Event()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(heard.set,))
    thread.start()
    await heard.wait()
    thread.join()


async def main():
    await asyncio.gather(talk(), threads(), *([talk_tls()] if FILES else []))
    await asyncio.gather(*[child(number) for number in range(3)])
    if KIND == "loopmod":
        # asyncio would start a daemon thread, which this interpreter refuses.
        vars(os).pop("pidfd_open", None)
        await child(4)


with asyncio.Runner(loop_factory=new) as runner:
    runner.run(main())
if KIND == "loopmod":
    assert loopmod.run_threads(threads, threads=2) == [None, None]
"""


def interpreters():
    try:
        import _interpreters
    except ImportError:
        import _xxsubinterpreters as _interpreters
    return _interpreters


def run_once(program):
    module = interpreters()
    if sys.version_info >= (3, 13):
        interpreter = module.create("isolated")
        failure = module.exec(interpreter, program)
        said = failure and failure.errdisplay
    else:
        interpreter, said = module.create(isolated=True), None
        try:
            module.run_string(interpreter, program)
        except module.RunFailedError as exc:
            said = str(exc)
    module.destroy(interpreter)
    assert not said, said


def resident():
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def run_rounds(program, rounds, failures):
    """Run that many rounds, on all threads together."""

    def work(count):
        try:
            for _ in range(count):
                run_once(program)
        except BaseException:
            failures.append(traceback.format_exc())

    counts = [rounds // THREADS + (number < rounds % THREADS) for number in range(THREADS)]
    threads = [threading.Thread(target=work, args=(count,)) for count in counts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(kind, rounds, *files):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    program = f"KIND, FILES, ROOT = {kind!r}, {files!r}, {root!r}\n{PROGRAM}"
    failures = []
    first = max(int(rounds) // 10, THREADS)
    run_rounds(program, first, failures)
    before = resident()
    run_rounds(program, int(rounds) - first, failures)
    if failures:
        sys.exit("\n".join(failures))
    print(int(rounds), before, resident())


if __name__ == "__main__":
    main(*sys.argv[1:])
