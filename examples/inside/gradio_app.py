"""Gradio: `launch` starts a uvicorn in a thread; a client of the page asks for the loop there."""

import asyncio
import sys

import gradio
from gradio_client import Client


async def loop_in_use():
    return type(asyncio.get_running_loop()).__module__


demo = gradio.Interface(loop_in_use, None, "text")
demo.launch(server_port=int(sys.argv[1]), prevent_thread_lock=True, quiet=True)
print(Client(f"http://127.0.0.1:{sys.argv[1]}", verbose=False).predict(api_name="/loop_in_use"))
demo.close(verbose=False)
