"""Make, use and end interpreters and print what each leaves behind in KiB of resident memory.

    python interpreters.py asyncio|loopmod CASE [CERTIFICATE AUTHORITY]

Needs CPython 3.14: earlier ones keep megabytes of each interpreter themselves. Relies on nothing of the test suite,
so that it can run alone. What is there once, such as caches, is there after the first ten.
"""

import ctypes
import os
import sys

FIRST, LAST = 10, 30
NEAR = 5  # the least of so many is taken: pages come and go by the arena

PREFACE = f"""
import sys
sys.path[:0] = {[os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))]!r}
import asyncio, ssl
if KIND == "loopmod":
    import loopmod
    loop = loopmod.new_event_loop()
else:
    loop = asyncio.SelectorEventLoop()


async def echo(reader, writer):
    writer.write(await reader.readline())
    writer.close()


async def talk(**options):
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=options.pop("server", None))
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*address, **options)
    writer.write(b"hello\\n")
    assert await reader.readline() == b"hello\\n"
    writer.close()
    server.close()
    return server, reader, writer


async def talk_tls():
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(FILES[0])
    client = ssl.create_default_context(cafile=FILES[1])
    return await talk(server=server, ssl=client, server_hostname="localhost")
"""

CASES = {
    "import": "loop.close()",
    "tcp": "loop.run_until_complete(talk()); loop.close()",
    "tls": "loop.run_until_complete(talk_tls()); loop.close()",
    "tasks": """
async def main():
    await asyncio.gather(*[asyncio.sleep(0) for _ in range(2000)])
    await asyncio.gather(*[loop.run_in_executor(None, len, "") for _ in range(5)])
    await loop.shutdown_default_executor()
loop.run_until_complete(main())
loop.close()
""",
    "unclosed": """
async def main():
    global kept
    kept = [await talk(), await talk_tls(), loop.call_later(1000, print), loop.create_future()]
    kept += [loop.create_task(asyncio.sleep(1000)) for _ in range(10)]
    loop.call_later(1000, print, kept)
    await asyncio.sleep(0)
    for task in kept[-10:]:
        task._log_destroy_pending = False
    import warnings
    warnings.simplefilter("ignore")
loop.run_until_complete(main())
""",
    "patched": """
plain = asyncio.BaseEventLoop.call_soon


def call_soon(self, *args, **options):
    return plain(self, *args, **options)


class Late:
    def __init__(self):
        self.cycle = self

    def __del__(self, owner=asyncio.BaseEventLoop, patch=call_soon, plain=plain):
        owner.call_soon = plain
        owner.call_soon = patch


asyncio.BaseEventLoop.call_soon = call_soon
sys.late = Late()
loop.run_until_complete(talk())
loop.close()
""",
    "imported twice": """
loop.close()
if KIND == "loopmod":
    for name in [name for name in sys.modules if name.startswith("loopmod")]:
        del sys.modules[name]
    import loopmod
    loop = loopmod.new_event_loop()
    loop.run_until_complete(talk())
    loop.close()
""",
}


def resident():
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def main(kind, case, *files):
    import _interpreters

    program = f"KIND, FILES = {kind!r}, {files!r}\n{PREFACE}\n{CASES[case]}"
    sizes = []
    for _ in range(LAST):
        interpreter = _interpreters.create("isolated")
        failure = _interpreters.exec(interpreter, program)
        assert failure is None, failure.formatted
        _interpreters.destroy(interpreter)
        sizes.append(resident())
    print((min(sizes[-NEAR:]) - min(sizes[FIRST - NEAR : FIRST])) / (LAST - FIRST))


if __name__ == "__main__":
    main(*sys.argv[1:])
