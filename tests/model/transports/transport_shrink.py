"""Makes a program that fails smaller, while it still fails."""

import copy
import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from model_shrink import shorter_lists, smallest


def simpler_operations(operation):
    """Operations that may stand in the place of this one."""
    name, *arguments = operation
    if name == "on":
        event, operations, finish = arguments
        for shorter in shorter_lists(operations):
            yield [name, event, shorter, finish]
        for at, inner in enumerate(operations):
            for other in simpler_operations(inner):
                yield [name, event, [*operations[:at], other, *operations[at + 1 :]], finish]
        if finish is not None:
            yield [name, event, operations, None]
    elif name == "writelines":
        sizes, form = arguments[0], arguments[-1]
        for shorter in shorter_lists(sizes):
            yield [name, shorter, *arguments[1:]]
        if form is sizes:
            return
        if form != "bytes":
            yield [name, sizes, "bytes"]
        if len(sizes) == 1:
            yield ["write", sizes[0], form]
    elif name in ("write", "sendto") and len(arguments) > 1 and arguments[1] != "bytes":
        yield [name, arguments[0], "bytes", *arguments[2:]]


def simpler_programs(program):
    """Programs one step simpler than this one, the greatest leaps first."""

    def other(change):
        simpler = copy.deepcopy(program)
        change(simpler)
        return simpler

    for steps in shorter_lists(program.steps):
        yield other(lambda p, steps=steps: setattr(p, "steps", steps))
    for number, step in enumerate(program.steps):
        for burst in shorter_lists(step):
            yield other(lambda p, number=number, burst=burst: p.steps.__setitem__(number, burst))
    for number, end in enumerate(program.ends):
        for made in shorter_lists(end["made"]):
            yield other(lambda p, number=number, made=made: p.ends[number].update(made=made))
        if end["buffered"] is not None:
            yield other(lambda p, number=number: p.ends[number].update(buffered=None))
        if not end["raw"] and program.tls_version is None and not program.ends[1 - number]["raw"]:
            yield other(lambda p, number=number: p.ends[number].update(raw=True))
    if program.debug:
        yield other(lambda p: setattr(p, "debug", False))
    for number, step in enumerate(program.steps):
        for at, (end, operation) in enumerate(step):
            for simpler in simpler_operations(operation):
                yield other(lambda p, n=number, at=at, end=end, new=simpler: p.steps[n].__setitem__(at, [end, new]))


def shrink(program, fails, is_time_over=lambda: False):
    """The smallest program found that `fails` still says True of."""
    return smallest(program, simpler_programs, fails, is_time_over)
