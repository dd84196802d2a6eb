"""Call after call of `call_soon_threadsafe` from sixteen threads: none lost, none doubled, each thread's in order.

Covers core/inbox.c where it is used most. LOOPMOD_TEST_CALLS says how many calls each test makes: a million takes
half a minute, and `make test-threads` does it. Relies on the fixtures of tests/conftest.py.
"""

import asyncio
import gc
import os
import threading

import pytest

CALLS = int(os.environ.get("LOOPMOD_TEST_CALLS", "40000"))
THREADS = 16

pytestmark = pytest.mark.timeout(60 + CALLS // 1000)


@pytest.fixture
def calls(debug):
    """How many calls each thread makes: in debug mode each takes note of the stack."""
    return CALLS // THREADS // (10 if debug else 1)


def run_in_threads(bodies):
    """Run each in a thread of its own, all at once; raise what the first of them raised."""
    failures = []
    together = threading.Barrier(len(bodies))

    def run(body):
        try:
            together.wait()
            body()
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.parametrize("loops", [1, 4])
def test_loops_that_stay_open(new_loop, loops, calls):
    """Every sender sends to every loop in turn, while the loops work and sleep as it comes."""
    running = [new_loop() for _ in range(loops)]
    seen = {(loop, sender): [] for loop in running for sender in range(THREADS)}
    ended = dict.fromkeys(running, 0)

    def note_end(loop):
        ended[loop] += 1
        if ended[loop] == THREADS:
            loop.stop()

    def send(sender):
        for number in range(calls):
            loop = running[number % loops]
            loop.call_soon_threadsafe(seen[loop, sender].append, number)
        for loop in running:
            loop.call_soon_threadsafe(note_end, loop)

    senders = [lambda sender=sender: send(sender) for sender in range(THREADS)]
    run_in_threads([loop.run_forever for loop in running] + senders)
    for index, loop in enumerate(running):
        for sender in range(THREADS):
            assert seen[loop, sender] == list(range(index, calls, loops))


class Call:
    """What a sender sends; it says itself that it ran, and that it was let go of."""

    __slots__ = ("freed", "number", "ran")

    def __init__(self, number, ran, freed):
        self.number, self.ran, self.freed = number, ran, freed

    def __call__(self):
        self.ran.append(self.number)

    def __del__(self):
        self.freed[self.number] += 1


class Sender:
    """One thread's calls to a loop that is closed meanwhile. Each list is written by one thread at a time."""

    def __init__(self, loop, calls):
        self.loop, self.calls = loop, calls
        self.accepted, self.raised, self.ran = [], [], []
        self.freed = bytearray(calls)

    def __call__(self):
        for number in range(self.calls):
            call = Call(number, self.ran, self.freed)
            try:
                self.loop.call_soon_threadsafe(call)
            except RuntimeError as exc:
                assert str(exc) == "Event loop is closed"
                self.raised.append(number)
            else:
                self.accepted.append(number)
        self.loop = None

    def queued_at_close(self):
        """The calls that were taken and let go of without having run."""
        assert bytes(self.freed) == b"\1" * self.calls
        ran = set(self.ran)
        return [number for number in self.accepted if number not in ran]


def run_and_close(loop, senders):
    """Run a loop until its first sender has got some way, then close it while they all go on."""

    def look():
        if len(senders[0].ran) >= senders[0].calls // 4:
            loop.stop()
        else:
            loop.call_soon(look)

    loop.call_soon(look)
    loop.run_forever()
    loop.close()


def test_loops_that_are_closed_meanwhile(kind, new_loop, calls):
    """Each call runs once, raises RuntimeError or was queued when the loop closed: the three add up."""
    rounds = 3
    counts = {"ran": 0, "raised": 0, "queued": 0}
    for _ in range(rounds):
        loop = new_loop()
        senders = [Sender(loop, calls // rounds) for _ in range(THREADS)]
        run_in_threads([lambda loop=loop, senders=senders: run_and_close(loop, senders), *senders])
        # What asyncio was given in the moment of its closing stays on its queue.
        if kind == "asyncio":
            loop._ready.clear()
        gc.collect(0)
        for sender in senders:
            queued = sender.queued_at_close()
            # In order: what ran, what was queued, what was refused.
            assert sender.ran + queued + sender.raised == list(range(sender.calls))
            counts["ran"] += len(sender.ran)
            counts["queued"] += len(queued)
            counts["raised"] += len(sender.raised)
    assert sum(counts.values()) == rounds * THREADS * (calls // rounds)
    assert counts["ran"] > 0


def test_loops_of_several_threads_that_send_to_each_other(new_loop, calls):
    """Each loop's callbacks send to the next loop: senders that are loops themselves, and sleep."""
    ring = [new_loop() for _ in range(4)]
    hops = calls // 2
    seen = {loop: [] for loop in ring}

    def hop(token, left):
        loop = ring[left % len(ring)]
        seen[loop].append((token, left))
        if left == 0:
            stop_all(token)
        else:
            following = ring[(left - 1) % len(ring)]
            following.call_soon_threadsafe(hop, token, left - 1)

    arrived = []

    def stop_all(token):
        arrived.append(token)
        if len(arrived) == THREADS:
            for loop in ring:
                loop.call_soon_threadsafe(loop.stop)

    first = ring[hops % len(ring)]
    for token in range(THREADS):
        first.call_soon_threadsafe(hop, token, hops)
    run_in_threads([loop.run_forever for loop in ring])
    assert sorted(arrived) == list(range(THREADS))
    for index, loop in enumerate(ring):
        expected = [left for left in range(hops, -1, -1) if left % len(ring) == index]
        for token in range(THREADS):
            assert [left for who, left in seen[loop] if who == token] == expected


def test_coroutines_from_every_thread(new_loop, calls):
    """run_coroutine_threadsafe() from sixteen threads to two loops; results come back to who asked."""
    running = [new_loop() for _ in range(2)]
    left = [THREADS]
    lock = threading.Lock()

    async def double(number):
        await asyncio.sleep(0)
        if number % 10 == 9:
            raise LookupError(number)
        return number * 2

    def end():
        with lock:
            left[0] -= 1
            if left[0] == 0:
                for loop in running:
                    loop.call_soon_threadsafe(loop.stop)

    def ask():
        try:
            for number in range(calls // 20):
                asked = asyncio.run_coroutine_threadsafe(double(number), running[number % 2])
                if number % 10 == 9:
                    assert asked.exception(60).args == (number,)
                else:
                    assert asked.result(60) == number * 2
        finally:
            end()

    run_in_threads([loop.run_forever for loop in running] + [ask] * THREADS)
    assert all(not asyncio.all_tasks(loop) for loop in running)
