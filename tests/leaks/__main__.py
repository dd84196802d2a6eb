"""`make leaks`: everything the loop makes, made and ended again and again; what each cycle leaves is counted.

    python tests/leaks                           # each cycle 6 times 100, on loopmod
    python tests/leaks --loop asyncio            # stock asyncio in the same way
    python tests/leaks tls_abort --count 1000    # one of them
    python3.14-dbg tests/leaks                   # a debug CPython counts all references besides
    python tests/leaks --unreachable             # under LeakSanitizer, once

Bytes are exact (leaks_measure.py), so is the number of references to each of our types, of objects and of
descriptors. A cycle leaks what grew in each of four measured blocks by at least one, or 16 bytes, for two cycles.
What leaks less often than that it cannot see: that is what `make soak` is for.
"""

import argparse
import gc
import os
import sys
import time

import leaks_cycles
import leaks_measure
import leaks_place
import leaks_unreachable


def count_all(factory, names, options):
    """Measure each of these cycles; return the names of those that leak."""
    factory().close()
    leaks_place.contexts()
    gc.freeze()  # what is there needs not be looked through each time
    failed = []
    for name in names:
        found = leaks_measure.in_child(factory, name, options.count)
        leaking = leaks_measure.leaks(found, options.count) if found else {"ended badly": 1}
        if leaking:
            failed.append(name)
            print(f"LEAK {name}: {leaking}, by block {found}")
            print(f"    again: python tests/leaks {name} --loop {options.loop} --count {options.count}", flush=True)
        else:
            print(f"{name:24} {' '.join(f'{key} {added}' for key, added in found.items() if any(added))}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(
        prog="python tests/leaks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cycle", nargs="*", help="all without")
    parser.add_argument("--loop", default="loopmod", choices=list(leaks_place.LOOPS))
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--unreachable", action="store_true", help="under LeakSanitizer instead")
    options = parser.parse_args()
    factory, _ = leaks_place.LOOPS[options.loop]
    names = options.cycle or list(leaks_cycles.CYCLES)
    if options.unreachable:
        if "liblsan" in os.environ.get("LD_PRELOAD", ""):
            return leaks_unreachable.live(factory, names, options.count)
        return leaks_unreachable.run_again()
    if os.environ.get("PYTHONMALLOC") != "malloc":
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **leaks_measure.ENVIRONMENT})
    began = time.monotonic()
    failed = count_all(factory, names, options)
    blocks = leaks_measure.MEASURED + leaks_measure.WARM_UP
    print(
        f"{options.loop}: {len(names)} kinds of cycles, {blocks * options.count} of each,"
        f" {time.monotonic() - began:.0f} s: {len(failed)} leak {' '.join(failed)}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
