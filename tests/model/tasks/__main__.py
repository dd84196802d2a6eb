"""`make model-tasks`: see README.md."""

import argparse
import faulthandler
import gc
import os
import sys
import time
import warnings

from tasks_compare import FACTORIES, differences, show_difference, shrunk
from tasks_interrupts import play_point
from tasks_program import make_program

BATCH = 250


def replay(options):
    """Show the programs or points of these seeds; return how many fail."""
    failed = 0
    if options.interrupts:
        for seed in options.seed:
            point, wrong = play_point(seed, FACTORIES[options.factory])
            failed += bool(wrong)
            print(seed, point.show(), wrong or "holds", "" if point.has_fired else "(was not reached)")
        return failed
    for seed in options.seed:
        program = make_program(seed, options.nested)
        factory = FACTORIES[options.factory]
        if options.shrink:
            program = shrunk(program, factory, options.python_tasks)
        failed += show_difference(program, factory, options.python_tasks, whole=True)
    return failed


def play_one(options, seed):
    """Whether there was something to see, and what is wrong."""
    factory = FACTORIES[options.factory]
    if options.interrupts:
        point, wrong = play_point(seed, factory)
        return point.has_fired, [f"{point.show()}: {'; '.join(wrong)}"] if wrong else []
    return True, differences(make_program(seed, options.nested), factory, options.python_tasks)


def play_batch(options, first, count, told):
    """In a child: each seed is told before it is played, and what is wrong with it afterwards."""
    warnings.simplefilter("ignore")
    reached = 0
    for seed in range(first, first + count):
        os.write(told, f"{seed}\n".encode())
        was_reached, wrong = play_one(options, seed)
        reached += was_reached
        if wrong:
            os.write(told, f"{seed} {'; '.join(wrong)}\n".encode())
    os.write(told, f"done {reached}\n".encode())


def in_child(work, *arguments):
    """Run it in a forked child, which has a pipe to tell something by; return the lines."""
    reading, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            work(*arguments, told)
        finally:
            sys.stdout.flush()
            os._exit(0)
    os.close(told)
    with open(reading) as file:
        lines = file.read().splitlines()
    os.waitpid(pid, 0)
    return lines


def search(options):
    """Play one seed after the other; return how many fail."""
    began = time.monotonic()
    seed, failed, reached = options.first, [], 0
    gc.collect()
    gc.freeze()
    while time.monotonic() - began < options.seconds and (options.keep_going or not failed):
        count = min(BATCH, options.count - (seed - options.first)) if options.count else BATCH
        if count <= 0:
            break
        lines = in_child(play_batch, options, seed, count)
        last = lines.pop() if lines else f"{seed}"
        wrong = [line for line in lines if " " in line]
        if last.startswith("done"):
            reached += int(last.split()[1])
        else:
            wrong.append(f"{last} CRASHED")
        for line in wrong:
            print("seed", line, flush=True)
        failed += wrong
        seed += count
    took = time.monotonic() - began
    things = f"interruptions in {seed - options.first} loads" if options.interrupts else "programs"
    print(f"{reached} {things}, seeds {options.first} to {seed - 1}, {took:.0f} s: {len(failed)} fail")
    if failed:
        how = "--interrupts" if options.interrupts else "--nested --shrink" if options.nested else "--shrink"
        print(f"see: python tests/model/tasks {failed[0].split()[0]} --factory {options.factory} {how}")
    return len(failed)


def main():
    parser = argparse.ArgumentParser(prog="python tests/model/tasks", description=__doc__)
    parser.add_argument("seed", nargs="*", type=int, help="play these alone, and show program and logs")
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--count", type=int, help="how many programs to play")
    parser.add_argument("--seconds", type=float, default=60, help="how long to go on")
    parser.add_argument("--factory", default="new_event_loop", choices=list(FACTORIES))
    parser.add_argument("--python-tasks", action="store_true", help="all tasks are of asyncio's own Python code")
    parser.add_argument("--interrupts", action="store_true", help="points of interruption in place of programs")
    parser.add_argument("--nested", action="store_true", help="programs with runs within runs, which are permitted")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first that fails")
    parser.add_argument("--shrink", action="store_true")
    options = parser.parse_args()
    faulthandler.enable()
    return 1 if (replay(options) if options.seed else search(options)) else 0


if __name__ == "__main__":
    sys.exit(main())
