"""One point: a scenario in a child process, in which the allocations of these numbers fail; and what came of it.

What may come of it: the right result, or MemoryError, raised or told to the exception handler. A consequence of that
is allowed (the peer of a transport that ended finds its connection reset, who waited for a callback that failed waits
on), but only where MemoryError was told. After it the loop goes on, and when it is closed nothing is left.
"""

import asyncio
import contextlib
import gc
import io
import json
import logging
import os
import select
import signal
import socket
import sys
import threading
import warnings

from allocation_excuses import without_excused
from allocation_hook import ALLOCATORS, load
from allocation_scenarios import PROMISES, SCENARIOS, Quiet, WrongResult, broken_promises

import loopmod

hook = load()
Quiet.pause, Quiet.resume = hook.pause, hook.resume
NEVER = 1 << 60
# What a program gets besides when a part of it ended by MemoryError.
CONSEQUENCES = (MemoryError, OSError, EOFError, asyncio.CancelledError, TimeoutError, KeyError, BaseExceptionGroup)
LOOPS = {
    "asyncio": asyncio.SelectorEventLoop,
    "loopmod": loopmod.new_event_loop,
    "server": loopmod.new_server_loop,
}


OUT_OF_MEMORY = ("memory", "malloc", "can't allocate", "can't start new thread")
# Made once and kept, by the thread that asks first.
OF_THE_POLICY = ("_Local", "PidfdChildWatcher", "ThreadedChildWatcher")


class Told:
    """All that was raised or told, by name; no exception is kept, whose traceback would keep everything else."""

    def __init__(self):
        self.memory_errors = 0
        self.texts = []
        self.odd = []

    def note(self, exc, where):
        """Exceptions behind and within it included."""
        waiting, seen, odd, before = [exc], set(), [], self.memory_errors
        while waiting:
            exc = waiting.pop()
            if exc is None or id(exc) in seen:
                continue
            seen.add(id(exc))
            waiting += [exc.__cause__, exc.__context__, *getattr(exc, "exceptions", ())]
            if isinstance(exc, SystemError):
                self.texts.append(f"SystemError: {exc}"[:200])
            elif isinstance(exc, MemoryError) or says_memory(exc):
                self.memory_errors += 1
            elif not isinstance(exc, CONSEQUENCES):
                odd.append(f"{where} {type(exc).__name__}: {exc}"[:200])
        if self.memory_errors == before:  # else it is what MemoryError came over
            self.odd += odd

    def handle(self, loop, context):
        self.note(context.get("exception"), "told")

    def handle_unraisable(self, unraisable):
        self.note(unraisable.exc_value, "unraisable")


def says_memory(exc):
    """Errors of OpenSSL, of getaddrinfo, of threads."""
    return isinstance(exc, OSError | RuntimeError) and any(word in str(exc).lower() for word in OUT_OF_MEMORY)


def descriptors():
    return {name: readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")}


def readlink(path):
    with contextlib.suppress(OSError):
        return os.readlink(path)
    return None


def left_alive():
    """What loops and scenarios are made of, and the collector still knows."""
    gc.collect()
    gc.collect()
    found = {}
    for each in gc.get_objects():
        kind = type(each)
        if kind.__name__ in OF_THE_POLICY:
            continue
        if kind.__module__.startswith(("loopmod", "asyncio", "_asyncio", "allocation_s")):
            found[kind.__qualname__] = found.get(kind.__qualname__, 0) + 1
    return found


async def small(loop):
    """A run that uses a bit of everything."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        future = loop.create_future()
        waiting = asyncio.create_task(loop.sock_recv(near, 10))
        loop.call_later(0.0001, far.send, b"x")
        thread = threading.Thread(target=loop.call_soon_threadsafe, args=(future.set_result, 1))
        thread.start()
        await asyncio.sleep(0)
        is_told = await future == 1 and await waiting == b"x"
        thread.join()
        return is_told


def works(loop, told):
    """Whether the loop runs; what it still tells of the scenario is not this run's."""
    try:
        return loop.run_until_complete(asyncio.wait_for(small(loop), 5))
    except BaseException as exc:
        told.note(exc, "afterwards")
        return False


def settle(loop, limit):
    """End the tasks that are left, as Runner does; before that, what is queued may stop the loop."""
    for _ in range(3):
        loop.call_soon(loop.stop)
        loop.run_forever()
    for _ in range(3):
        left = asyncio.all_tasks(loop)
        if not left:
            break
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.wait(left, timeout=limit))
        del left
    loop.run_until_complete(asyncio.sleep(0))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())


def run_armed(arm, run):
    """Run it while allocations fail: the name of what was raised, and that to be noted."""
    raised = None
    try:
        arm()
        run()
    except BaseException as exc:
        raised = exc
    hook.disarm()
    return raised


def on_loop(scenario, loop, arm, limit, told):
    loop.set_exception_handler(told.handle)
    watchdog = loop.call_later(limit, loop.stop)
    holder = []

    def run():
        task = loop.create_task(scenario())
        holder.append(task)
        loop.run_until_complete(task)

    raised = run_armed(arm, run)
    is_waiting = watchdog.when() <= loop.time() and isinstance(raised, RuntimeError)
    watchdog.cancel()
    holder.clear()
    return raised, is_waiting


def play(name, new_loop, allocator, first, last, limit):
    """In the child (and to warm up, where stderr stays what it is after): the whole of a point."""
    told, result = Told(), {}
    sys.stderr = printed = io.StringIO()
    sys.unraisablehook = told.handle_unraisable
    threading.excepthook = told.handle_unraisable
    before = descriptors()
    scenario, loop, is_waiting = SCENARIOS[name], None, False

    def arm():
        hook.arm(ALLOCATORS[allocator], first, last)

    def watched_loop():
        loop = new_loop()
        hook.disarm()
        loop.set_exception_handler(told.handle)
        loop.call_later(limit, loop.stop)
        arm()
        return loop

    if asyncio.iscoroutinefunction(scenario):
        loop = new_loop()
        raised, is_waiting = on_loop(scenario, loop, arm, limit, told)
    else:
        raised = run_armed(arm, lambda: scenario(watched_loop))
        is_waiting = isinstance(raised, RuntimeError)
    result["seen"], result["failed"], _ = hook.seen()
    result["outcome"] = "waits" if is_waiting else "ok" if raised is None else type(raised).__name__
    # Of a connection that was not set up, or whose other end failed by an OSError, asyncio tells in debug mode only.
    result["is_consequence"] = is_waiting or raised is None or isinstance(raised, OSError | EOFError)
    result["wrong"] = isinstance(raised, WrongResult)
    if not is_waiting and not result["wrong"]:
        told.note(raised, "raised")
    del raised
    asyncio.set_event_loop(None)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # Runner's, where it could not take it back
    if sys.version_info < (3, 12):  # takes memory there, and may have failed at the run's end
        asyncio._set_running_loop(None)
    result["works"] = finish(loop, told, limit) and works_anew(new_loop, told)
    result["lost"], result["twice"] = broken_promises()
    PROMISES.clear()
    del loop
    result["alive"] = left_alive()
    result["descriptors"] = left_open(before)
    told.texts += [line for line in printed.getvalue().splitlines() if "SystemError" in line]
    result["memory_errors"], result["texts"], result["odd"] = told.memory_errors, told.texts, told.odd
    return result


def left_open(before):
    return [f"{number} {what}" for number, what in descriptors().items() if what and before.get(number) != what]


def finish(loop, told, limit):
    """Whether the loop goes on until it is closed."""
    if loop is None:
        return True
    try:
        settle(loop, limit)
        return works(loop, told)
    except BaseException as exc:
        told.note(exc, "settling")
        return False
    finally:
        loop.close()


def works_anew(new_loop, told):
    loop = new_loop()
    try:
        return works(loop, told)
    finally:
        loop.close()


def problems(result):
    """What must not be, of a point's result."""
    if "ended" in result:
        return [result["ended"]]
    is_told = result["memory_errors"] > 0
    found = [*result["texts"], *(() if is_told else result["odd"])]
    if result["outcome"] == "waits" and not is_told:
        found.append("waits, and nothing was told")
    elif not result["is_consequence"] and not is_told:
        found.append(f"{result['outcome']} without MemoryError")
    if result["lost"] > result["memory_errors"]:
        found.append("callbacks lost")
    if result["twice"]:
        found.append("callbacks ran twice")
    if not result["works"]:
        found.append("the loop does not work afterwards")
    if result["descriptors"]:
        found.append(f"descriptors left: {' '.join(result['descriptors'])}")
    if result["alive"]:
        found.append(f"left alive: {' '.join(sorted(result['alive']))}")
    return found


def in_child(function, limit):
    """What function() returns in a fork, or {"ended": how}."""
    hook.reset()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        hook.watch_end()
        try:
            text = json.dumps(function())
        except BaseException as exc:
            text = json.dumps({"ended": f"the instrument: {exc!r}"})
            raise
        finally:
            os.write(writer, text.encode())
            os._exit(0)
    os.close(writer)
    try:
        return received(reader, pid, limit)
    finally:
        os.close(reader)


def received(reader, pid, limit):
    ready, _, _ = select.select([reader], [], [], limit)
    if not ready:
        os.kill(pid, signal.SIGABRT)
    text = b"" if not ready else b"".join(iter(lambda: os.read(reader, 1 << 16), b""))
    if not ready or not text:
        _, status = os.waitpid(pid, 0)
        return {"ended": "stuck" if not ready else f"ended by {status_name(status)}"}
    os.waitpid(pid, 0)
    return json.loads(text)


def status_name(status):
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else f"exit {status}"


def play_point(name, new_loop, allocator, first, last, patience=1):
    """The result of a point with its problems and the stacks."""
    limit = 0.4 * patience
    result = in_child(lambda: play(name, new_loop, allocator, first, last, limit), 3 * patience)
    result.setdefault("failed", hook.seen()[1])
    result["problems"] = problems(result)
    if result["problems"]:
        result["failed_at"], result["ended_at"] = hook.failed_at(), hook.ended_at()
        found = without_excused(name, result["problems"], result["failed_at"], result["ended_at"])
        if not found:
            result["outcome"] = "excused"
        result["problems"] = found
    return result


def prepare(names, factories):
    """Warm up: what is imported, cached and started by a first use is done here, in the parent of all points."""
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    gc.disable()
    loopmod.allow_nested_runs()
    for new_loop in factories:
        for name in names:
            play(name, new_loop, "python", NEVER, NEVER, 5)
            sys.stderr = sys.__stderr__
    hook.failed_at()
    gc.collect()
    gc.freeze()
