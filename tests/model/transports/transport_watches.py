"""Random programs for add_reader and add_writer, with callbacks that add, replace, remove, read and raise.

Each descriptor has a log of its own, and its callbacks touch that descriptor alone: which of several comes first is
the kernel's choice, and so whether one would still find what another removes. What a callback does later, by
`call_soon`, is not compared: a busy loop of ours may leave a poll out.
"""

import os
import socket

from transport_links import limit
from transport_stage import TEXT, Stage, pick

NAME = "watches"
KINDS = ["watch_sockets", "watch_pipes", "watch_numbers"]
PAIRS = 3


def draw_options(chance, kind):
    return {}


def reaction(chance):
    name = pick(chance, {
        "read": 8, "read_some": 2, "remove_reader": 3, "remove_writer": 3, "add_reader": 3, "add_writer": 2,
        "raise": 2, "close": 0.3, "send": 1,
    })  # fmt: skip
    return [name]


def reactions(chance):
    """What a callback does, call by call; then it takes everything, or itself out."""
    return [[reaction(chance) for _ in range(chance.choice([0, 1, 1, 2, 3]))] for _ in range(chance.randrange(4))]


def draw(chance, kind, options, progress):
    name = pick(chance, {
        "add_reader": 8, "add_writer": 6, "remove_reader": 4, "remove_writer": 4, "send": 10,
        "close_peer": progress / 2, "shut_peer": progress, "close": progress / 3, "fill": 1, "soon": 2,
    })  # fmt: skip
    arguments = []
    if name.startswith("add"):
        arguments = [reactions(chance)]
    elif name == "send":
        arguments = [chance.choice([1, 10, 3000])]
    return chance.randrange(PAIRS), [name, *arguments]


class Watches(Stage):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.is_pipe = self.kind == "watch_pipes"
        self.near, self.far = [], []
        self.closed = [False] * PAIRS
        self.peer_closed = [False] * PAIRS
        self.names = 0

    async def begin(self):
        for _ in range(PAIRS):
            near, far = (limit(sock) for sock in socket.socketpair())
            if self.is_pipe:
                near.close()
                far.close()
                reading, writing = os.pipe()
                near, far = open(reading, "rb", 0), open(writing, "wb", 0)
            os.set_blocking(near.fileno(), False)
            os.set_blocking(far.fileno(), False)
            self.near.append(near)
            self.far.append(far)

    async def finish(self):
        for actor in range(PAIRS):
            if not self.closed[actor]:
                self.loop.remove_reader(self.near[actor])
                self.loop.remove_writer(self.near[actor])
            self.near[actor].close()
            self.far[actor].close()

    def target(self, actor):
        return self.near[actor].fileno() if self.kind == "watch_numbers" else self.near[actor]

    def callback(self, actor, what, plan):
        """A callback with a name of its own that does what its plan says."""
        self.names += 1
        name, calls = f"{what} {self.names}", list(plan)

        def call(*arguments):
            self.note(actor, "called", name, *arguments)
            if calls:
                for operation in calls.pop(0):
                    self.react(actor, name, operation[0])
            elif what == "writer":
                self.note(actor, name, "out", self.loop.remove_writer(self.target(actor)))
            elif not self.read(actor, 100_000):
                self.note(actor, name, "out", self.loop.remove_reader(self.target(actor)))

        return call

    def read(self, actor, size):
        """Read; return whether there may be more some time."""
        try:
            data = os.read(self.near[actor].fileno(), size)
        except OSError as exc:
            self.note(actor, "read", self.show_exception(exc))
            return isinstance(exc, BlockingIOError)
        self.note(actor, "read", self.show(data))
        return bool(data)

    def react(self, actor, name, operation):
        if self.closed[actor]:
            return
        target = self.target(actor)
        match operation:
            case "read":
                if not self.read(actor, 100_000):
                    self.loop.remove_reader(target)
            case "read_some":
                self.read(actor, 5)
            case "raise":
                raise ValueError(name)
            case "add_reader" | "add_writer":
                self.do(actor, [operation, []])
            case "send":
                self.do(actor, ["send", 10])
            case _:
                self.do(actor, [operation])

    def may(self, actor, *arguments):
        return not self.closed[actor]

    def op_add_reader(self, actor, plan):
        handle = self.loop.add_reader(self.target(actor), self.callback(actor, "reader", plan), "argument", 5)
        return handle is None

    def op_add_writer(self, actor, plan):
        handle = self.loop.add_writer(self.target(actor), self.callback(actor, "writer", plan))
        return handle is None

    def may_add_writer(self, actor, plan):
        return not self.closed[actor] and not self.is_pipe

    def op_remove_reader(self, actor):
        return self.loop.remove_reader(self.target(actor))

    def op_remove_writer(self, actor):
        return self.loop.remove_writer(self.target(actor))

    def op_send(self, actor, size):
        return os.write(self.far[actor].fileno(), TEXT[:size])

    def may_far(self, actor, *arguments):
        return not self.peer_closed[actor]

    may_close_peer = may_shut_peer = may_far

    def may_send(self, actor, size):
        return not self.peer_closed[actor] and not self.closed[actor]

    def op_fill(self, actor):
        """Fill the way out of the near end, so that its writer has to wait."""
        if self.is_pipe:
            return None
        count = 0
        try:
            while True:
                count += os.write(self.near[actor].fileno(), TEXT[:50_000])
        except BlockingIOError:
            return count > 0

    def op_close_peer(self, actor):
        self.peer_closed[actor] = True
        self.far[actor].close()

    def op_shut_peer(self, actor):
        if self.is_pipe:
            return self.op_close_peer(actor)
        self.far[actor].shutdown(socket.SHUT_WR)
        self.peer_closed[actor] = True
        return None

    def op_close(self, actor):
        target = self.target(actor)
        answer = [self.loop.remove_reader(target), self.loop.remove_writer(target)]
        self.closed[actor] = True
        self.near[actor].close()
        return answer

    def op_soon(self, actor):
        self.loop.call_soon(self.note, actor, "soon")


STAGE = Watches
