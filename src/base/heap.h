/* 4-ary min-heap of timers keyed by (due, seq): equal deadlines leave in the order of
   their scheduling.

   A slot caches the key beside the node pointer, so sifting touches no node but to
   store its index; the node knows its index, so removal is O(log n). Holds borrowed
   nodes: the owner keeps them alive. Runs no Python. */
#ifndef LM_BASE_HEAP_H
#define LM_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

#define LM_HEAP_NOWHERE UINT32_MAX

typedef struct LmHeapNode {
    uint32_t index; /* place in the heap, or LM_HEAP_NOWHERE */
} LmHeapNode;

typedef struct {
    double due;
    uint64_t seq;
    LmHeapNode *node;
} LmHeapSlot;

typedef struct {
    LmHeapSlot *slots;
    size_t size;
    size_t capacity;
} LmHeap;

void lm_heap_init(LmHeap *heap);
void lm_heap_free(LmHeap *heap);

/* 0, or -1 where memory is out, or 2^32 - 1 nodes are in it (no exception is set). */
int lm_heap_push(LmHeap *heap, LmHeapNode *node, double due, uint64_t seq);

/* Takes out a node that is in the heap. */
void lm_heap_remove(LmHeap *heap, LmHeapNode *node);

static inline const LmHeapSlot *
lm_heap_top(const LmHeap *heap)
{
    return heap->size ? &heap->slots[0] : NULL;
}

#endif
