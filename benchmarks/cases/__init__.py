"""What is measured: one function per case, in plain asyncio code that knows nothing of the loop it runs on.

CASES holds them all by name, in the order of the table. declare.py says what kinds there are; the modules
imported here hold the functions, and are imported in the table's order.
"""

# The table's order.
from cases import callbacks as callbacks  # isort: split
from cases import tasks as tasks  # isort: split
from cases import sync as sync  # isort: split
from cases import threads as threads  # isort: split
from cases import life as life  # isort: split
from cases import memory as memory  # isort: split
from cases import tcp as tcp  # isort: split
from cases import net as net  # isort: split
from cases import apps as apps  # isort: split
from cases import latency as latency  # isort: split
from cases.declare import CASES as CASES
from cases.declare import Case as Case
