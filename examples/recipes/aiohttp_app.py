"""aiohttp on loopmod: a server that `web.run_app` runs.

python examples/recipes/aiohttp_app.py [PORT]
"""

import asyncio
import sys

from aiohttp import web

import loopmod


async def loop_in_use(request: web.Request) -> web.Response:
    return web.Response(text=type(asyncio.get_running_loop()).__module__)


def make_app() -> web.Application:
    app = web.Application()
    app.router.add_get("/", loop_in_use)
    return app


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    web.run_app(make_app(), host="127.0.0.1", port=port, loop=loopmod.new_event_loop())
