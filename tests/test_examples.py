"""The example programs do what they say: the chat keeps one order, the demo compares two loops with it.

The runs are small; how fast they are is not looked at.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run_demo(*arguments):
    command = [sys.executable, EXAMPLES / "demo.py", "--messages", "2", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=100).stdout


@pytest.mark.parametrize("loop_name", ["asyncio", "loopmod"])
def test_chat_delivers_everything_in_one_order(loop_name):
    report = json.loads(run_demo("--on", loop_name))
    assert (report["clients"], report["messages"], report["deliveries"]) == (50, 100, 5000)
    assert report["one_order"] is True


def test_demo_shows_both_loops():
    said = run_demo("--rounds", "1")
    assert "50 clients sent 100 messages: 5,000 deliveries, all in one order" in said
    table = [line.split()[0] for line in said.splitlines() if line.startswith(("loopmod ", "asyncio "))]
    assert table == ["loopmod", "asyncio", "loopmod"]  # the rows, then the sentence that ends it
    assert said.rstrip().endswith("of the CPU time.")
