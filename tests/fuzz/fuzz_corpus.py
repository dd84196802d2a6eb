"""The inputs that are kept, in corpus/TARGET.txt: one a line in hex, shortest first. How more are made of them."""

import hashlib
import itertools
import random
from pathlib import Path

CORPUS = Path(__file__).resolve().parent / "corpus"
MOST_INPUTS = 200
MOST_BYTES = 50_000  # 100 KB as text
LONGEST = 1000


def kept(target):
    path = CORPUS / f"{target}.txt"
    return [bytes.fromhex(line) for line in path.read_text().splitlines()] if path.is_file() else []


def keep(target, inputs):
    """Write them, as many as there is room for."""
    lines, size = [], 0
    for data in sorted(set(inputs), key=lambda data: (len(data), data))[:MOST_INPUTS]:
        size += len(data)
        if size > MOST_BYTES:
            break
        lines.append(data.hex() + "\n")
    CORPUS.mkdir(exist_ok=True)
    (CORPUS / f"{target}.txt").write_text("".join(lines))
    return len(lines)


def unpack(inputs, folder):
    """A file for each, as libFuzzer wants them."""
    folder.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def fresh(target, count):
    """Inputs of nothing but chance, always the same."""
    chance = random.Random(target)
    return [chance.randbytes(chance.randrange(1, 200)) for _ in range(count)]


def changed(data, others, chance):
    """The input with one to four changes."""
    data = bytearray(data)
    for _ in range(chance.randrange(1, 5)):
        kind, place = chance.randrange(6), chance.randrange(len(data) + 1)
        if kind == 0 and place < len(data):
            data[place] = chance.randrange(256)
        elif kind == 1 and place < len(data):
            data[place] ^= 1 << chance.randrange(8)
        elif kind == 2:
            data[place:place] = chance.randbytes(chance.randrange(1, 9))
        elif kind == 3:
            del data[place : place + chance.randrange(1, 9)]
        elif kind == 4:
            other = chance.choice(others)
            data[place:] = other[chance.randrange(len(other) + 1) :]
        else:
            start = chance.randrange(len(data) + 1)
            data[place:place] = data[start : start + chance.randrange(1, 30)]
    return bytes(data[:LONGEST])


def endless(target, seed):
    """The corpus, then changes of it, or of inputs of chance where there is none."""
    inputs = kept(target) or fresh(target, 100)
    yield from inputs
    chance = random.Random(f"{target} {seed}")
    while True:
        yield changed(chance.choice(inputs), inputs, chance)


def some(target, count):
    """The corpus and so many changes of it."""
    return itertools.islice(endless(target, 0), len(kept(target) or fresh(target, 100)) + count)
