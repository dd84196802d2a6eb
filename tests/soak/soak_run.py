"""One soak: its rounds, its samples, and what is left when its loop is closed."""

import asyncio
import gc
import itertools
import json
import random
import resource
import signal
import ssl
import tempfile
import time
import types
import warnings

import soak_memory
import soak_others
import soak_servers
import trustme
from soak_clients import Lives
from soak_counts import PAIRS, Books, task, watch

# How long all may take to come to rest at the end of a round.
PATIENCE = 180


def new_loopmod_loop(name):
    import loopmod

    return getattr(loopmod, name)()


# A way to make the loop, and the packages whose objects are counted.
LOOPS = {
    "asyncio": (asyncio.SelectorEventLoop, ("asyncio", "_asyncio")),
    "loopmod": (lambda: new_loopmod_loop("new_event_loop"), ("loopmod", "asyncio", "_asyncio")),
    "server": (lambda: new_loopmod_loop("new_server_loop"), ("loopmod", "asyncio", "_asyncio")),
}


def plant_object(soak):
    soak.kept.append(soak.loop.create_future())


def plant_bytes(soak):
    soak_memory.LIBC.malloc(50_000)


def plant_descriptor(soak):
    soak.kept.append(tempfile.TemporaryFile())


def plant_callback(soak):
    soak.books.add("soon asked")


def plant_log(soak):
    soak.loop.call_exception_handler({"message": "planted"})


# Faults that are done a few times a round.
PLANTS = {
    "object": plant_object,
    "bytes": plant_bytes,
    "descriptor": plant_descriptor,
    "callback": plant_callback,
    "log": plant_log,
}


def make_contexts():
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client, distrustful = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return types.SimpleNamespace(server=server, client=client, distrustful=distrustful)


class Soak:
    def __init__(self, loop, options, modules):
        self.loop, self.options, self.modules = loop, options, modules
        self.books = Books()
        self.pace = options.pace
        self.signalled = asyncio.Event()
        self.until = 0.0
        self.faults = []
        self.kept = []
        self.began = time.monotonic()
        self.contexts = make_contexts()

    def is_over(self):
        return self.loop.time() >= self.until

    async def pause(self, rng, share=1.0):
        """Some of the pace, but not longer than the round."""
        await asyncio.sleep(min(rng.uniform(0, self.pace * share), max(0, self.until - self.loop.time())))

    async def main(self):
        with tempfile.TemporaryDirectory() as directory:
            self.servers = await soak_servers.start(self.loop, self.books, self.contexts, directory)
            self.loop.add_signal_handler(signal.SIGUSR1, self.on_signal)
            await self.rounds()
            self.loop.remove_signal_handler(signal.SIGUSR1)
            for server, _ in itertools.chain(*self.servers.values()):
                server.close()
                await self.closed(server)

    async def closed(self, server):
        """Since 3.12 a server waits for its connections."""
        try:
            await asyncio.wait_for(server.wait_closed(), 1 if self.faults else PATIENCE)
        except TimeoutError:
            self.faults.append("a server with connections that do not end")

    def on_signal(self):
        self.books.add("signals handled")
        self.signalled.set()

    async def rounds(self):
        length = self.options.minutes * 60 / self.options.rounds
        for number in range(self.options.rounds):
            self.until = self.loop.time() + length
            await self.round(number)
            await self.rest(number)

    async def round(self, number):
        """All slots and loads, until the time is over and each has come to its end."""
        rng = random.Random(f"{self.options.seed} {number}")
        kinds = {"tcp": self.options.tcp, "tls": self.options.tls, "unix": self.options.unix}
        kinds["start_tls"] = self.options.start_tls
        lives = [Lives(self, kind, random.Random(rng.random())) for kind, n in kinds.items() for _ in range(n)]
        running = [task(self.loop, self.books, life.run()) for life in lives]
        loads = [load(self, random.Random(rng.random())) for load in soak_others.ALL]
        running += [task(self.loop, self.books, load) for load in loads]
        sampling = self.loop.create_task(self.sampling(number))
        _, pending = await asyncio.wait(running, timeout=self.until - self.loop.time() + PATIENCE)
        sampling.cancel()
        for late in list(pending)[:10]:
            stack = " < ".join(str(frame) for frame in stack_of(late))
            self.faults.append(f"round {number}: still going on after {PATIENCE} s: {len(pending)}, as {stack}")
        for late in pending:
            late.cancel()

    async def sampling(self, number):
        while True:
            await asyncio.sleep(self.options.every)
            self.sample(number, False)

    def sample(self, number, is_rest):
        taken = soak_memory.sample(self.modules, is_rest)
        taken |= {"seconds": time.monotonic() - self.began, "round": number, "rest": is_rest}
        taken |= {"tasks": len(asyncio.all_tasks()), "lives": self.lives()}
        # Not kept here: that would grow too.
        with open(self.options.json, "a") as file:
            print(json.dumps(taken), file=file)
        print(line_of(taken), flush=True)

    def samples(self):
        with open(self.options.json) as file:
            return [json.loads(line) for line in file]

    def lives(self):
        return sum(n for name, n in self.books.counts.items() if name.startswith("lives"))

    async def rest(self, number):
        """What is still under way ends; then the books are balanced."""
        for plant in self.options.plant:
            for _ in range(20):
                PLANTS[plant](self)
        until = self.loop.time() + PATIENCE
        while self.books.unequal(PAIRS) and self.loop.time() < until and not (self.options.plant or self.faults):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        self.faults += [f"round {number}: {text}" for text in self.books.unequal(PAIRS)]
        self.sample(number, True)


def stack_of(task):
    """Where a task waits, the innermost last."""
    waits = task.get_coro()
    while waits is not None and getattr(waits, "cr_frame", None):
        yield f"{waits.__qualname__}:{waits.cr_frame.f_lineno}"
        waits = waits.cr_await
    yield repr(waits)


HEAD = (
    "    s round     lives    RSS    PSS | in use:   all    libc  python"
    " | held:  libc  python | tracked  ours tasks  fds"
)


def line_of(taken):
    mib = {key: taken[key] / soak_memory.MIB for key in ("rss", "pss", "used", "libc_used", "pymalloc_used")}
    mib |= {key: taken[key] / soak_memory.MIB for key in ("libc_held", "pymalloc_held")}
    return (
        f"{taken['seconds']:5.0f} {taken['round']:4}{'*' if taken['rest'] else ' '} {taken['lives']:9}"
        f" {mib['rss']:6.1f} {mib['pss']:6.1f} |       {mib['used']:7.2f} {mib['libc_used']:7.2f}"
        f" {mib['pymalloc_used']:7.2f} |    {mib['libc_held']:7.1f} {mib['pymalloc_held']:7.1f}"
        f" | {taken['tracked']:7} {sum(taken['ours'].values()):5} {taken['tasks']:5}"
        f" {sum(taken['descriptors'].values()):4}"
    )


def raise_limit():
    """As many descriptors as are allowed."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def make_lasting(factory):
    """What the process keeps once it was there: the policy, its watcher of children."""

    async def main():
        await (await asyncio.create_subprocess_exec("/bin/true")).wait()
        asyncio.get_event_loop_policy()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(main())
    del runner
    gc.collect()


def soak(options):
    """Run it; returns the Soak with its samples, faults and books."""
    factory, modules = LOOPS[options.loop]
    needed = 2 * (options.tcp + options.tls + options.unix + options.start_tls) + 500
    if (most := raise_limit()) < needed:
        raise SystemExit(f"{needed} descriptors are needed, {most} allowed: ulimit -n")
    make_lasting(factory)
    before, descriptors = soak_memory.objects(modules)[0], soak_memory.descriptors()
    with open(options.json, "w"):
        pass
    print(HEAD, flush=True)
    run = Soak(factory(), options, modules)
    end_watch = watch(run.loop, run.books)
    with asyncio.Runner(loop_factory=lambda: run.loop) as runner:
        runner.run(run.main())
    run.loop = run.servers = run.signalled = None
    del runner
    for _ in range(3):
        gc.collect()
    end_watch()
    soak_memory.LIBC.malloc_trim(0)
    run.trimmed = soak_memory.resident()[0]
    run.left = soak_memory.objects(modules)[0] - before
    run.descriptors_left = soak_memory.descriptors() - descriptors
    return run
