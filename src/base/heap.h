/* 4-ary min-heap of timers keyed by (due, seq): equal deadlines leave in the order of
   their scheduling.

   A slot caches the deadline beside the node pointer, so sifting touches no node but to
   store its index, or where deadlines are equal; four siblings share a cache line. The
   node knows its index, so removal is O(log n). Holds borrowed nodes: the owner keeps them
   alive. Runs no Python. */
#ifndef LM_BASE_HEAP_H
#define LM_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Not in the heap; and such that something else stands for it. */
#define LM_HEAP_NOWHERE UINT32_MAX
#define LM_HEAP_ELSEWHERE (UINT32_MAX - 1)

typedef struct LmHeapNode {
    uint64_t seq;
    uint32_t index; /* place in the heap, or LM_HEAP_NOWHERE */
} LmHeapNode;

typedef struct {
    int64_t key; /* lm_heap_key() of the deadline */
    LmHeapNode *node;
} LmHeapSlot;

typedef struct {
    LmHeapSlot *slots;
    size_t size;
    size_t capacity;
} LmHeap;

/* The deadline as a number that compares as it does, and faster. */
static inline int64_t
lm_heap_key(double due)
{
    int64_t bits;
    due += 0.0; /* no negative zero */
    memcpy(&bits, &due, sizeof(bits));
    return bits < 0 ? bits ^ INT64_MAX : bits;
}

void lm_heap_init(LmHeap *heap);
void lm_heap_free(LmHeap *heap);

/* With `node->seq` set; not NaN. 0, or -1 where memory is out, or 2^32 - 2 nodes are in it
   (no exception is set). */
int lm_heap_push(LmHeap *heap, LmHeapNode *node, double due);

/* Takes out a node that is in the heap. */
void lm_heap_remove(LmHeap *heap, LmHeapNode *node);

/* How many have a key up to this, or `most` where there are more. */
size_t lm_heap_count(const LmHeap *heap, int64_t key, size_t most);

static inline const LmHeapSlot *
lm_heap_top(const LmHeap *heap)
{
    return heap->size ? &heap->slots[0] : NULL;
}

#endif
