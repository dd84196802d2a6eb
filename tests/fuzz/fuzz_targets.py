"""The targets by name, and the kinds of loop that they run on.

A target is a function of an input and a factory of loops. It raises Broken, or anything else, where a rule does not
hold, and returns the course of the input where that is told.
"""

import asyncio
import importlib
import os

from fuzz_draw import Unavailable

TARGETS = {
    "tls": "fuzz_tls",
    "addresses": "fuzz_addresses",
    "streams": "fuzz_streams",
    "buffers": "fuzz_buffers",
    "poke": "fuzz_poke",
}
LOOPS = ("loopmod", "asyncio")


def load(name):
    """The function of a target, its module prepared for many inputs. The process is good for no other target then."""
    module = importlib.import_module(TARGETS[name])
    if hasattr(module, "prepare"):
        module.prepare()
    return getattr(module, name)


def check(name):
    """Raise Unavailable where this machine cannot play the target: told by a child, as it changes the process."""
    child = os.fork()
    if child == 0:
        try:
            load(name)
            os._exit(0)
        except Unavailable:
            os._exit(3)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status == 3:
        raise Unavailable("there is no network namespace to be had")


def factory_of(kind):
    if kind == "asyncio":
        return asyncio.SelectorEventLoop
    import loopmod

    return loopmod.new_event_loop
