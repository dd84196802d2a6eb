"""`make faults-allocation`: fail allocation after allocation of a scenario, each point in a process of its own.

    python tests/faults/allocation                          # every point of every scenario, on loopmod
    python tests/faults/allocation tls udp --loop asyncio   # of two scenarios, on asyncio's own loop
    python tests/faults/allocation --allocator libc --width 10
    python tests/faults/allocation tls --point 812          # one again, with the stack of what failed

A point is the number of an allocation, from the start of the scenario on. `--width` lets so many fail.
"""

import argparse
import functools
import os
import sys
import time

from allocation_hook import ALLOCATORS, PRELOADED, start_preloaded

NEVER = 1 << 60
LOOPS = ("asyncio", "loopmod", "server")


def arguments():
    parser = argparse.ArgumentParser(
        prog="python tests/faults/allocation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", nargs="*")
    parser.add_argument("--loop", default="loopmod", choices=LOOPS)
    parser.add_argument("--allocator", default="python", choices=list(ALLOCATORS))
    parser.add_argument("--point", type=int, help="only this one, at length")
    parser.add_argument("--width", type=int, default=1, help="how many fail from the point on")
    parser.add_argument("--step", type=int, default=1, help="play every so-manieth point")
    parser.add_argument("--planted", help="a loop with this fault, until it is found; see allocation_planted.py")
    parser.add_argument("--list", action="store_true", help="the scenarios")
    return parser.parse_args()


def enumerate_points(play_point, step):
    """The number of points, what came of them, and those with problems."""
    outcomes, failing = {}, []
    whole = play_point(NEVER, patience=5)
    if whole["problems"] or whole["outcome"] != "ok":
        return 0, outcomes, [(NEVER, whole)]
    point, count = 1, 0
    while True:
        result = play_point(point)
        if result["failed"] == 0:
            return count, outcomes, failing
        count += 1
        if result["problems"]:
            result = play_point(point, patience=3)
        outcome = "bad" if result["problems"] else result["outcome"]
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if result["problems"]:
            failing.append((point, result))
        point += step


def show_failing(failing):
    from allocation_stacks import site

    groups = {}
    for point, result in failing:
        groups.setdefault((tuple(result["problems"]), site(result)), []).append(point)
    for (found, where), points in groups.items():
        print(f"  {len(points):4} x {'; '.join(found)}")
        print(f"         {where}")
        print(f"         points {' '.join(map(str, points[:12]))}", flush=True)


def main(options):
    import allocation_tls  # noqa: F401
    from allocation_points import LOOPS as factories
    from allocation_points import play_point, prepare
    from allocation_scenarios import ONLY_ON, SCENARIOS

    if options.list:
        print(*SCENARIOS)
        return 0
    names = options.scenario or [name for name in SCENARIOS if options.loop in ONLY_ON.get(name, LOOPS)]
    new_loop = factories[options.loop]
    # All, whatever is asked for: the numbers of points depend on it.
    prepare([name for name in SCENARIOS if options.loop in ONLY_ON.get(name, LOOPS)], [new_loop])

    def play(name, point, patience=1):
        return play_point(name, new_loop, options.allocator, point, point + options.width, patience)

    if options.point:
        return show_point(names[0], play(names[0], options.point, patience=5))
    if options.planted:
        return find_planted(names[0], options.planted, play_point)
    return play_all(names, play, options)


def play_all(names, play, options):
    total = bad = 0
    began = time.monotonic()
    for name in names:
        count, outcomes, failing = enumerate_points(functools.partial(play, name), options.step)
        shown = ", ".join(f"{number} {what}" for what, number in sorted(outcomes.items()))
        print(f"{name}: {count} points, {shown}", flush=True)
        show_failing(failing)
        total += count
        bad += len(failing)
    took = time.monotonic() - began
    print(f"{options.loop}, {options.allocator}, width {options.width}: {total} points in {took:.0f} s, {bad} bad")
    return 1 if bad else 0


def find_planted(name, fault, play_point):
    """1 where it was found, as a fault is."""
    from allocation_planted import PLANTED

    factory, wanted = PLANTED[fault]
    for point in range(1, 400):
        result = play_point(name, factory, "python", point, point + 1)
        if any(wanted in problem for problem in result["problems"]):
            print(f"{fault}: found at point {point}: {'; '.join(result['problems'])}")
            return 1
    print(f"{fault}: missed")
    return 0


def show_point(name, result):
    from allocation_stacks import stack

    print(name, {key: value for key, value in result.items() if not key.endswith("_at")})
    for key in ("failed_at", "ended_at"):
        if result.get(key):
            print(key, *stack(result[key]), sep="\n    ")
    return 1 if result["problems"] else 0


if __name__ == "__main__":
    if PRELOADED not in os.environ:
        start_preloaded(sys.argv)
    sys.exit(main(arguments()))
