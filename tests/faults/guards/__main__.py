"""`make faults-guards`: takes a guard out of the C source, one after the other, and asks who notices.

    python tests/faults/guards                      # all of them; minutes
    python tests/faults/guards "poll:" kept         # those whose name has one of these in it
    python tests/faults/guards --list

A copy of the tree (tools/variant, in build/guards, and build/guards-asan for what AddressSanitizer has to see) is
built once; each guard is one object compiled again. Each guard is taken out and its instruments are tried in their
order until one fails, which is then shown to pass with all guards in place: it is caught. What only hangs has not
noticed, unless that is what the guard is there against. One that no instrument misses is a survivor: a test to
write. The exit status says whether there is one, or a guard whose text does not stand in the source any more.
"""

import argparse
import sys
import time

from guard_run import Tree, outcome
from guard_table import GUARDS


def main():
    parser = argparse.ArgumentParser(
        prog="python tests/faults/guards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", nargs="*", help="of the name of a guard")
    parser.add_argument("--build", choices=["plain", "asan"], help="only those that are tried on this one")
    parser.add_argument("--list", action="store_true", help="name the guards and their instruments")
    parser.add_argument("--unchecked", action="store_true", help="do not show that what fails passes with the guard")
    options = parser.parse_args()
    guards = [guard for guard in GUARDS if not options.part or any(part in guard.name for part in options.part)]
    guards = [guard for guard in guards if not options.build or guard.is_memory == (options.build == "asan")]
    guards.sort(key=lambda guard: guard.path.endswith(".h"))  # a header's take longest
    if options.list:
        for guard in guards:
            print(f"{guard.name} ({guard.path}): {'; '.join(' '.join(words) for words in guard.instruments)}")
        return 0
    began = time.monotonic()
    trees = {is_memory: Tree(is_memory) for is_memory in sorted({guard.is_memory for guard in guards})}
    table = []
    for guard in guards:
        one_began = time.monotonic()
        said = outcome(guard, trees[guard.is_memory], not options.unchecked)
        took = time.monotonic() - one_began
        table.append((guard, said))
        print(f"{guard.name:60} {took:5.0f} s  {said}", flush=True)
    missed = [guard.name for guard, said in table if not said.startswith("caught")]
    print(f"{len(table)} guards taken out in {time.monotonic() - began:.0f} s, {len(table) - len(missed)} caught")
    for name in missed:
        print(f"MISSED: {name}")
    return 1 if missed or not table else 0


if __name__ == "__main__":
    sys.exit(main())
