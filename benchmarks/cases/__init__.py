"""What is measured: one function per case, in plain asyncio code that knows nothing of the loop it runs on.

CASES holds them all by name, in the order of the table. declare.py says what kinds there are; the modules
imported here hold the functions, and are imported in the table's order.
"""

# ruff: noqa: I001
from cases import callbacks as callbacks
from cases import tasks as tasks
from cases import sync as sync
from cases import threads as threads
from cases import life as life
from cases import memory as memory
from cases import tcp as tcp
from cases import net as net
from cases import apps as apps
from cases import latency as latency
from cases.declare import CASES as CASES
from cases.declare import Case as Case
