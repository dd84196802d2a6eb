"""Twisted on loopmod: the asyncio reactor is told its loop before anything imports the reactor.

python examples/recipes/twisted_app.py [PORT]
"""

import asyncio
import sys

from twisted.internet import asyncioreactor

import loopmod

loop = loopmod.new_event_loop()
asyncio.set_event_loop(loop)
asyncioreactor.install(loop)

from twisted.internet import defer, endpoints, reactor  # noqa: E402
from twisted.web import resource, server  # noqa: E402


async def loop_in_use() -> str:
    await asyncio.sleep(0)
    return type(asyncio.get_running_loop()).__module__


class LoopInUse(resource.Resource):
    isLeaf = True

    def render_GET(self, request: server.Request) -> int:
        def answer(name: str) -> None:
            request.write(name.encode())
            request.finish()

        defer.Deferred.fromFuture(asyncio.ensure_future(loop_in_use())).addCallback(answer)
        return server.NOT_DONE_YET


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    endpoints.TCP4ServerEndpoint(reactor, port, interface="127.0.0.1").listen(server.Site(LoopInUse()))
    reactor.run()
