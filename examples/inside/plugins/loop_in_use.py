"""Datasette: a page of a plugin that answers with the loop that the server runs on."""

import asyncio

from datasette import Response, hookimpl


async def answer(request):
    return Response.text(type(asyncio.get_running_loop()).__module__)


@hookimpl
def register_routes():
    return [(r"^/loop$", answer)]
