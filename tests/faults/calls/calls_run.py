"""One run: a forked child makes a loop under the armed shim, does the work, and says what came of it.

The parent judges: no complaint, no hang, no spin, no crash, every descriptor closed, every hard fault told. It waits
with a limit; a child that exceeds it shows its stacks and is killed.
"""

import asyncio
import faulthandler
import gc
import json
import os
import random
import select
import signal
import socket
import sys
import time
import traceback
import warnings

import calls_work
from calls_ways import Work

PATIENCE = 2.5  # what all the work of a run may take: it takes 0.05
LIMIT = 15.0  # what the process may take
NOTHING = {"missing": [], "told": [], "faults": [], "bytes": 0, "able": {}}  # of a process that said nothing


def loop_factory(name):
    if name == "asyncio":
        return asyncio.SelectorEventLoop
    import loopmod

    return loopmod.new_event_loop if name == "loopmod" else loopmod.new_server_loop


class Plan:
    """What one run is: the work, and how its calls fail."""

    def __init__(self, seed, *, only=None, mode=None, point=None, plant="", is_traced=False):
        self.seed = seed
        self.rng = rng = random.Random(seed)
        self.mode = mode or rng.choice(("soft", "soft", "hard", "hard", "both"))
        self.work = only or rng.sample(list(calls_work.ALL), rng.randrange(1, 5))
        self.soft_rate = rng.choice((8, 40, 150, 400)) if self.mode != "hard" else 0
        self.hard_count = rng.choice((1, 1, 1, 2, 3)) if self.mode != "soft" else 0
        self.hard_gap = rng.choice((20, 100, 400))
        self.debug = rng.randrange(8) == 0
        self.point = point
        self.plant = plant
        self.is_traced = is_traced
        if point is not None:
            self.soft_rate = self.hard_count = 0
            self.debug = False

    @property
    def is_soft(self):
        return self.mode == "soft"


class Bystander(asyncio.Protocol):
    """A connection that no fault is meant for: it works as long as the loop runs."""

    def __init__(self):
        self.rounds = 0
        self.transport = None
        self.lost = 0
        self.answered = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.rounds += len(data)
        if self.answered is not None and not self.answered.done():
            self.answered.set_result(None)
        elif self.answered is None:
            self.transport.write(data)

    def connection_lost(self, exc):
        self.lost += 1


async def make_bystander(work, shim):
    pair = socket.socketpair()
    made = []
    for sock in pair:
        shim.library.calls_spare(sock.fileno())
        sock.setblocking(False)
        made.append((await work.loop.create_connection(Bystander, sock=sock))[1])
    return made


async def greet(work, bystander):
    """The bystander's connection works."""
    near = bystander[0]
    near.answered = work.loop.create_future()
    near.transport.write(b"x")
    try:
        await asyncio.wait_for(near.answered, 3)
    except TimeoutError:
        work.complain("the bystander is not served")
    if near.lost or bystander[1].lost:
        work.complain("the bystander is lost")


async def do_work(work, plan, place):
    tasks = {work.loop.create_task(calls_work.ALL[name](work, place), name=name): name for name in plan.work}
    done, late = await asyncio.wait(tasks, timeout=PATIENCE)
    for task in late:
        frames = task.get_stack()
        where = f"{frames[-1].f_code.co_name}:{frames[-1].f_lineno}" if frames else "?"
        work.complain(f"hangs: {tasks[task]} at {where}")
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=1)
    for task in done:
        if task.exception() is not None:
            work.tell(task.exception(), "raised")
            if not isinstance(task.exception(), OSError | EOFError) and "[Errno" not in str(task.exception()):
                work.wrong += traceback.format_exception(task.exception())[-3:]


async def run(work, plan, place, shim):
    shim.library.calls_own(0)
    shim.library.calls_thread(0)
    bystander = await make_bystander(work, shim)
    shim.library.calls_thread(1)
    await greet(work, bystander)
    await do_work(work, plan, place)
    await greet(work, bystander)
    for end in bystander:
        end.transport.close()
    for end in work.ends:
        if end.transport is not None and not end.lost and not end.transport.is_closing():
            end.transport.close()
    for _ in range(200):
        if all(end.lost or not end.made for end in work.ends):
            break
        await asyncio.sleep(0 if work.is_soft else 0.002)


def open_fds():
    return {int(name): os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")
            if os.path.exists(f"/proc/self/fd/{name}")}  # fmt: skip


def live(plan, factory, place, shim):
    """The whole life of a loop under the shim; what came of it."""
    before = open_fds()
    shim.arm(plan.seed, plan.soft_rate, plan.hard_count, plan.hard_gap, 6)
    shim.plant(plan.plant)
    shim.library.calls_trace(plan.is_traced)
    if plan.point is not None:
        shim.point(*plan.point)
    shim.library.calls_own(1)
    work = loop = None
    told = []
    try:
        loop = factory()
        work = Work(loop, random.Random(plan.seed + 1), shim, is_soft=plan.is_soft)
        if plan.plant == "untold":
            work.tell = work.tell_text = lambda *told: None
        loop.set_debug(plan.debug)
        loop.slow_callback_duration = 60
        loop.run_until_complete(run(work, plan, place, shim))
        loop.run_until_complete(loop.shutdown_default_executor())
    except OSError as exc:
        told.append(("loop", exc.errno))
    finally:
        shim.library.calls_own(0)
        if loop is not None:
            clean_up(loop, told)
    shim.library.calls_disarm()
    wrong, missing = [], []
    if work is not None:
        for end in work.ends:
            end.look_back()
        wrong, missing = work.wrong, work.missing
        told += work.told
    if plan.is_soft and told:
        wrong.append(f"told {told}")
    del loop
    if work is not None:
        work.loop = end = None
        work.ends.clear()
    gc.collect()
    after = open_fds()
    left = {fd: what for fd, what in after.items() if before.get(fd) != what}
    if left:
        wrong.append(f"left open: {left}")
    return {"wrong": wrong, "missing": missing, "told": told, "bytes": work.bytes if work else 0}


def clean_up(loop, told):
    """Whatever is left, ends."""
    try:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=1))
        loop.call_soon(loop.stop)
        loop.run_forever()
    except OSError as exc:
        told.append(("loop", exc.errno))
    for _ in range(3):
        try:
            loop.close()
        except OSError as exc:
            told.append(("loop close", exc.errno))
        except (AttributeError, ValueError):  # asyncio's second try, where the first has failed
            told.append(("loop close", 0))


def child(plan, factory, place, shim, out):
    """In the forked process: write what came of it."""
    code = 1
    try:
        faulthandler.enable()
        faulthandler.register(signal.SIGUSR2, all_threads=False)
        warnings.simplefilter("ignore")
        result = live(plan, factory, place, shim)
        result["faults"] = [list(fault) for fault in shim.faults()]
        result["able"] = shim.able()
        os.write(out, json.dumps(result).encode())
        code = 0
    except BaseException:
        shim.library.calls_disarm()
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def read_until(fd, until):
    """What is written to it till its end; None where that does not come in time."""
    parts = []
    while True:
        if not select.select([fd], [], [], max(0.0, until - time.monotonic()))[0]:
            return None
        data = os.read(fd, 1 << 16)
        if not data:
            return b"".join(parts)
        parts.append(data)


def fork_run(plan, factory, place, shim, log):
    """Run a plan in a forked process, with `log` as its stderr; the result, and what the process itself did wrong."""
    log.seek(0)
    log.truncate()
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.dup2(log.fileno(), 2)
        child(plan, factory, place, shim, writer)
    os.close(writer)
    said = read_until(reader, time.monotonic() + LIMIT)
    os.close(reader)
    if said is None:
        os.kill(pid, signal.SIGABRT)
    status = os.waitpid(pid, 0)[1]
    result = json.loads(said) if said else dict(NOTHING, wrong=[])
    if not said or status != 0:
        why = "hangs (process)" if said is None else f"ended with status {status:#x}"
        log.seek(0)
        result["wrong"].append(f"{why}: {log.read().decode(errors='replace')[-3000:]}")
    log.seek(0)
    result["log"] = log.read().decode(errors="replace")
    return result
