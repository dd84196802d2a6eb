"""Tornado on loopmod: its IOLoop stands on the running asyncio loop.

python examples/recipes/tornado_app.py [PORT]
"""

import asyncio
import sys

import tornado.web

import loopmod


class LoopInUse(tornado.web.RequestHandler):
    async def get(self) -> None:
        self.write(type(asyncio.get_running_loop()).__module__)


async def main(port: int) -> None:
    tornado.web.Application([("/", LoopInUse)]).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    loopmod.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8888))
