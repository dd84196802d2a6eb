"""Plays random programs on stock asyncio and on loopmod, and shows the first whose logs differ.

    python tests/model                    # seeds from 0 on, for a minute
    python tests/model --seconds 600 --first 100000
    python tests/model 4711               # one seed, with both logs
    python tests/model 4711 --shrink      # what is left of it when all that does not matter is dropped
    python tests/model --server --kinds tcp,unix
"""

import argparse
import sys
import time

from compare import FACTORIES, differences, show_difference
from program import KINDS, make_program
from shrink import shrink


def shrunk(program, factory):
    """The program without what does not matter for what is wrong with it, as far as a minute gets."""
    wanted = kinds_of(differences(program, factory))
    until = time.monotonic() + 60
    return shrink(program, lambda p: kinds_of(differences(p, factory)) == wanted, lambda: time.monotonic() > until)


def kinds_of(wrong):
    """What is wrong, without where."""
    return {text.split(",")[0] for text in wrong}


def main():
    parser = argparse.ArgumentParser(prog="python tests/model", description=__doc__.split("\n")[0])
    parser.add_argument("seed", nargs="*", type=int, help="play these seeds only and show the logs")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--factory", default="new_event_loop", choices=list(FACTORIES))
    parser.add_argument("--keep-going", action="store_true")
    parser.add_argument("--shrink", action="store_true")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    factory = FACTORIES[options.factory]
    if options.seed:
        failed = 0
        for seed in options.seed:
            program = make_program(seed, kinds)
            if options.shrink:
                program = shrunk(program, factory)
            print(program.show())
            failed += show_difference(program, factory, whole=True)
        return 1 if failed else 0
    began = time.monotonic()
    seed, failed = options.first, []
    while time.monotonic() - began < options.seconds:
        if options.count is not None and seed >= options.first + options.count:
            break
        program = make_program(seed, kinds)
        if wrong := differences(program, factory):
            failed.append(seed)
            print(f"seed {seed} ({program.kind}): {'; '.join(wrong)}", flush=True)
            if not options.keep_going:
                program = shrunk(program, factory)
                print(program.show())
                show_difference(program, factory)
                break
        seed += 1
    print(f"{seed - options.first} seeds from {options.first} on, {time.monotonic() - began:.0f} s, {len(failed)} differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
