"""Makes programs: the same one for the same seed and version of Python."""

import json
import random

from tasks_nested import UNNESTED_FAMILIES, UNNESTED_OPERATIONS
from tasks_rules import rules_of
from tasks_run import TasksWorld
from tasks_world import EXCEPTIONS

RULES = rules_of(TasksWorld)
FAMILIES = sorted({family for rules in RULES.values() for rule in rules for family in rule.family.split()})
# Families that stand for how often, or whether at all, rather than for a part of asyncio.
MANNERS = {"always", "odd", "nested"}
PHASES = ["forever", "forever", "forever", "until future", "until coroutine", "again and again", "turn by turn"]
DEEPEST = 4


class Program:
    def __init__(self, seed, debug, clock, phases, ending, is_nested=False):
        self.seed = seed
        self.debug = debug
        self.clock = clock
        self.phases = phases
        self.ending = ending
        self.is_nested = is_nested

    def show(self):
        """The program as text; `tasks_run.py` says what the phases do."""
        lines = [f"seed {self.seed}, debug {self.debug}, clock {self.clock}, ending {self.ending}"]
        for name, turns, ops in self.phases:
            lines.append(f"{name}, {turns} turns:")
            lines += ["    " + json.dumps(op) for op in ops]
        return "\n".join(lines)


class Maker:
    def __init__(self, seed, is_nested=False):
        self.is_nested = is_nested
        self.random = random.Random(seed)
        chosen = [family for family in FAMILIES if family not in MANNERS and self.random.random() < 0.4]
        self.is_odd = self.random.random() < 0.3 and not is_nested
        self.families = {*chosen, self.random.choice(["task", "future"])}
        self.budget = self.random.choice([10, 30, 60, 120])
        self.rules = {place: [rule for rule in rules if self.is_chosen(rule)] for place, rules in RULES.items()}
        # A few operations come often in this program.
        self.often = {place: self.random.choices(rules, k=3) for place, rules in self.rules.items() if rules}
        self.often["op"] += [rule for rule in self.rules["op"] if rule.family == "nested"]

    def is_chosen(self, rule):
        families = set(rule.family.split())
        if "nested" in families:
            return self.is_nested
        if self.is_nested and (families & UNNESTED_FAMILIES or rule.name in UNNESTED_OPERATIONS):
            return False
        if "odd" in families and not (self.is_odd and self.random.random() < 0.5):
            return False
        return "always" in families or bool(families & self.families)

    def one(self, place, depth):
        """An operation for this place."""
        self.budget -= 1
        rules = self.often if self.random.random() < 0.3 else self.rules
        rule = self.random.choice(rules[place])
        return [rule.name, *(getattr(self, "make_" + NAMES[kind])(depth + 1) for kind in rule.spec)]

    def some(self, most, depth):
        if self.budget <= 0:
            return 0
        return self.random.randint(0, most if depth < DEEPEST else 1)

    # The kinds of arguments

    def make_index(self, depth):
        return self.random.choice([0, 1, 2, 3, 4, 5, 6, 7, -1, -1, -2, -3])

    def make_number(self, depth):
        return self.random.randint(0, 7)

    def make_flag(self, depth):
        return self.random.randint(0, 1)

    def make_value(self, depth):
        return self.random.choice([None, 1, 2, "text", [self.random.randint(0, 7)]])

    def make_exception(self, depth):
        ordinary = ["ValueError", "own", "CancelledError"]
        return self.random.choice(list(EXCEPTIONS) if self.is_odd else ordinary)

    def make_message(self, depth):
        return self.random.choice([[], [], ["message"], [None], [5]])

    def make_delay(self, depth):
        return self.random.choice([0, 0, 0, 1, 1, 2, 3, 5, -1, 1000])

    def make_context(self, depth):
        return self.random.choice(["none"] * 6 + ["empty", "copy"] + ["old"] * (not self.is_nested))

    def make_kind(self, depth):
        return self.random.choice(["loop"] * 5 + ["stock", "python", "subclass"] + ["eager"] * (not self.is_nested))

    def make_handling(self, depth):
        return self.random.choice(["swallow", "swallow", "raise", "raise other", "raise from", "after"])

    def make_callback(self, depth):
        ops = [self.one("op", depth) for _ in range(self.some(3, depth))]
        if self.random.random() < 0.05:
            ops.append(["raise", self.make_exception(depth)])
        return ops

    def make_body(self, depth):
        ops = []
        for _ in range(self.some(4, depth)):
            if depth < DEEPEST and self.random.random() < 0.6:
                ops.append(self.one("do", depth) if self.random.random() < 0.4 else self.make_await(depth))
            else:
                ops.append(self.one("op", depth))
        if self.random.random() < 0.08:
            ops.append(["raise", self.make_exception(depth)])
        return ops

    def make_await(self, depth):
        return ["await", self.make_awaitable(depth), int(self.random.random() < 0.4)]

    def make_awaitable(self, depth):
        return self.one("aw", depth) if depth <= DEEPEST else ["sleep", self.make_delay(depth), None]

    def make_awaitables(self, depth):
        return [self.make_awaitable(depth) for _ in range(self.random.choice([0, 1, 2, 2, 3]))]

    def make_program(self, seed):
        phases = []
        for _ in range(self.random.randint(1, 4)):
            name = "forever" if self.is_nested else self.random.choice(PHASES)
            count = self.random.randint(1, 3)
            ops = [["task", self.make_body(1), self.make_kind(1), 1, "none"] for _ in range(count)]
            ops += [self.one("op", 1) for _ in range(self.random.randint(1, 4))]
            self.random.shuffle(ops)
            phases.append([name, self.random.choice([3, 10, 30]), ops])
        debug = self.random.random() < 0.2 and not self.is_nested
        clock = self.random.choice(["turns", "ties", "real"])
        ending = self.random.choice(["close", "cancel", "cancel"] + ["runner"] * (not self.is_nested))
        return Program(seed, debug, clock, phases, ending, self.is_nested)


LETTERS = "i n ? v x m d c k h b B e E"
MEANINGS = "index number flag value exception message delay context kind handling callback body awaitable awaitables"
NAMES = dict(zip(LETTERS.split(), MEANINGS.split(), strict=True))


def make_program(seed, is_nested=False):
    return Maker(seed, is_nested).make_program(seed)
