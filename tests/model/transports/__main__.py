"""`make model-transports`: random programs played on stock asyncio and on loopmod, whose logs must be equal.

    python tests/model/transports                  # seeds from 0 on, for a minute; stops at the first that fails
    python tests/model/transports --seconds 3600 --first 100000 --keep-going
    python tests/model/transports --factory new_server_loop      # the loop that joins writes
    python tests/model/transports --factory near   # the first end on loopmod, the second on asyncio; also: far, apart
    python tests/model/transports --families streams,socks       # README.md lists them
    python tests/model/transports --kinds tcp,pipe               # only programs of one of these kinds
    python tests/model/transports 4711 streams:7   # these seeds, with the program and both logs
    python tests/model/transports 4711 --shrink    # what is left when all is dropped that does not matter

`--factory asyncio` compares asyncio with itself: what differs there is a fault of the comparison.
"""

import argparse
import collections
import sys
import time

from transport_differences import FACTORIES, differences, kinds_for, show_difference
from transport_families import FAMILIES, KINDS, by_name, make, name_of
from transport_shrink import shrink

SHRINKING = 60.0


def shrunk(program, factory):
    """The program without what does not matter for what is wrong with it, as far as a minute gets."""
    wanted = what_differs(differences(program, factory))
    until = time.monotonic() + SHRINKING
    return shrink(
        program,
        lambda simpler: what_differs(differences(simpler, factory)) == wanted,
        lambda: time.monotonic() > until,
    )


def what_differs(wrong):
    """What is wrong, without where."""
    return {text.split(",")[0] for text in wrong}


def show(program, factory, whole):
    print(program.show())
    return show_difference(program, factory, whole)


def replay(names, factory, is_shrinking):
    """Show the programs of these seeds; return how many fail."""
    failed = 0
    for name in names:
        program = by_name(name)
        if is_shrinking:
            program = shrunk(program, factory)
        failed += show(program, factory, whole=True)
    return failed


def programs(options, factory):
    """The programs to play, each family's in turn."""
    kinds = options.kinds.split(",") if options.kinds else kinds_for(factory)
    families = options.families.split(",") if options.families else FAMILIES
    until = time.monotonic() + options.seconds
    seed, played = options.first, 0
    while True:
        for family in families:
            program = make(family, seed)
            if time.monotonic() > until or played == options.count:
                return
            if program.kind in kinds:
                played += 1
                yield program
        seed += 1


def search(options, factory):
    """Play one seed after the other; return how many fail."""
    began = time.monotonic()
    failed, seen, by_kind = 0, collections.Counter(), collections.Counter()
    for program in programs(options, factory):
        by_kind[program.kind] += 1
        wrong = differences(program, factory, seen)
        last = program.seed
        if not wrong:
            continue
        failed += 1
        print(f"seed {name_of(program)} ({program.kind}): {'; '.join(wrong)}", flush=True)
        if not options.keep_going:
            show(shrunk(program, factory), factory, whole=False)
            break
    took = time.monotonic() - began
    print(f"{seen['programs']} programs, seeds {options.first} to {last}, {took:.0f} s: {failed} fail")
    print(f"{seen['entries']} entries of logs and {seen['bytes']} bytes compared")
    print(", ".join(f"{kind} {count}" for kind, count in sorted(by_kind.items())))
    return failed


def main():
    parser = argparse.ArgumentParser(
        prog="python tests/model/transports",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("seed", nargs="*")
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--count", type=int, help="how many programs to play")
    parser.add_argument("--seconds", type=float, default=60, help="how long to go on")
    parser.add_argument("--families", help=f"of {', '.join(FAMILIES)}")
    parser.add_argument("--kinds", help=f"of {', '.join(KINDS)}")
    parser.add_argument("--factory", default="new_event_loop", choices=list(FACTORIES))
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first that fails")
    parser.add_argument("--shrink", action="store_true")
    options = parser.parse_args()
    factory = FACTORIES[options.factory]
    failed = replay(options.seed, factory, options.shrink) if options.seed else search(options, factory)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
