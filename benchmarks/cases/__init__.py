"""What is measured: one function per case, in plain asyncio code that knows nothing of the loop it runs on.

CASES holds them all by name, in the order of the table. declare.py says what kinds there are; the modules named
here hold the functions.
"""

import importlib

from cases.declare import CASES as CASES
from cases.declare import Case as Case

MODULES = ("callbacks", "tasks", "sync", "threads", "life", "memory", "tcp", "net", "apps", "latency")

for _module in MODULES:
    importlib.import_module(f"cases.{_module}")
