"""What a program lives in: the things it has made, by number, and the log of what it sees of them.

What a program does is in the mixins (`tasks_futures.py`, `tasks_awaits.py`, ...). Everything is logged that asyncio
promises: order, values, exceptions with their arguments and contexts, the current task and the context's variable.
What is told when objects die is kept apart and compared without its order: asyncio promises none.
"""

import asyncio
import contextvars
import re
import sys
import types

VARIABLE = contextvars.ContextVar("variable", default="-")

SAME_TEXT = [
    (re.compile(r"0x[0-9a-f]+"), "0x"),
    (re.compile(r"<[\w.]*Loop running"), "<Loop running"),
    (re.compile(r"Task-\d+"), "Task-N"),
    (re.compile(r"File \"[^\"]*\""), "File"),
    (re.compile(r"\b(loopmod|loopmod\._loopmod|_asyncio)\.(?=[A-Z_])"), ""),
    # Without asyncio's frames, which are C here.
    (re.compile(r"\nCoroutine created at .*", re.DOTALL), ""),
    (re.compile(r" created at [^>,]*"), ""),
    (re.compile(r"\.\.\.[\w./]*\.py:\d+"), "..."),
    # Shortened, and sets in the order of addresses.
    (re.compile(r" result=[\[(].*<\w+ \w+\.\.\..*", re.DOTALL), " result=SHORTENED"),
    # Who waits for a future of ours is stepped, without a wake-up between; a subclass shows its name.
    (re.compile(r"[\w.<>]*Task\.(__|task_)wakeup\((<[^()]*>)?\)"), "STEP()"),
    (re.compile(r"<TaskStepMethWrapper object at 0x>|[\w.<>]*Task\.__step"), "STEP"),
    # Caught by hand from next(): docs/differences.md.
    (re.compile(r"\bStopIteration\(None\)"), "StopIteration()"),
]


class StuckError(BaseException):
    """A play took too long: raised by its alarm."""


class OwnError(Exception):
    pass


class OwnBaseError(BaseException):
    pass


class OddError(Exception):
    """One whose __init__ wants an argument."""

    def __init__(self, needed):
        super().__init__(needed)


EXCEPTIONS = {
    "ValueError": lambda: ValueError(1, "two"),
    "class": lambda: KeyError,
    "own": lambda: OwnError("own"),
    "base": lambda: OwnBaseError(3),
    "odd class": lambda: OddError,
    "StopIteration": lambda: StopIteration(4),
    "StopAsyncIteration": lambda: StopAsyncIteration(5),
    "GeneratorExit": lambda: GeneratorExit("exit"),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("key"),
    "SystemExit": lambda: SystemExit(7),
    "CancelledError": lambda: asyncio.CancelledError("by hand"),
    "cancelled class": lambda: asyncio.CancelledError,
    "TimeoutError": lambda: TimeoutError("late"),
    "group": lambda: ExceptionGroup("group", [ValueError(8), OwnError(9)]),
    "number": lambda: 10,
}


def same_text(text):
    """The text without what is not the same in each run."""
    if text.isidentifier():
        return text
    for pattern, instead in SAME_TEXT:
        text = pattern.sub(instead, text)
    return text


class Callback:
    """A callable that is equal to another of the same number."""

    def __init__(self, world, number, who, ops):
        self.world = world
        self.number = number
        self.who = who
        self.ops = ops

    def __eq__(self, other):
        return isinstance(other, Callback) and self.number == other.number

    __hash__ = None

    def __repr__(self):
        return f"<Callback {self.number}>"

    def __call__(self, *args):
        self.world.run_callback(self.who, self.ops, args)


class World:
    def __init__(self, program, loop, kinds):
        self.program = program
        self.loop = loop
        self.kinds = kinds
        self.log = []
        self.late = []
        self.turn = 0
        self.timers = 0
        self.began_at = loop.time()
        self.is_over = False
        self.named = 0
        self.labels = {}
        self.futures = []
        self.tasks = []
        self.handles = []
        self.callbacks = []
        self.contexts = []
        self.set_up()

    def set_up(self):
        """What the mixins begin with."""

    def on_beat(self):
        """What they do once in each turn."""

    # The log

    def note(self, who, what, outcome=None):
        if self.is_over:
            return
        current = current_task(self.loop)
        here = self.labels.get(id(current), "?") if current is not None else "-"
        entry = f"{self.turn} {who} [{here} {VARIABLE.get()}] {what}: {self.show(outcome)}"
        self.log.append(entry)

    def show(self, value, depth=0):
        """Any value, as text that is the same in each run."""
        label = self.labels.get(id(value))
        if label is not None:
            return label
        if isinstance(value, BaseException):
            return self.show_exception(value)
        if isinstance(value, (tuple, list)) and depth < 4:
            return "(" + ", ".join(self.show(item, depth + 1) for item in value) + ")"
        if isinstance(value, (set, frozenset)):
            return "{" + ", ".join(sorted(self.show(item, depth + 1) for item in value)) + "}"
        if isinstance(value, dict):
            return "{" + ", ".join(sorted(f"{key}={self.show(item, 1)}" for key, item in value.items())) + "}"
        if value is None or isinstance(value, (bool, int, float, bytes, bytearray)):
            return repr(value)
        if isinstance(value, str):
            return same_text(value)
        if isinstance(value, type):
            return f"class {value.__name__}"
        return f"a {type(value).__name__}"

    def show_exception(self, exc, depth=0):
        # nest_asyncio takes futures and tasks in Python, which have other texts and leave other contexts.
        has_text = not (self.program.is_nested and isinstance(exc, asyncio.InvalidStateError))
        text = f"{type(exc).__name__}{self.show(exc.args) if has_text else ''}"
        if isinstance(exc, BaseExceptionGroup):
            text += "[" + ", ".join(self.show_exception(inner) for inner in exc.exceptions) + "]"
        if depth < 4:
            if exc.__cause__ is not None:
                text += f" from {self.show_exception(exc.__cause__, depth + 1)}"
            elif exc.__context__ is not None and not self.program.is_nested:
                text += f"{' without' if exc.__suppress_context__ else ' in'} "
                text += self.show_exception(exc.__context__, depth + 1)
        if notes := getattr(exc, "__notes__", None):
            text += f" notes {notes}"
        return text

    def is_late(self, context):
        """Whether it is told when something dies, which cycles of a loop's own frames put off."""
        return "never retrieved" in context["message"] or "destroyed" in context["message"]

    def on_exception(self, loop, context):
        """What the loop complains of. What is told when something dies has no order."""
        message = same_text(context["message"])
        shown = {key: value for key, value in context.items() if key not in ("source_traceback", "handle_traceback")}
        shown["message"] = message
        for key in ("handle", "asyncgen", "future", "task"):
            if key in shown and id(shown[key]) not in self.labels:
                shown[key] = type(shown[key]).__name__
        entry = {**shown, "traces": sorted(set(context) - set(shown))}
        if self.is_late(context):
            self.late.append(f"{message}: {self.show(context.get('exception'))}")
        else:
            self.note("loop", "complains", entry)

    # The things there are

    def label(self, thing, prefix):
        """Give a thing a name for the log; it is kept until the end, so that nothing else gets its id."""
        known = self.labels.get(id(thing))
        if known is not None:
            return known
        self.named += 1
        self.labels[id(thing)] = f"{prefix}{self.named}"
        self.callbacks.append(thing)
        return self.labels[id(thing)]

    def pick(self, things, index):
        """One of these; LookupError, which is logged as any other, where there are none."""
        return things[index % len(things)] if things else {}["nothing"]

    def add_future(self, future):
        """Something that was made, if it is a future that is not known yet."""
        if asyncio.isfuture(future) and id(future) not in self.labels:
            is_task = isinstance(future, asyncio.Task) or hasattr(future, "get_coro")
            self.label(future, "T" if is_task else "F")
            self.futures.append(future)
            if is_task:
                self.tasks.append(future)
        return future

    def value(self, spec):
        """A value as the program says it: a number, text, None, or one of the futures there are."""
        if isinstance(spec, list):
            return self.futures[spec[0] % len(self.futures)] if self.futures else None
        return spec

    def exception(self, name):
        return EXCEPTIONS[name]()

    def context(self, spec):
        """The context of a callback or task: None for the one of here, or one made before, or a new one."""
        if spec == "none":
            return None
        if spec == "empty":
            context = contextvars.Context()
            self.contexts.append(context)
            return context
        if spec == "old" and self.contexts:
            return self.contexts[-1]
        context = contextvars.copy_context()
        self.contexts.append(context)
        return context

    def delay(self, turns, is_zero_kept=False):
        """A delay that no other has, so that no two timers are due at once; by a real clock it is over at once.

        By the clock "ties" it is whole, so that many are. A real clock passes on by more than 1 ns between two calls,
        so the order there is that of the calls.
        """
        self.timers += 1
        if self.program.clock == "ties" or (turns == 0 and is_zero_kept):
            return turns
        if turns >= 100 or self.program.clock == "turns":
            return turns + self.timers * 1e-6
        return turns if turns <= 0 else 1e-9

    # Bodies

    def make_callback(self, ops):
        number = len(self.callbacks)
        who = f"cb{number}"
        if number % 3 == 0:
            callback = Callback(self, number, who, ops)
        else:

            def callback(*args):
                self.run_callback(who, ops, args)

        self.callbacks.append(callback)
        return callback

    def run_callback(self, who, ops, args):
        self.note(who, "is called", args)
        for op in ops:
            self.call(who, op)

    def call(self, who, op):
        """An operation that is not awaited: what it raises is logged, unless it is there to be raised."""
        name, *arguments = op
        if name == "raise":
            self.note(who, "raises", arguments[0])
            raise self.exception(arguments[0])
        try:
            outcome = getattr(self, "op_" + name)(who, *arguments)
        except StuckError:
            raise
        except BaseException as exc:
            outcome = ["!", exc]
        self.note(who, name, outcome)

    async def run_body(self, who, ops):
        for op in ops:
            if op[0] == "return":
                return self.value(op[1])
            if hasattr(self, "do_" + op[0]):
                await getattr(self, "do_" + op[0])(who, *op[1:])
            else:
                self.call(who, op)
        return None

    async def coroutine(self, who, ops):
        """A coroutine of a program: logs its begin and its end."""
        self.note(who, "begins")
        try:
            outcome = await self.run_body(who, ops)
        except BaseException as exc:
            if not is_closing(exc):
                self.note(who, "ends by", exc)
            raise
        self.note(who, "ends with", outcome)
        return outcome

    def new_coroutine(self, ops):
        self.named += 1
        return self.coroutine(f"co{self.named}", ops)


def current_task(loop):
    try:
        return asyncio.current_task(loop)
    except RuntimeError:  # no loop runs
        return None


def is_closing(exc):
    """Whether a coroutine meets its death; when that comes nobody promises."""
    return isinstance(exc, StuckError) or (isinstance(exc, GeneratorExit) and not exc.args)


def is_in_circle(future, below=()):
    """Whether it waits for itself: cancelling would not end, which asyncio does not survive."""
    if future is None or future in below:
        return future is not None
    below = (*below, future)
    waited = [getattr(future, "_fut_waiter", None), *(getattr(future, "_children", None) or ())]
    return len(below) > 40 or any(is_in_circle(inner, below) for inner in waited)


@types.coroutine
def yielding(value):
    """Awaits by yielding just this to the task."""
    return (yield value)


IS_312 = sys.version_info >= (3, 12)
IS_314 = sys.version_info >= (3, 14)
