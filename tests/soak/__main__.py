"""`make soak`: thousands of connections that come, talk and go for as long as one likes, and nothing grows.

    python tests/soak                                  # 20 minutes of loopmod: 5,000 TCP and 500 TLS connections
    python tests/soak --loop asyncio --minutes 10      # stock asyncio under the same load
    python tests/soak --loop server                    # the loop that joins writes
    python tests/soak --minutes 0.1 --tcp 100 --tls 10 --pace 0.2 --rounds 3
    python tests/soak --plant object                   # with a fault planted, which has to be found

Both ends live on one loop of one process. The time is cut into rounds: connections come up, churn, and all come to
rest at the end of the round, where books must balance (soak_counts.py), descriptors are exactly those of the
beginning, and the bytes in use (soak_memory.py) are what they were after the first third, the warm-up. Before that
the same is sampled under load. A run is told by its options and seed, but for the kernel's timing.
"""

import argparse
import os
import sys
import tempfile

from soak_report import report
from soak_run import LOOPS, PLANTS, soak


def main():
    parser = argparse.ArgumentParser(
        prog="python tests/soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--loop", default="loopmod", choices=list(LOOPS))
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=10, help="how often all come to rest in that time")
    parser.add_argument("--tcp", type=int, default=5000)
    parser.add_argument("--tls", type=int, default=500)
    parser.add_argument("--unix", type=int, default=100)
    parser.add_argument("--start-tls", type=int, default=20)
    parser.add_argument("--pace", type=float, default=8, help="the longest pause within a connection, in seconds")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every", type=float, default=10, help="seconds between samples")
    parser.add_argument("--json", help="where all samples are written, one a line")
    parser.add_argument("--plant", action="append", default=[], choices=list(PLANTS))
    options = parser.parse_args()
    print(f"soak of {options.loop}, {options.minutes:g} minutes, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as directory:
        options.json = options.json or os.path.join(directory, "samples")
        return report(soak(options), options)


if __name__ == "__main__":
    sys.exit(main())
