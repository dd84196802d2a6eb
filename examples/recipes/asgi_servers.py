"""One ASGI application under the servers that run such: each takes loopmod in its own way.

    python examples/recipes/asgi_servers.py uvicorn|hypercorn|granian [PORT]

Worker processes of granian import this file again, and so choose as it does.
"""

import asyncio
import sys

import loopmod


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = type(asyncio.get_running_loop()).__module__.encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def on_uvicorn(port: int) -> None:
    import uvicorn

    uvicorn.run(app, port=port, loop="loopmod:new_event_loop")


def on_hypercorn(port: int) -> None:
    import hypercorn.asyncio
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    loopmod.run(hypercorn.asyncio.serve(app, config))


def on_granian(port: int) -> None:
    from granian import Granian

    Granian("asgi_servers:app", port=port, interface="asgi", loop="asyncio").serve()


loopmod.install()  # what granian's "asyncio" is in its workers

if __name__ == "__main__":
    name = sys.argv[1]
    serve = {"uvicorn": on_uvicorn, "hypercorn": on_hypercorn, "granian": on_granian}[name]
    serve(int(sys.argv[2]) if len(sys.argv) > 2 else 8000)
