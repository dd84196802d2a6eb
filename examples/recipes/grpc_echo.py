"""grpc.aio on loopmod: a server and a client of a unary and a streamed method, without generated code.

python examples/recipes/grpc_echo.py
"""

from collections.abc import AsyncIterator

import grpc

import loopmod


async def upper(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
    return request.upper()


async def letters(request: bytes, context: grpc.aio.ServicerContext) -> AsyncIterator[bytes]:
    for letter in request:
        yield bytes([letter])


HANDLERS = grpc.method_handlers_generic_handler(
    "Text",
    {
        "Upper": grpc.unary_unary_rpc_method_handler(upper),
        "Letters": grpc.unary_stream_rpc_method_handler(letters),
    },
)


async def main() -> list[bytes]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((HANDLERS,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            answers = [await channel.unary_unary("/Text/Upper")(b"hello")]
            answers += [part async for part in channel.unary_stream("/Text/Letters")(b"abc")]
        return answers
    finally:
        await server.stop(grace=None)


if __name__ == "__main__":
    print(loopmod.run(main()))
