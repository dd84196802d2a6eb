"""`make faults-calls`: system calls that fail, under everything that a loop is used for. See README.md.

python tests/faults/calls                          # seeds from 0 on, for a minute, on loopmod
python tests/faults/calls --seeds 10000 --first 50000 --loop server
python tests/faults/calls --loop asyncio           # the same on stock asyncio
python tests/faults/calls 4711                     # one seed again, with its faults
python tests/faults/calls --enumerate              # each call of each small piece of work fails once in each way
python tests/faults/calls --enumerate --work tcp --point send:2:EPIPE
"""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[3])]

import calls_shim  # noqa: E402

calls_shim.start_preloaded()

import argparse  # noqa: E402
import asyncio  # noqa: E402
import asyncio.constants  # noqa: E402
import collections  # noqa: E402
import gc  # noqa: E402
import re  # noqa: E402
import shutil  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402

import calls_enumerate  # noqa: E402
import calls_judge  # noqa: E402
import calls_links  # noqa: E402
import calls_run  # noqa: E402
import calls_work  # noqa: E402

asyncio.constants.ACCEPT_RETRY_DELAY = 0.02


def show(plan, result, wrong):
    print(
        f"seed {plan.seed}: {plan.mode}, {', '.join(plan.work)}, soft {plan.soft_rate}/1024, hard {plan.hard_count}"
    )
    for fault in calls_judge.faults_of(result)[-60:]:
        print(f"  {fault}{' HARD' if calls_judge.is_hard(fault) else ''}")
    print(re.sub(r'  File ".*/', "    ", result["log"]))
    print(f"  told: {result['told']}")
    for text in wrong:
        print(f"  WRONG: {text}")


def play(options, bench, seeds):
    """Play the seeds; print the sums; return how many fail."""
    counts, kinds = collections.Counter(), set()
    began = time.monotonic()
    is_replay = bool(options.seed)
    for seed in seeds:
        if options.seconds and time.monotonic() - began > options.seconds:
            break
        plan = calls_run.Plan(seed, only=options.work, mode=options.mode, plant=options.plant, is_traced=is_replay)
        result = bench.run(plan)
        faults = calls_judge.faults_of(result)
        hard = sum(map(calls_judge.is_hard, faults))
        counts.update(seeds=1, soft=len(faults) - hard, hard=hard, bytes=result["bytes"])
        kinds.update((fault.call, fault.name) for fault in faults)
        wrong = calls_judge.complaints(result)
        if wrong:
            counts["failed"] += 1
            counts["hang"] += calls_judge.outcome(result) == "hang"
            print(f"seed {seed} ({plan.mode}): {wrong[0][:1500]}", flush=True)
            print(f"  again: {bench.command} {seed}", flush=True)
        if is_replay:
            show(plan, result, wrong)
        if counts["failed"] >= options.most:
            break
    print(
        f"{options.loop}: {counts['seeds']} seeds, {counts['soft']} soft and {counts['hard']} hard faults of "
        f"{len(kinds)} kinds, {counts['bytes']} bytes compared, {time.monotonic() - began:.0f} s: "
        f"{counts['failed']} fail ({counts['hang']} hang)"
    )
    return counts["failed"]


class Bench:
    """Where runs are made: what is made once for all of them."""

    def __init__(self, options):
        loop_name = options.loop
        self.command = "python tests/faults/calls " + " ".join(
            f"--{name} {value}" for name in ("loop", "mode", "plant") if (value := getattr(options, name))
        )
        self.command += "".join(f" --work {name}" for name in options.work or () if not options.enumerate)
        self.shim = calls_shim.Shim(has_fallbacks=loop_name != "asyncio")
        self.factory = calls_run.loop_factory(loop_name)
        self.place = calls_links.Place()
        self.log = tempfile.TemporaryFile()
        self.factory().close()  # warm
        gc.collect()
        gc.freeze()  # what is here is not looked at in each child

    def run(self, plan):
        return calls_run.fork_run(plan, self.factory, self.place, self.shim, self.log)

    def close(self):
        shutil.rmtree(self.place.directory)
        self.log.close()


def main():
    parser = argparse.ArgumentParser(
        prog="python tests/faults/calls", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("seed", nargs="*", type=int)
    parser.add_argument("--first", type=int, default=0, help="the seed to begin with")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--seconds", type=float, help="how long to go on (60 where --seeds is not given)")
    parser.add_argument("--loop", default="loopmod", choices=("asyncio", "loopmod", "server"))
    parser.add_argument("--work", action="append", choices=list(calls_work.ALL), help="only this work")
    parser.add_argument("--mode", choices=("soft", "hard", "both"), help="only faults of this kind")
    parser.add_argument("--most", type=int, default=10, help="stop after so many that fail")
    parser.add_argument("--plant", default="", choices=calls_shim.PLANTS, help="let the shim itself do wrong")
    parser.add_argument("--enumerate", action="store_true", help="one fault at each call, in turn")
    parser.add_argument("--point", help="of the enumeration: CALL:NTH:ERROR")
    parser.add_argument("--table", help="write what came of each point to this file")
    parser.add_argument("--every", type=int, default=1, help="of the enumeration: only each so manieth point")
    options = parser.parse_args()
    bench = Bench(options)
    try:
        if options.enumerate:
            return 1 if calls_enumerate.play(options, bench) else 0
        if options.seconds is None and options.seeds is None and not options.seed:
            options.seconds = 60
        last = options.first + (options.seeds or 1 << 40)
        return 1 if play(options, bench, options.seed or range(options.first, last)) else 0
    finally:
        bench.close()


if __name__ == "__main__":
    sys.exit(main())
