"""One thread waits in the selector of a loop that does not run; another polls, runs and closes that loop meanwhile."""

import asyncio
import sys
import threading
import time

import loopmod

loop = loopmod.new_event_loop()
loop.run_until_complete(asyncio.sleep(0))
refused = []


def told(call, *args):
    try:
        call(*args)
    except RuntimeError as exc:
        return str(exc)
    return None


def others():
    while (second := told(loop._selector.select, 0)) is None:
        time.sleep(0.001)  # the main thread does not wait yet
    refused.extend([second, told(loop.run_forever), told(loop.close)])
    loop.call_soon_threadsafe(int)


thread = threading.Thread(target=others)
thread.start()
loop._selector.select(60)
thread.join()
assert len(refused) == 3
if getattr(sys, "_is_gil_enabled", lambda: True)():
    assert refused == 2 * ["This event loop is already running"] + ["Cannot close a running event loop"], refused
else:
    assert all("call_soon_threadsafe" in str(message) for message in refused), refused
loop.call_soon(loop.stop)
loop.run_forever()
loop.close()
print("ok")
