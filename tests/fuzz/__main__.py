"""`make fuzz`: inputs from nowhere for what parses them, with coverage; see README.md.

python tests/fuzz                              # every target, a minute each
python tests/fuzz tls --seconds 600            # one of them; stops at the first input that breaks a rule
python tests/fuzz tls --seconds 600 --keep     # and the corpus becomes what covers the same with the least
python tests/fuzz tls --loop asyncio           # no coverage: how often asyncio breaks which rule
python tests/fuzz tls --replay FILE            # an input that was found, on the module as it is built
python tests/fuzz tls --replay FILE --sanitized    # the same on the one that fuzzes
python tests/fuzz tls --short 300              # the corpus and so many changes of it, always the same
python tests/fuzz tls --plant 'room miscounted'   # with a fault in a copy of the source, which is to be found
"""

import argparse
import sys
from pathlib import Path

import fuzz_corpus
import fuzz_coverage
import fuzz_plain
import fuzz_targets


def report(target, kind, outcome):
    """Count what failed, and say how it is played again."""
    print(f"{target} on {kind}: {outcome.played} inputs, {len(outcome.failures)} break a rule", flush=True)
    for text, count in outcome.kinds().most_common(12):
        print(f"    {count} times: {text}")
    if kind == "loopmod" and outcome.failures:
        data, text = outcome.failures[0]
        print(text)
        print(f"again: python tests/fuzz {target} --replay {fuzz_coverage.put_aside(target, data)}")
    return len(outcome.failures) if kind == "loopmod" else 0


def play_plainly(target, options):
    """On the module as it is built, or on asyncio."""
    kind = options.loop
    if options.replay:
        inputs = [Path(path).read_bytes() for path in options.replay]
        return report(target, kind, fuzz_plain.play(target, kind, lambda: inputs))
    if options.short is not None:
        return report(target, kind, fuzz_plain.play(target, kind, lambda: fuzz_corpus.some(target, options.short)))
    endless = lambda: fuzz_corpus.endless(target, options.seed)
    return report(target, kind, fuzz_plain.play(target, kind, endless, options.seconds, most_deaths=20))


def main():
    parser = argparse.ArgumentParser(
        prog="python tests/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("target", nargs="*", help=", ".join(fuzz_targets.TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="how long for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--loop", default="loopmod", choices=fuzz_targets.LOOPS)
    parser.add_argument("--plain", action="store_true", help="without coverage, on the module as it is built")
    parser.add_argument("--keep", action="store_true", help="minimize the corpus afterwards and write it to corpus/")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first that breaks a rule")
    parser.add_argument("--replay", nargs="+", metavar="FILE")
    parser.add_argument("--sanitized", action="store_true")
    parser.add_argument("--short", type=int, metavar="COUNT")
    parser.add_argument("--plant", choices=list(fuzz_coverage.PLANTED))
    options = parser.parse_args()
    failed = 0
    for target in options.target or fuzz_targets.TARGETS:
        try:
            fuzz_targets.check(target)
            if options.plain or options.loop == "asyncio" or options.short is not None or (
                options.replay and not options.sanitized
            ):  # fmt: skip
                failed += play_plainly(target, options)
            else:
                failed += fuzz_coverage.fuzz(target, options)
        except fuzz_targets.Unavailable as exc:
            print(f"{target}: skipped, {exc}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
