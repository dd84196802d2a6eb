"""All cycles in one process under LeakSanitizer, which tells at its end of memory that nobody points to.

Its library is preloaded into an ordinary build. It looks for pointers in all memory, so it cannot find what is still
in one of the collector's lists: a lost reference to a future, say. That is what counting references is for.
"""

import os
import subprocess
import sys
import tempfile

import leaks_cycles
import leaks_place

# What is found of others, by function or library, and why it is no leak of ours.
SUPPRESSED = {
    "PyUnicode_New": "interned strings, which CPython never frees",
    "resize_compact": "the same, of those that were made shorter: names in source that had to be compiled",
    "_cffi_backend": "cffi makes the functions of its modules for good; cryptography, which makes the certificates",
    "_rust.abi3.so": "so does PyO3 with its types",
}


def library():
    """LeakSanitizer's, or None where this compiler has none."""
    path = subprocess.run(["cc", "-print-file-name=liblsan.so"], capture_output=True, text=True).stdout.strip()
    return path if os.path.isabs(path) else None


def run_again():
    """This command in a process with the library; returns its exit status."""
    if (path := library()) is None:
        print("skipped: the compiler has no liblsan.so")
        return 0
    with tempfile.NamedTemporaryFile("w") as file:
        file.writelines(f"leak:{name}\n" for name in SUPPRESSED)
        file.flush()
        options = f"suppressions={file.name}:print_suppressions=1"
        environment = {**os.environ, "LD_PRELOAD": path, "LSAN_OPTIONS": options, "PYTHONMALLOC": "malloc"}
        return subprocess.run([sys.executable, *sys.argv], env=environment).returncode


def live(factory, names, count):
    """Each cycle so often, on one loop."""
    loop = factory()
    place = leaks_place.Place(loop)
    loop.run_until_complete(place.open())

    async def cycles():
        for name in names:
            await (leaks_cycles.CYCLES.get(name) or leaks_cycles.PLANTS[name])(place, count)
            await place.at_rest()

    loop.run_until_complete(cycles())
    loop.run_until_complete(place.close())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    print(f"{len(names)} kinds of cycles, {count} of each: what nobody points to is told of below", flush=True)
    return 0
