"""mitmproxy: an addon that says on which loop the proxy runs, and ends it."""

import asyncio

from mitmproxy import ctx


def running():
    print(type(asyncio.get_running_loop()).__module__, flush=True)
    asyncio.get_running_loop().call_soon(ctx.master.shutdown)
