"""One ASGI application under the servers that run such: each takes loopmod in its own way.

    python examples/recipes/asgi_servers.py uvicorn|hypercorn|granian|gunicorn|gunicorn-uvicorn [PORT]

Worker processes of granian import this file again, and so choose as it does; those of gunicorn, which has a worker of
its own for ASGI and takes uvicorn's, are forks.
"""

import asyncio
import sys

import loopmod


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = type(asyncio.get_running_loop()).__module__.encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


def on_uvicorn(port: int) -> None:
    import uvicorn

    uvicorn.run(app, port=port, loop="loopmod:new_event_loop")


def on_hypercorn(port: int) -> None:
    import hypercorn.asyncio
    from hypercorn.config import Config

    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    loopmod.run(hypercorn.asyncio.serve(app, config))


def on_granian(port: int) -> None:
    from granian import Granian

    Granian("asgi_servers:app", port=port, interface="asgi", loop="asyncio").serve()


def on_gunicorn(port: int, **worker: object) -> None:
    from gunicorn.app.base import BaseApplication

    class Gunicorn(BaseApplication):
        def load_config(self) -> None:
            options = {"bind": f"127.0.0.1:{port}", "worker_class": "asgi", "asgi_loop": "asyncio", **worker}
            for name, value in options.items():
                self.cfg.set(name, value)

        def load(self):
            return app

    Gunicorn().run()


def on_gunicorn_uvicorn(port: int) -> None:
    from uvicorn_worker import UvicornWorker

    class Worker(UvicornWorker):
        CONFIG_KWARGS = {"loop": "loopmod:new_event_loop"}

    on_gunicorn(port, worker_class=Worker)


loopmod.install()  # what "asyncio" is to the workers of granian and gunicorn

if __name__ == "__main__":
    name = sys.argv[1]
    servers = [on_uvicorn, on_hypercorn, on_granian, on_gunicorn, on_gunicorn_uvicorn]
    serve = {server.__name__: server for server in servers}[f"on_{name}".replace("-", "_")]
    serve(int(sys.argv[2]) if len(sys.argv) > 2 else 8000)
