"""A timer whose moment is itself, by a descriptor of the base class: its hash recursed until the stack was full."""

import asyncio

import loopmod

loop = loopmod.new_event_loop()
timer = loop.call_later(1, print)
for name in ("_args", "_callback", "_context", "_loop", "_repr", "_source_traceback"):
    vars(asyncio.Handle)[name].__set__(timer, timer)
try:
    hash(timer)
except RecursionError:
    pass
for name in ("_args", "_callback", "_context", "_loop", "_repr", "_source_traceback"):
    vars(asyncio.Handle)[name].__set__(timer, None)
loop.close()
print("ok")
