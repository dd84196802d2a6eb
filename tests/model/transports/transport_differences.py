"""One program on two loops: what differs between the logs."""

import asyncio
import collections
import difflib

from transport_families import JOINED, KINDS, PAIR_KINDS, play

import loopmod

FACTORIES = {
    "new_event_loop": loopmod.new_event_loop,
    "new_server_loop": loopmod.new_server_loop,
    "asyncio": asyncio.SelectorEventLoop,
    # Each end on a loop of its own.
    "near": (loopmod.new_event_loop, asyncio.SelectorEventLoop),
    "far": (asyncio.SelectorEventLoop, loopmod.new_event_loop),
    "apart": (loopmod.new_event_loop, loopmod.new_event_loop),
}


def kinds_for(factory):
    """The kinds worth playing on a loop of this factory: plain streams are all that a loop joins the writes of."""
    if isinstance(factory, tuple):
        return PAIR_KINDS
    return JOINED if factory is loopmod.new_server_loop else KINDS


def both(program, factory):
    is_joined = factory is loopmod.new_server_loop
    oracle = asyncio.SelectorEventLoop
    if isinstance(factory, tuple):
        oracle = (oracle, oracle)
    return play(program, oracle, is_joined), play(program, factory, is_joined)


def wrong_entries(logs):
    """What is wrong on any loop: bytes that were not sent, a play that did not come to rest."""
    return [entry for log in logs.values() for entry in log if entry[0].isupper()]


def count_bytes(entry):
    """How many bytes an entry of a log has compared."""
    if not isinstance(entry, (list, tuple)) or not entry:
        return 0
    match entry:
        case ["data", int(start), int(end)]:
            return end - start
        case ["datagram" | "bytes", int(size), *_]:
            return size
    return sum(map(count_bytes, entry))


def count(logs, seen):
    seen["programs"] += 1
    seen["entries"] += sum(map(len, logs.values()))
    seen["bytes"] += sum(map(count_bytes, logs.values()))


def differences(program, factory, seen=None):
    """What is wrong with a program's two plays; nothing where they agree. What was compared is added to `seen`."""
    expected, found = both(program, factory)
    count(expected, collections.Counter() if seen is None else seen)
    wrong = [f"{name} differs" for name in expected if expected[name] != found[name]]
    wrong += [f"asyncio: {entry}" for entry in wrong_entries(expected)]
    wrong += [f"under test: {entry}" for entry in wrong_entries(found)]
    return wrong


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
