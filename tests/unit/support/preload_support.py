"""Programs in a child under a preloaded library, which is compiled here and changes what the C library answers."""

import os
import shutil
import subprocess
import sys

import pytest
from tree import ROOT, SUPPORT


def build(source, directory):
    """Compile a file of this folder; return the library. Skips the test where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler")
    library = (directory / source).with_suffix(".so")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, SUPPORT / source, "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return library


def program_runner(library, prelude, kind, directory):
    """A function that runs a text behind the prelude, with the kind of loop as its first word: see output_of."""

    def run(text, *words):
        path = directory / "program.py"
        path.write_text(prelude + text, encoding="utf-8")
        return output_of(library, path, kind, *words)

    return run


def output_of(library, program, *words, flags=()):
    """Run the program, a file, under the library; return what it printed. It must end well."""
    preload = ":".join(filter(None, [os.environ.get("LD_PRELOAD"), str(library)]))
    environment = {**os.environ, "LD_PRELOAD": preload, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    done = subprocess.run(
        [sys.executable, *flags, program, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout
