"""Random programs for subprocess transports: bytes in and out of a child, pauses, signals, and its end.

Each pipe of the child has a log of its own, as does the process: which of them is told first is the kernel's choice,
but for `connection_lost`, which comes last.
"""

import asyncio
import signal

from transport_stage import TEXT, Stage, pick

NAME = "children"
KINDS = ["cat", "cat_and_exit", "two_outputs", "deaf"]
COMMANDS = {
    "cat": ["cat"],
    "cat_and_exit": ["sh", "-c", "cat; exit 3"],
    "two_outputs": ["sh", "-c", "echo begin >&2; cat; echo end >&2"],
    "deaf": ["sh", "-c", "exec <&-; echo closed; exec cat /dev/zero | head -c 300000"],
}


def draw_options(chance, kind):
    return {"is_merged": chance.random() < 0.2, "raises": chance.choice([None] * 8 + ["data", "pipe_lost", "exited"])}


def draw(chance, kind, options, progress):
    name = pick(chance, {
        "write": 10, "writelines": 2, "close_stdin": 0.3 + progress, "pause": 2, "resume": 3, "kill": progress / 2,
        "terminate": progress / 3, "signal": progress / 4, "close": progress / 3, "ask": 3, "big": 0.5,
    })  # fmt: skip
    arguments = [chance.choice([0, 1, 100, 4000])] if name == "write" else []
    return "child", [name, *arguments]


class Child(asyncio.SubprocessProtocol):
    def __init__(self, play):
        self.play = play

    def called(self, log, event, *entry):
        self.play.note(log, event, *entry)
        if self.play.raises == event:
            self.play.raises = None
            raise ValueError(event)

    def connection_made(self, transport):
        self.called("process", "made")

    def pipe_data_received(self, fd, data):
        self.play.take(fd, data)
        if self.play.raises == "data":
            self.called(f"pipe {fd}", "data")

    def pipe_connection_lost(self, fd, exc):
        self.play.ended.add(fd)
        self.called(f"pipe {fd}", "pipe_lost", None if exc is None else self.play.show_exception(exc))

    def process_exited(self):
        self.play.has_exited = True
        self.called("process", "exited", self.play.transport and self.play.transport.get_returncode())

    def connection_lost(self, exc):
        self.play.is_lost = True
        self.play.note("process", "lost", None if exc is None else self.play.show_exception(exc))


class Children(Stage):
    rounds = 2

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.raises = self.options["raises"]
        self.transport = None
        self.is_lost = self.has_exited = self.is_paused = self.is_ending = self.is_broken = False
        self.ended = set()
        self.written = 0
        self.outputs = {}

    async def begin(self):
        stderr = asyncio.subprocess.STDOUT if self.options["is_merged"] else asyncio.subprocess.PIPE
        self.transport, _ = await self.loop.subprocess_exec(
            lambda: Child(self), *COMMANDS[self.kind], stderr=stderr, env={"PATH": "/usr/bin:/bin"}
        )

    async def finish(self):
        if self.is_paused:
            self.op_resume("child")
        if not self.is_ending:
            self.op_close_stdin("child")
        await self.settle("end")
        self.transport.close()
        await self.settle("closed")
        for fd, data in self.outputs.items():
            self.note(f"pipe {fd}", "all", self.show(data))

    def take(self, fd, data):
        """Note what the child wrote; how it is cut is the kernel's business."""
        if fd in self.ended:
            self.note(f"pipe {fd}", "LATE DATA", len(data))
        self.outputs.setdefault(fd, bytearray()).extend(data)

    @property
    def received(self):
        return len(self.outputs.get(1, ()))

    def waits_for(self):
        if self.transport is None or self.is_lost:
            return None
        if (self.is_ending or self.kind == "deaf") and not self.is_paused:
            return "the end"
        is_echo = self.kind in ("cat", "cat_and_exit")
        if is_echo and not self.is_paused and not self.is_ending and self.received < self.written:
            return "the echo"
        return None

    async def turns(self):
        await super().turns()
        if self.waits_for():
            await asyncio.sleep(0.001)

    def new_step(self, number):
        # When the child does its part is not told.
        self.note("child", f"-- {number}")

    def pipe(self, number):
        return self.transport.get_pipe_transport(number)

    # Operations

    def may_write(self, actor, *arguments):
        return not self.is_ending and self.kind != "deaf" and not self.is_paused

    may_writelines = may_big = may_write

    def put(self, size):
        data = TEXT[self.written % 65537 :][:size]
        self.written += size
        return data

    def op_write(self, actor, size):
        return self.pipe(0).write(self.put(size))

    def op_writelines(self, actor):
        return self.pipe(0).writelines([self.put(5), self.put(500)])

    def op_big(self, actor):
        return self.pipe(0).write(self.put(300_000))

    def op_close_stdin(self, actor):
        self.is_ending = True
        return self.pipe(0).close()

    def may_pause(self, actor):
        # Whether the child's end has been told already is its own business.
        return not self.is_ending and self.kind.startswith("cat") and not self.is_paused

    def op_pause(self, actor):
        self.is_paused = True
        return self.pipe(1).pause_reading()

    def op_resume(self, actor):
        self.is_paused = False
        return self.pipe(1).resume_reading() if 1 not in self.ended else None

    def may_resume(self, actor):
        return self.is_paused

    def may_end(self, actor):
        # A shell that is killed leaves its child behind, which keeps the pipes open.
        return not self.is_ending and self.kind == "cat" and self.received == self.written

    may_kill = may_terminate = may_signal = may_close = may_end

    def op_kill(self, actor):
        self.is_ending = True
        return self.transport.kill()

    def op_terminate(self, actor):
        self.is_ending = True
        return self.transport.terminate()

    def op_signal(self, actor):
        self.is_ending = True
        return self.transport.send_signal(signal.SIGUSR1)

    def op_close(self, actor):
        self.is_ending = True
        return self.transport.close()

    def op_ask(self, actor):
        if self.is_ending or self.kind == "deaf":
            return None
        transport = self.transport
        return [transport.get_returncode(), transport.is_closing(), self.pipe(2) is None, self.pipe(7) is None]


STAGE = Children
