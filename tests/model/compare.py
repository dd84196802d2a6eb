"""One program on two loops: what differs between the logs."""

import asyncio
import difflib

import loopmod
from play import play

FACTORIES = {
    "new_event_loop": loopmod.new_event_loop,
    "new_server_loop": loopmod.new_server_loop,
    "asyncio": asyncio.SelectorEventLoop,
}


def both(program, factory):
    return play(program, asyncio.SelectorEventLoop), play(program, factory)


def differences(program, factory):
    """Names of the logs that differ."""
    expected, found = both(program, factory)
    return [name for name in expected if expected[name] != found[name]]


def lines(log):
    return [str(entry) for entry in log]


def show_difference(program, factory, whole=False):
    """Print what differs; return whether anything does."""
    expected, found = both(program, factory)
    differs = False
    for name in expected:
        if expected[name] != found[name]:
            differs = True
            print(f"{name}: asyncio (-), under test (+)")
            context = 1000 if whole else 6
            for line in list(difflib.unified_diff(lines(expected[name]), lines(found[name]), n=context))[2:]:
                print("   ", line.rstrip())
        elif whole:
            print(f"{name}: the same")
            for line in lines(expected[name]):
                print("    ", line)
    return differs
