"""Random programs for a pair of transports: what they are made of, and how a seed becomes one.

A program is plain data. Each of its steps is a burst of operations on the two ends, made within one callback of the
loop; between two steps everything comes to rest. An operation may be `on`: further operations for the next time that
the end's protocol is called in that way. Which operations are allowed in which state is not known here: the player
(`transport_play.py`) leaves out what would make the kernel's timing visible, by rules that depend on nothing but the
program.
"""

import json
import random

STREAMS = ["tcp", "tcp_sock", "unix", "unix_sock"]
PIPES = ["pipe", "fifo", "socket_pipe"]
DATAGRAMS = ["udp", "udp_connected", "unix_datagram"]
TLS = ["tls", "start_tls"]
KINDS = STREAMS + PIPES + DATAGRAMS + TLS

# More than both buffers of the kernel between the ends hold together, as `transport_links.py` sets them.
BIG = 800_000
FORMS = ["bytes", "bytearray", "memoryview"]
# High-water marks far below what is left of a big write, or far above it.
MARKS = [None, 0, 1, 1000, 100_000_000]
NAMES = ["peername", "sockname", "socket", "pipe", "nothing", "sslcontext", "addr"]


class Program:
    """Seed, kind of link, what each end is, the steps."""

    family = "pairs"

    def __init__(self, seed, kind, debug, tls_version, ends, steps):
        self.seed = seed
        self.kind = kind
        self.debug = debug
        self.tls_version = tls_version
        self.ends = ends
        self.steps = steps

    def to_json(self):
        return json.dumps(vars(self))

    @classmethod
    def from_json(cls, text):
        return cls(**json.loads(text))

    def show(self):
        """The program as text, an operation a line."""
        lines = [f"seed {self.seed}, {self.kind} {self.tls_version or ''}{', debug mode' if self.debug else ''}"]
        lines += [f"  end {number}: {end}" for number, end in enumerate(self.ends)]
        for number, step in enumerate(self.steps):
            lines.append(f"step {number}")
            lines += [f"  end {end}: {operation}" for end, operation in step]
        return "\n".join(lines)


class Maker:
    """Draws a program from a seed."""

    def __init__(self, seed):
        self.seed = seed
        self.chance = random.Random(seed)
        self.kind = self.chance.choice(KINDS)
        self.ending = 1.0

    def maybe(self, share):
        return self.chance.random() < share

    def make(self):
        chance = self.chance
        ends = [self.end(0), self.end(1)]
        if ends[0]["raw"] and ends[1]["raw"]:
            ends[chance.randrange(2)]["raw"] = False
        count = chance.choice([1, 2, 4, 6, 8, 12])
        steps = []
        for number in range(count):
            # Ends come late, or most of a program is played with nobody.
            self.ending = 0.1 + number / count
            one_end = chance.choice([0, 1, None, None])
            burst = []
            for _ in range(chance.choice([1, 1, 2, 3, 5])):
                end = chance.randrange(2) if one_end is None else one_end
                operation = self.operation()
                burst.append([end, operation])
                if operation[0] == "on" and self.maybe(0.8):
                    burst += self.provocation(end, operation[1])
            steps.append(burst)
        tls_version = chance.choice(["TLSv1_2", "TLSv1_3"]) if self.kind in TLS else None
        return Program(self.seed, self.kind, self.maybe(0.2), tls_version, ends, steps)

    def provocation(self, end, event):
        """What makes an event likely to happen to this end, in the same step."""
        other, chance = 1 - end, self.chance
        if event == "lost":
            event = "own end" if self.kind in DATAGRAMS else chance.choice(["eof", "own end"])
        if event == "own end":
            return [[end, [chance.choice(["close", "abort"])]]]
        if event == "error":
            return [[other, ["close"]]]
        if event == "eof":
            return [[other, [chance.choice(["write_eof", "write_eof", "close"])]]]
        if event in ("pause", "resume"):
            return [[end, ["limits", chance.choice(MARKS[:4])]], [end, self.carrying(BIG)]]
        return [[other, self.carrying(chance.choice([1, 100, 1500, BIG]))]]

    def carrying(self, size):
        if self.kind in DATAGRAMS:
            return ["sendto", min(size, 9000), self.chance.choice(FORMS), "peer"]
        return ["write", size, self.chance.choice(FORMS)]

    def end(self, number):
        chance = self.chance
        end = {
            "raw": self.kind not in TLS and self.maybe(0.25),
            "buffered": None,
            "keep_open": self.maybe(0.4),
            "made": [],
        }
        if self.kind in STREAMS + TLS and self.maybe(0.3):
            end["buffered"] = chance.choice([1, 100, 5000, 200_000])
        if self.maybe(0.3):
            end["made"] = [self.operation("made") for _ in range(chance.randrange(1, 4))]
        return end

    def size(self):
        return self.chance.choice([0, 1, 1, 7, 100, 1500, 4000, BIG])

    def sizes(self):
        """Of several pieces, one at most is big."""
        sizes = [self.size() for _ in range(self.chance.choice([0, 1, 2, 3, 20]))]
        first = sizes.index(BIG) if BIG in sizes else None
        return [size if size != BIG or at == first else 20 for at, size in enumerate(sizes)]

    def operation(self, within=None):
        """One operation: for a step, or within a callback."""
        chance = self.chance
        if self.kind in DATAGRAMS:
            return self.datagram_operation(within)
        plain = {
            "write": 10, "writelines": 4, "write_eof": 2 * self.ending, "close": 2 * self.ending,
            "abort": self.ending, "pause_reading": 4, "resume_reading": 4,
            "limits": 2, "ask": 2, "set_protocol": 1, "soon": 2, "on": 8, "flutter": 1,
            "bad_write": 0.5,
        }  # fmt: skip
        if within is not None:
            plain["on"] = 1
        if within == "made":
            for name in ("write_eof", "close", "abort", "on"):
                plain[name] = 0
        name = chance.choices(list(plain), list(plain.values()))[0]
        if name == "write":
            return [name, self.size(), chance.choice(FORMS)]
        if name == "writelines":
            return [name, self.sizes(), chance.choice(FORMS)]
        if name == "limits":
            return [name, chance.choice(MARKS)]
        if name == "ask":
            return [name, chance.choice(NAMES)]
        if name == "set_protocol":
            return [name, chance.choice([None, None, 100, 70_000])]
        if name == "bad_write":
            return [name, chance.choice(["str", "None", "int", "list"])]
        if name == "on":
            event = chance.choice(["data", "data", "eof", "eof", "pause", "resume", "lost", "get_buffer"])
            return self.reaction(event)
        return [name]

    def reaction(self, event):
        chance = self.chance
        operations = [self.operation(event) for _ in range(chance.choice([0, 1, 1, 2, 3]))]
        finish = None
        if self.maybe(0.2):
            finish = "raise"
        elif event == "eof":
            finish = chance.choice([True, False])
        return ["on", event, operations, finish]

    def datagram_operation(self, within):
        chance = self.chance
        plain = {
            "sendto": 12, "close": self.ending, "abort": self.ending, "pause_reading": 0.5, "resume_reading": 0.5,
            "limits": 1, "ask": 2, "soon": 2, "on": 6, "bad_write": 0.5, "set_protocol": 0.5,
        }  # fmt: skip
        if within is not None:
            plain["on"] = 1
        if within == "made":
            for name in ("close", "abort", "on"):
                plain[name] = 0
        name = chance.choices(list(plain), list(plain.values()))[0]
        if name == "sendto":
            size = chance.choice([0, 1, 7, 100, 1500, 9000, 20_000, 100_000])
            return [name, size, chance.choice(FORMS), chance.choice(["peer"] * 12 + ["wrong"] * 3 + ["none", "bad"])]
        if name == "limits":
            return [name, chance.choice(MARKS)]
        if name == "ask":
            return [name, chance.choice(NAMES)]
        if name == "bad_write":
            return [name, chance.choice(["str", "None", "int", "list"])]
        if name == "set_protocol":
            return [name, None]
        if name == "on":
            event = chance.choice(["data", "data", "data", "error", "lost", "pause", "resume"])
            return self.reaction(event)
        return [name]


def make_program(seed):
    return Maker(seed).make()
