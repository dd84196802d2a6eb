"""One program on two loops: what differs between the logs; and a smaller program that differs still."""

import copy
import difflib
import os
import re
import sys
import time

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from model_shrink import shorter_lists, smallest
from tasks_oracle import OracleLoop
from tasks_run import play

import loopmod

FACTORIES = {
    "new_event_loop": loopmod.new_event_loop,
    "new_server_loop": loopmod.new_server_loop,
    "asyncio": OracleLoop,
}
SHRINKING = 60.0
ONCE_MORE = 3
# From where on nothing is the same: how deep a recursion gets is another number where frames are C, and an eager task
# whose context is entered already stays asyncio's current task for ever.
LAWLESS = re.compile("RecursionError|cannot enter context")
# A task in Python, which nest_asyncio makes of all, finds something else wrong with one that awaits itself.
LAWLESS_NESTED = re.compile(f"{LAWLESS.pattern}|cannot await on itself|await wasn't used with future")

# Whose exception is retrieved, and whose is told as never retrieved, goes by the order of a set.
BY_ADDRESS = re.compile('(async|as)_completed"')


def both(program, factory, is_python=False):
    expected, found = play(program, OracleLoop, is_python), play(program, factory, is_python)
    lawless = LAWLESS_NESTED if program.is_nested else LAWLESS
    ends = [at for one in (expected, found) for at, entry in enumerate(one["log"]) if lawless.search(entry)]
    for one in (expected, found):
        if ends:
            one.update(log=one["log"][: min(ends)], late=[])
        elif BY_ADDRESS.search(program.show()):
            one.update(late=[])
    return expected, found


def differences(program, factory, is_python=False):
    """What is wrong with a program's two plays; nothing where they agree.

    What is told when things die at the end, in cycles and in no order, may differ by chance: it has to differ each
    time.
    """
    for _ in range(ONCE_MORE):
        expected, found = both(program, factory, is_python)
        if expected == found or expected["log"] != found["log"]:
            break
    wrong = [f"{name} differs" for name in expected if expected[name] != found[name]]
    return wrong + ["STUCK" for log in (expected, found) if "STUCK" in log["log"]]


def show_difference(program, factory, is_python=False, whole=False):
    """Print the program and what differs; return whether anything does."""
    print(program.show())
    expected, found = both(program, factory, is_python)
    for name in expected:
        print(f"{name}: asyncio (-), under test (+)")
        context = 1000 if whole else 4
        lines = list(difflib.unified_diff(expected[name], found[name], n=context))[2:]
        for line in lines or (expected[name] if whole else []):
            print("   ", line.rstrip())
    return expected != found


# Shrinking: a program is lists in lists


def is_operation(node):
    return isinstance(node, list) and bool(node) and isinstance(node[0], str)


def is_body(node):
    return isinstance(node, list) and bool(node) and all(is_operation(item) for item in node)


def simpler_nodes(node):
    """What may stand in the place of this part of a program."""
    if is_body(node):
        yield from shorter_lists(node)
        for at, op in enumerate(node):
            for inner in op[1:]:
                if is_body(inner):
                    yield node[:at] + inner + node[at + 1 :]
    if is_operation(node):
        for inner in node[1:]:
            if is_operation(inner) and node[0] != "await":
                yield inner
    if isinstance(node, list):
        for at, inner in enumerate(node):
            for simpler in simpler_nodes(inner):
                yield [*node[:at], simpler, *node[at + 1 :]]


def simpler_programs(program):
    def other(**changes):
        simpler = copy.copy(program)
        vars(simpler).update(changes)
        return simpler

    for phases in shorter_lists(program.phases):
        if phases:
            yield other(phases=phases)
    for at, (name, turns, ops) in enumerate(program.phases):
        for simpler in simpler_nodes(ops):
            yield other(phases=[*program.phases[:at], [name, turns, simpler], *program.phases[at + 1 :]])
    if program.debug:
        yield other(debug=False)
    if program.ending != "close":
        yield other(ending="close")
    if program.clock != "real":
        yield other(clock="real")


def shrunk(program, factory, is_python=False):
    """The smallest program found within a minute that differs as this one does."""
    wanted = differences(program, factory, is_python)
    if not wanted:
        return program
    until = time.monotonic() + SHRINKING
    return smallest(
        program,
        simpler_programs,
        lambda simpler: differences(simpler, factory, is_python) == wanted,
        lambda: time.monotonic() > until,
    )
