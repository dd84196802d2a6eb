"""FastAPI on loopmod: a server with a plain path, a stream and a WebSocket; and its tests with TestClient.

uvicorn --loop loopmod:new_event_loop fastapi_app:app        (in this directory)
python examples/recipes/fastapi_app.py                       (TestClient asks the application)
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient

import loopmod


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.noted = []
    app.state.clock = asyncio.create_task(asyncio.sleep(3600))
    yield
    app.state.clock.cancel()


app = FastAPI(lifespan=lifespan)


@app.get("/loop")
async def loop_in_use() -> str:
    return type(asyncio.get_running_loop()).__module__


@app.get("/thread/{number}")
def in_a_thread(number: int, background: BackgroundTasks) -> int:
    background.add_task(app.state.noted.append, number)
    return number * 2


@app.get("/stream")
async def stream() -> StreamingResponse:
    async def parts() -> AsyncIterator[str]:
        for number in range(5):
            await asyncio.sleep(0)
            yield f"{number},"

    return StreamingResponse(parts())


@app.websocket("/upper")
async def upper(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text.upper())


def main(loop_factory=loopmod.new_event_loop) -> list[object]:
    with TestClient(app, backend_options={"loop_factory": loop_factory}) as client:
        answers = [client.get(path).text for path in ("/loop", "/thread/21", "/stream")]
        with client.websocket_connect("/upper") as socket:
            socket.send_text("said")
            answers.append(socket.receive_text())
        return [*answers, app.state.noted]


if __name__ == "__main__":
    print(main())
