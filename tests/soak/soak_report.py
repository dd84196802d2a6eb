"""The verdict of a soak: what its samples and books have to show."""

from soak_memory import MIB

# At rest, bytes in use may grow by so much from the end of the warm-up to the last round: caches that fill late,
# a block here and there within a list of free ones; and by less than one byte a connection.
MOST_GROWTH = MIB // 2
# Under load, the mean of a round may be beyond that of the first counted one by so much: chance.
MOST_UNDER_LOAD = 0.1


class Verdict:
    """The samples of a run, and what follows from them."""

    def __init__(self, run):
        self.run = run
        self.samples = run.samples()
        self.rests = [taken for taken in self.samples if taken["rest"]]
        # Tables reach their size and lists of free objects fill up.
        self.warm = (len(self.rests) - 1) // 3

    def growth(self):
        """Bytes in use at rest: the last round's beyond those of the last of the warm-up."""
        return self.rests[-1]["used"] - self.rests[self.warm]["used"]

    def mean_under_load(self, number):
        """Of a round, once all connections have had the time to come up."""
        found = [taken["used"] for taken in self.samples if taken["round"] == number and not taken["rest"]]
        counted = found[len(found) // 4 : len(found) * 3 // 4]
        return sum(counted) / len(counted) if counted else 0

    def unsteady(self):
        """What is not the same at rest as it was after the first round."""
        first = self.rests[0]
        for taken in self.rests[1:]:
            for what in ("descriptors", "ours"):
                if taken[what] != first[what]:
                    kinds = sorted(taken[what].keys() | first[what].keys())
                    pairs = ((kind, first[what].get(kind, 0), taken[what].get(kind, 0)) for kind in kinds)
                    changed = ", ".join(f"{kind} {before} to {now}" for kind, before, now in pairs if before != now)
                    yield f"at rest after round {taken['round']}: {what} {changed}"

    def grown(self):
        connections = self.rests[-1]["lives"] - self.rests[self.warm]["lives"]
        if self.growth() > max(MOST_GROWTH, connections):
            yield f"{self.growth():,} bytes more in use at rest"
        early, late = (self.mean_under_load(number) for number in (self.warm, len(self.rests) - 1))
        if late > early * (1 + MOST_UNDER_LOAD) + MIB:
            yield f"{late - early:,.0f} bytes more in use under load"

    def left(self):
        if self.run.left:
            yield f"objects left when the loop is closed: {dict(self.run.left)}"
        if self.run.descriptors_left:
            yield f"descriptors left when the loop is closed: {dict(self.run.descriptors_left)}"

    def faults(self):
        """All that is wrong, in words."""
        return [*self.run.faults, *self.run.books.complaints, *self.unsteady(), *self.grown(), *self.left()]


def report(run, options):
    """Print what was done and what is wrong; the exit status."""
    verdict = Verdict(run)
    for name, count in sorted(run.books.counts.items()):
        print(f"  {name:28} {count:16,}")
    print(f"  latest timer {run.books.worst_lateness * 1000:.1f} ms after its time")
    warm, last = verdict.rests[verdict.warm], verdict.rests[-1]
    peak = max(taken["rss"] for taken in verdict.samples)
    grown, lives = verdict.growth(), max(1, last["lives"] - warm["lives"])
    print(
        f"in use at rest: {warm['used'] / MIB:.2f} MiB after round {warm['round']}, {last['used'] / MIB:.2f} after"
        f" the last ({grown:+,} bytes, {grown / lives:+.2f} a connection)\n"
        f"in use under load, by round: {' '.join(loads(verdict))} MiB\n"
        f"RSS {warm['rss'] / MIB:.0f} and {last['rss'] / MIB:.0f}, at most {peak / MIB:.0f},"
        f" {run.trimmed / MIB:.0f} when the loop is closed and the heaps are trimmed"
    )
    wrong = verdict.faults()
    for text in wrong:
        print(f"WRONG: {text}")
    print("wrong" if wrong else "nothing is wrong")
    return 1 if wrong else 0


def loads(verdict):
    return [f"{verdict.mean_under_load(number) / MIB:.0f}" for number in range(len(verdict.rests))]
