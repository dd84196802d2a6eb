"""Sanic on loopmod: its worker processes import this file, so they choose as it does.

python examples/recipes/sanic_app.py [PORT]
"""

import asyncio
import sys

from sanic import Sanic, text
from sanic.request import Request
from sanic.response import HTTPResponse

import loopmod

loopmod.install()
app = Sanic("recipe")
app.config.USE_UVLOOP = False


@app.get("/")
async def loop_in_use(request: Request) -> HTTPResponse:
    return text(type(asyncio.get_running_loop()).__module__)


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    app.run("127.0.0.1", port, motd=False, workers=1)
