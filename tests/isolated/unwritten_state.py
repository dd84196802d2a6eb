"""Compare the module's state before and after a load, byte by byte: python unwritten_state.py CERTIFICATE AUTHORITY

What threads share and none of them writes costs none of them anything; so all that is written after import has to be
elsewhere (src/base/shared.h). Relies on the state being a block of malloc's: PYTHONMALLOC=malloc makes it one where
the interpreter checks what it allocates.
"""

import asyncio
import ctypes
import ssl
import sys
import threading

import loopmod
from loopmod import _loopmod

THREADS = 3


def state():
    """Address and size of the state, to which the module has a pointer."""
    ctypes.pythonapi.PyModule_GetState.restype = ctypes.c_void_p
    ctypes.pythonapi.PyModule_GetState.argtypes = [ctypes.py_object]
    place = ctypes.pythonapi.PyModule_GetState(_loopmod)
    address = ctypes.c_void_p.from_address(place).value
    usable = ctypes.CDLL(None).malloc_usable_size
    usable.restype, usable.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    return address, usable(address)


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Once(asyncio.Protocol):
    def __init__(self, answer):
        self.answer = answer

    def data_received(self, data):
        if not self.answer.done():
            self.answer.set_result(data)


async def talk_by_protocol(loop, **options):
    server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=options.pop("server", None))
    answer = loop.create_future()
    transport, _ = await loop.create_connection(lambda: Once(answer), *server.sockets[0].getsockname(), **options)
    transport.write(b"hello")
    assert await answer == b"hello"
    transport.close()
    server.close()


async def echo(reader, writer):
    writer.write(await reader.readline())
    writer.close()


async def talk_by_streams(**options):
    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=options.pop("server", None))
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), **options)
    writer.write(b"hello\n")
    assert await reader.readline() == b"hello\n"
    writer.close()
    server.close()


async def nothing():
    await asyncio.sleep(0)


async def load(certificate, authority):
    loop = asyncio.get_running_loop()
    await asyncio.gather(*[nothing() for _ in range(300)])
    for _ in range(100):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future
        loop.call_later(1000, print).cancel()
        loop.call_soon_threadsafe(len, "")
    await asyncio.sleep(0.001)
    await asyncio.gather(*[loop.run_in_executor(None, len, "") for _ in range(5)])
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    client = ssl.create_default_context(cafile=authority)
    for talk in (lambda **options: talk_by_protocol(loop, **options), talk_by_streams):
        await talk()
        await talk(server=server, ssl=client, server_hostname="localhost")


def in_threads(work):
    threads = [threading.Thread(target=work) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def patch_and_undo():
    """What is noticed by dicts, by the code of functions and by the classes of streams."""
    for owner, name in ((asyncio.BaseEventLoop, "call_soon"), (asyncio.StreamReader, "feed_data")):
        plain = getattr(owner, name)

        def patched(*args, plain=plain, **options):
            return plain(*args, **options)

        setattr(owner, name, patched)
        loopmod.run(talk_by_streams())
        setattr(owner, name, plain)
        code = plain.__code__
        plain.__code__ = code.replace(co_firstlineno=code.co_firstlineno + 1)
        loopmod.run(talk_by_streams())
        plain.__code__ = code
    loopmod.run(talk_by_streams())


def main(certificate, authority):
    address, size = state()
    assert size > 1000, size
    before = ctypes.string_at(address, size)
    loopmod.run(load(certificate, authority))
    loopmod.run_threads(load, certificate, authority, threads=THREADS)
    in_threads(lambda: loopmod.run(load(certificate, authority)))
    patch_and_undo()
    loopmod.allow_nested_runs()
    loopmod.run_threads(load, certificate, authority, threads=THREADS)
    after = ctypes.string_at(address, size)
    print([place for place in range(0, size, 8) if before[place : place + 8] != after[place : place + 8]])


if __name__ == "__main__":
    main(*sys.argv[1:])
