"""Hello world of the usual servers."""

import asyncio
import socket
from typing import Any

from cases.declare import Load, server

HTTP = (Load(http_path="/"),)


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.setblocking(False)
    return listener


class _Listening:
    def __init__(self, listener: socket.socket, *kept: Any) -> None:
        self.sockets = [listener]
        self.kept = kept


@server(loads=HTTP, needs=("aiohttp",))
async def http_aiohttp() -> Any:
    """a GET answered by aiohttp's web server with `hello`"""
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = _listener()
    await web.SockSite(runner, listener).start()
    return _Listening(listener, runner)


@server(loads=HTTP, needs=("uvicorn", "httptools"))
async def http_uvicorn() -> Any:
    """a GET answered by uvicorn with httptools and a bare ASGI application with `hello`"""
    import uvicorn

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
        await send({"type": "http.response.body", "body": b"hello"})

    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_level="error", access_log=False)
    listener = _listener()
    serving = asyncio.create_task(uvicorn.Server(config).serve(sockets=[listener]))
    await asyncio.sleep(0.1)  # it tells nobody when it has begun
    return _Listening(listener, serving)
