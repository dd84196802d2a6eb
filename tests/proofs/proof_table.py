"""The proofs: which function of which harness, with what sizes and bounds, and the fault that each must find.

A fault is one line of the source as it would stand if it were wrong, in the file that the proof includes.
"""

from dataclasses import dataclass, field

RING, HEAP, LIST = "base/ring", "base/heap.c", "base/list.h"
SIFTING = ("sift_up.0:3", "sift_down.0:3", "least_of_some.0:5")


@dataclass
class Fault:
    path: str  # below src/
    old: str
    new: str
    sizes: dict = field(default_factory=dict)  # at which it shows


@dataclass
class Proof:
    harness: str
    function: str
    fault: Fault
    unwind: int
    sizes: list = field(default_factory=lambda: [{}])
    unwindset: tuple = ()

    @property
    def name(self):
        return f"{self.harness}: {self.function}"


def queues(*overheads):
    """A queue's pieces and where they begin in its memory: full, with room in front, behind, on both sides."""
    places = ((3, 0), (1, 0), (2, 1), (1, 2), (1, 1))
    return [
        {"COUNT": count, "FIRST": first, **({"OVERHEAD": overhead} if overhead else {})}
        for overhead in overheads or (0,)
        for count, first in places
    ]


def removals():
    """Every place of heaps up to two levels below the root, and one that gives memory back."""
    for size in (1, 2, 3, 4, 5, 6, 7, 10):
        yield from ({"SIZE": size, "OUT": out} for out in range(size))
    yield {"SIZE": 3, "OUT": 1, "CAPACITY": 128}


PROOFS = [
    Proof(
        "ring",
        "push",
        Fault("base/ring.c", "items[i] = *lm_ring_at(ring, i);", "items[i] = ring->items[i];", {"CAPACITY": 2}),
        unwind=10,
        sizes=[{"CAPACITY": capacity} for capacity in (0, 1, 2, 4)],
    ),
    Proof(
        "ring",
        "pop",
        Fault(
            "base/ring.h",
            "    return ring->items[ring->head++ & ring->mask];",
            "    return ring->items[ring->head++ & (ring->mask >> 1)];",
        ),
        unwind=10,
        sizes=[{"CAPACITY": capacity} for capacity in (1, 2, 4, 8)],
    ),
    Proof(
        "ring",
        "clear",
        Fault("base/ring.c", "            Py_DECREF(lm_ring_pop(&taken).obj);", "            lm_ring_pop(&taken);"),
        unwind=10,
        sizes=[{"CAPACITY": capacity} for capacity in (0, 1, 2, 4)],
    ),
    Proof(
        "heap",
        "push",
        Fault(
            HEAP,
            "return a->key < b->key || (a->key == b->key && a->node->seq < b->node->seq);",
            "return a->key < b->key;",
            {"SIZE": 1, "CAPACITY": 2},
        ),
        unwind=12,
        unwindset=SIFTING,
        sizes=[{"SIZE": size, "CAPACITY": size + 1} for size in (0, 1, 4, 5, 10)] + [{"SIZE": 2, "CAPACITY": 2}],
    ),
    Proof(
        "heap",
        "remove",
        Fault(
            HEAP,
            "        if (index > 0 && comes_before(&last, &heap->slots[(index - 1) / ARITY])) {",
            "        if (0) {",
            {"SIZE": 10, "OUT": 5},
        ),
        unwind=12,
        unwindset=SIFTING,
        sizes=list(removals()),
    ),
    Proof("heap", "key", Fault("base/heap.h", "    due += 0.0; /* no negative zero */", "    ;"), unwind=4),
    Proof(
        "heap",
        "least",
        Fault(
            HEAP,
            "    if (LM_UNLIKELY(a == b || c == d || left == right)) {",
            "    if (LM_UNLIKELY(a == b || c == d)) {",
        ),
        unwind=6,
    ),
    Proof("list", "operation", Fault(LIST, "    next->prev = node;", "    ;"), unwind=6),
    Proof(
        "outbuf",
        "add",
        Fault(
            "net/outbuf.c",
            "    return owner != NULL && PyBytes_CheckExact(owner) ? owner : NULL;",
            "    return owner;",
        ),
        unwind=6,
        sizes=[{}, *queues()],
    ),
    Proof(
        "outbuf",
        "datagram",
        Fault(
            "net/outbuf.c",
            "    LM_STORE(out->size, out->size + (size + overhead));",
            "    LM_STORE(out->size, out->size + size);",
            {"COUNT": 1, "OVERHEAD": 3},
        ),
        unwind=6,
        sizes=[{}, *queues(0, 3)],
    ),
    Proof(
        "outbuf",
        "take",
        Fault(
            "net/outbuf.c",
            "    LmPiece piece = out->pieces[out->first++];",
            "    LmPiece piece = out->pieces[out->first];",
            {"COUNT": 3},
        ),
        unwind=6,
        sizes=queues(0, 3),
    ),
    Proof(
        "outbuf",
        "sent",
        Fault("net/outbuf.c", "            piece->data += bytes;", "            ;"),
        unwind=6,
        sizes=queues(),
    ),
    Proof(
        "outbuf",
        "vectors",
        Fault(
            "net/outbuf.c",
            "        const LmPiece *piece = &out->pieces[out->first + (size_t)i];",
            "        const LmPiece *piece = &out->pieces[(size_t)i];",
        ),
        unwind=6,
        sizes=queues(),
    ),
    Proof(
        "outbuf",
        "append",
        Fault("net/outbuf.c", "    LM_STORE(out->size, out->size + fresh->size);", "    ;", {"COUNT": 3}),
        unwind=6,
        sizes=[{}, *queues()],
    ),
    Proof(
        "outbuf",
        "gather",
        Fault("net/outbuf.c", "    PyBuffer_Release(&view);", "    ;", {"CAPACITY": 2}),
        unwind=6,
        unwindset=("lm_outbuf_gather.0:3", "lm_outbuf_clear.0:3"),
        sizes=[{"CAPACITY": 2}],
    ),
    Proof(
        "records",
        "size",
        Fault("tls/records.h", "length <= LM_RECORD_LARGEST - LM_RECORD_HEADER;", "length <= LM_RECORD_LARGEST;"),
        unwind=6,
    ),
    Proof(
        "records",
        "find",
        Fault(
            "tls/records.h",
            "        if (length > size - found.bytes || found.bytes + length > room) {",
            "        if (found.bytes + length > room) {",
        ),
        unwind=6,
    ),
    Proof(
        "records",
        "add",
        Fault(
            "tls/rawbuf.h",
            "    if (buf->start + buf->size + count > buf->capacity) {",
            "    if (buf->size + count > buf->capacity) {",
        ),
        unwind=9,
    ),
    Proof("records", "drop", Fault("tls/rawbuf.h", "    buf->start += count;", "    ;"), unwind=9),
    Proof(
        "freelist",
        "give",
        Fault(
            "base/freelist.h",
            "        (list->size >= most || lm_freelist_grow(list) < 0)) {",
            "        (list->size > most || lm_freelist_grow(list) < 0)) {",
        ),
        unwind=6,
        sizes=[{"CAPACITY": capacity} for capacity in (1, 4)],
    ),
    Proof(
        "freelist",
        "take",
        Fault("base/freelist.h", "|| list->size == 0)) {", "|| list->size < 0)) {"),
        unwind=6,
    ),
    Proof(
        "freelist",
        "close",
        Fault(
            "base/freelist.c",
            "    *list = (LmFreelist){.is_closed = 1};",
            "    *list = (LmFreelist){.is_closed = 0};",
        ),
        unwind=6,
    ),
]
for proof in PROOFS:
    # A fault shows at the first sizes, unless it says otherwise.
    proof.fault.sizes = proof.fault.sizes or proof.sizes[-1]
