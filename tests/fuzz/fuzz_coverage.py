"""Fuzzing with coverage: runs the program of fuzz_build.py for a target, again behind each end while there is time.

The corpus of a run stands in build/fuzzing/TARGET and grows from run to run; what broke a rule in
build/fuzzing/found.
"""

import hashlib
import os
import re
import subprocess
import time

import fuzz_build
import fuzz_corpus

WORK = fuzz_build.ROOT / "build" / "fuzzing"
FOUND = WORK / "found"
MEGABYTES = 3000
LIMITS = ["-timeout=30", f"-rss_limit_mb={MEGABYTES}", "-malloc_limit_mb=300", f"-max_len={fuzz_corpus.LONGEST}"]

# A fault by name: the target that is to find it, a file, what stands there and what in its place.
PLANTED = {
    "room miscounted": ("tls", "src/tls/rawbuf.h", "(needed > buf->capacity)", "(needed > buf->capacity + 7)"),
    "port truncated": ("addresses", "src/net/addr.c", "value <= most ?", "value <= most + 1 ?"),
    "NUL unseen": ("addresses", "src/net/addr.c", "(strlen(text) != (size_t)PyUnicode_GET_LENGTH(host))", "(0)"),
    "pause late": ("streams", "src/net/stream_feed.c", "> 2 * fields.limit", "> 2 * fields.limit + 1"),
}  # fmt: skip


def put_aside(target, data):
    """The file of an input that broke a rule."""
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{target}-{hashlib.sha1(data).hexdigest()[:12]}"
    path.write_bytes(data)
    return path.relative_to(fuzz_build.ROOT)


class Progress:
    """What libFuzzer says of itself."""

    LINE = re.compile(r"#(\d+)\s+(\w+)\s+cov: (\d+) ft: (\d+) corp: (\d+)")

    def __init__(self):
        self.executions = self.before = 0
        self.first = self.edges = self.features = self.inputs = 0
        self.counters = 0
        self.shown = 0.0
        self.tail = []

    def take(self, line):
        self.tail = [*self.tail[-80:], line]
        if found := re.search(r"Loaded \d+ modules?\s+\((\d+) inline", line):
            self.counters = int(found[1])
        if found := self.LINE.match(line):
            count, what, self.edges, self.features, self.inputs = (
                int(word) if word.isdigit() else word for word in found.groups()
            )
            self.executions = self.before + count
            self.first = self.first or self.edges
            if what in ("INITED", "DONE") or time.monotonic() > self.shown + 30:
                self.shown = time.monotonic()
                print(f"    {self.executions} inputs: {self.edges} edges, {self.inputs} kept", flush=True)

    def next_process(self):
        self.before = self.executions


def run(program, environment, arguments, progress):
    """One process of libFuzzer; its exit status."""
    process = subprocess.Popen(
        [program, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, errors="replace", stdin=subprocess.DEVNULL,
    )  # fmt: skip
    for line in process.stderr:
        progress.take(line.rstrip("\n"))
    status = process.wait()
    progress.next_process()
    return status


def corpus_folder(target):
    folder = WORK / target
    fuzz_corpus.unpack(fuzz_corpus.kept(target) or fuzz_corpus.fresh(target, 200), folder)
    return folder


def failing(progress, target):
    """Show the end of what was said, and how to play the input again."""
    for line in progress.tail[-60:]:
        print(line)
    written = [line for line in progress.tail if "Test unit written to" in line]
    if written:
        path = os.path.relpath(written[-1].split("written to ")[1], fuzz_build.ROOT)
        print(f"again: python tests/fuzz {target} --replay {path} --sanitized")


def search(target, program, environment, options):
    """Fuzz for so long; return how often a rule was broken."""
    folder = corpus_folder(target)
    FOUND.mkdir(parents=True, exist_ok=True)
    progress = Progress()
    began = time.monotonic()
    failed = 0
    while (left := int(options.seconds - (time.monotonic() - began))) > 0:
        arguments = [*LIMITS, "-len_control=0", f"-max_total_time={left}", f"-artifact_prefix={FOUND}/{target}-"]
        arguments += [f"-seed={options.seed + failed}", str(folder)]
        if run(program, environment, arguments, progress) != 0:
            failed += 1
            failing(progress, target)
            if not options.keep_going:
                break
    took = time.monotonic() - began
    print(
        f"{target}: {progress.executions} inputs, {took:.0f} s, edges {progress.first} to {progress.edges} of "
        f"{progress.counters}, {progress.inputs} inputs kept: {failed} break a rule",
        flush=True,
    )
    return failed


def minimize(target, program, environment):
    """Keep in corpus/ the fewest inputs that cover as much."""
    smallest = WORK / f"{target}-smallest"
    subprocess.run(["rm", "-rf", smallest], check=True)
    smallest.mkdir(parents=True)
    run(program, environment, [*LIMITS, "-merge=1", str(smallest), str(WORK / target)], Progress())
    inputs = [path.read_bytes() for path in smallest.iterdir()]
    print(f"{target}: {fuzz_corpus.keep(target, inputs)} of {len(inputs)} inputs that matter kept in corpus/")


def fuzz(target, options):
    """Fuzz, or replay with sanitizers; return how often a rule was broken."""
    try:
        program, environment = fuzz_build.build(PLANTED[options.plant][1:] if options.plant else None)
    except fuzz_build.NoClang as exc:
        print(f"{target}: skipped, {exc}")
        return 0
    environment = os.environ | environment | {"FUZZ_TARGET": target}
    if options.replay:
        return subprocess.run([program, *options.replay], env=environment, check=False).returncode
    failed = search(target, program, environment, options)
    if options.keep:
        minimize(target, program, environment)
    return failed
