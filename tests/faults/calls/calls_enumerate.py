"""The enumeration: each call of each piece of work fails once, in each way that it can."""

import collections
import time

import calls_judge
import calls_run
import calls_shim
import calls_work

SEED = 7
# Many calls of a kind are alike: so many of the first are points, and so many of those after them.
FIRST, LATER = 12, 6


def plan_of(options, name, point):
    call, nth, error = point
    return calls_run.Plan(
        SEED,
        only=[name],
        mode="soft" if error in calls_shim.ERRORS[call][0].split() else "hard",
        point=(call, int(nth), error),
        plant=options.plant,
        is_traced=bool(options.point),
    )


def points_of(options, bench, name):
    """All points of a piece of work: the calls of a run in which nothing fails."""
    result = bench.run(plan_of(options, name, ("read", 0, "EINTR")))
    if result["wrong"]:
        raise SystemExit(f"{name} fails without a fault: {result['wrong']}")
    for call, count in result["able"].items():
        for nth in range(1, count + 1):
            if nth <= FIRST or nth % (count // LATER + 1) == 0:
                for error in " ".join(calls_shim.ERRORS[call]).split():
                    yield call, nth, error


def points(options, bench):
    """Pairs of a piece of work and a point."""
    for name in options.work or calls_work.ALL:
        if options.point:
            yield name, options.point.split(":")
        else:
            for point in list(points_of(options, bench, name))[:: options.every]:
                yield name, point


def write_table(path, table):
    """Who was told of what: a line for each piece of work, call and error."""
    with open(path, "w", encoding="utf-8") as file:
        for key, outcomes in sorted(table.items()):
            print(*key, *sorted(outcomes), file=file)


def play(options, bench):
    """Play all points; print the sums; return how many fail."""
    counts, table = collections.Counter(), collections.defaultdict(set)
    began = time.monotonic()
    for name, point in points(options, bench):
        plan = plan_of(options, name, point)
        result = bench.run(plan)
        if not result["faults"] and not result["wrong"]:
            counts["missed"] += 1  # not made this time, or not plausible there
            continue
        wrong = calls_judge.complaints(result)
        outcome = calls_judge.outcome(result)
        table[name, point[0], point[2]].add(outcome)
        counts.update(points=1, bytes=result["bytes"])
        counts[plan.mode] += 1
        if wrong:
            counts["failed"] += 1
            counts["hang"] += outcome == "hang"
            print(f"{name} {':'.join(map(str, point))}: {wrong[0][:1500]}", flush=True)
            print(
                f"  again: {bench.command} --enumerate --work {name} --point {':'.join(map(str, point))}", flush=True
            )
        if options.point:
            print(f"{result['log']}\ntold: {result['told']}\nmissing: {result['missing']}")
    if options.table:
        write_table(options.table, table)
    print(
        f"{options.loop}: {counts['points']} points ({counts['soft']} soft, {counts['hard']} hard), "
        f"{counts['bytes']} bytes compared, {time.monotonic() - began:.0f} s: "
        f"{counts['failed']} fail ({counts['hang']} hang)"
    )
    return counts["failed"]
