"""NiceGUI: `ui.run` starts a uvicorn, with reload=True in a process that it spawns."""

import asyncio
import sys

from nicegui import app, ui


@app.get("/")
async def loop_in_use() -> str:
    return type(asyncio.get_running_loop()).__module__


if __name__ in ("__main__", "__mp_main__"):
    ui.run(host="127.0.0.1", port=int(sys.argv[1]), reload="reload" in sys.argv, show=False)
