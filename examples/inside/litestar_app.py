"""Litestar: `litestar run` starts a uvicorn of its own."""

import asyncio

from litestar import Litestar, get


@get("/")
async def loop_in_use() -> str:
    return type(asyncio.get_running_loop()).__module__


app = Litestar([loop_in_use])
