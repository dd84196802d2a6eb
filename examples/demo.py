"""`make demo`: the chat room of chat.py on loopmod, beside the same program on asyncio's own loop.

Each run is a process of its own and the two loops take turns, so that what else the machine does falls on
both. The ratio is taken within each pair and its median is shown. `--rounds` and `--messages` change the
size.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import chat

LOOPS = ("loopmod", "asyncio")
LONGEST_RUN = 120


def run_here(loop_name: str, messages: int) -> chat.Report:
    """Run the chat in this process on the named loop."""
    if loop_name == "asyncio":
        factory = asyncio.SelectorEventLoop
    else:
        import loopmod

        factory = loopmod.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(chat.main(rounds=messages))


def run_apart(loop_name: str, messages: int) -> chat.Report:
    """Run the chat in a new process on the named loop."""
    command = [sys.executable, __file__, "--messages", str(messages), "--on", loop_name]
    tree = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [tree, os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=LONGEST_RUN, check=False)
    if done.returncode:
        raise SystemExit(f"demo: the run on {loop_name} failed with status {done.returncode}")
    return chat.Report(**json.loads(done.stdout))


def median(reports: list[chat.Report], value: str) -> float:
    return statistics.median(getattr(report, value) for report in reports)


def table(reports: dict[str, list[chat.Report]]) -> str:
    """The medians of each loop, one line each, under a heading."""
    lines = [f"{'loop':10}{'deliveries/s':>14}{'seconds':>10}{'CPU seconds':>13}{'CPU us/delivery':>17}"]
    for loop_name, runs in reports.items():
        deliveries = runs[0].deliveries
        seconds, cpu = median(runs, "seconds"), median(runs, "cpu_seconds")
        rate, each = deliveries / seconds, 1e6 * cpu / deliveries
        lines.append(f"{loop_name:10}{rate:>14,.0f}{seconds:>10.2f}{cpu:>13.2f}{each:>17.2f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="The chat room on loopmod beside asyncio.")
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs (3)")
    parser.add_argument("--messages", type=int, default=chat.ROUNDS, help="per client (%(default)s)")
    parser.add_argument("--on", choices=LOOPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.on:
        print(json.dumps(asdict(run_here(options.on, options.messages))))
        return

    print(
        f"A chat server and {chat.CLIENTS} clients over TCP streams, unmodified asyncio code, "
        f"Python {platform.python_version()}.\n",
        flush=True,
    )
    reports: dict[str, list[chat.Report]] = {loop_name: [] for loop_name in LOOPS}
    for number in range(options.rounds):
        for loop_name in LOOPS:
            report = run_apart(loop_name, options.messages)
            reports[loop_name].append(report)
            if number == 0 and loop_name == "loopmod":
                print(f"On loopmod: {chat.describe(report)}\n", flush=True)
            if not report.one_order or report.deliveries != chat.CLIENTS**2 * options.messages:
                raise SystemExit(f"demo: lines were lost or reordered on {loop_name}")
    print(f"Medians of {options.rounds} runs each, taking turns:\n\n{table(reports)}\n")
    pairs = list(zip(reports["asyncio"], reports["loopmod"], strict=True))
    speed = statistics.median(theirs.seconds / ours.seconds for theirs, ours in pairs)
    cpu = statistics.median(ours.cpu_seconds / theirs.cpu_seconds for theirs, ours in pairs)
    print(f"loopmod delivers {speed:.2f} times as fast as asyncio, with {cpu:.2f} of the CPU time.")


if __name__ == "__main__":
    main()
