"""The grammar of the programs: each operation is a method of the world, and says here what its arguments are.

    @rule("future", "i v")          family, and the kinds of its arguments
    def op_set_result(self, who, index, value): ...

A name begins with `op_` where the operation may stand in callbacks and coroutines, with `do_` where it is a statement
of a coroutine, and with `aw_` where it makes something to await. A program is lists in lists: an operation is
`[name, argument, ...]`, a body is a list of operations.
"""

import sys

# What stands for an argument in a rule, and how a program shows it:
#   i  which one of the things there are, modulo their number      n  a small number         ?  0 or 1
#   v  a value          x  an exception         m  a cancel message     d  a delay, in turns
#   c  a context        k  how a task or future is made                 h  what becomes of an exception that is caught
#   b  a body of a callback     B  a body of a coroutine     e  something to await     E  a list of these


class Rule:
    def __init__(self, name, place, family, spec):
        self.name = name
        self.place = place
        self.family = family
        self.spec = spec.split()


def rule(family, spec="", since=(3, 11)):
    """Make a method of the world an operation, on versions of Python that have what it is about."""

    def mark(method):
        if sys.version_info[:2] >= since:
            place, name = method.__name__.split("_", 1)
            method.rule = Rule(name, place, family, spec)
        return method

    return mark


def rules_of(world):
    """The rules of a class, by place: each a list of them."""
    found = {"op": [], "do": [], "aw": []}
    for name in sorted(dir(world)):
        of_method = getattr(getattr(world, name), "rule", None)
        if of_method is not None:
            found[of_method.place].append(of_method)
    return found
