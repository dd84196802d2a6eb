/* 4-ary min-heap with cached keys: see heap.h. Relies on the C allocator only. */
#include "base/heap.h"

#include <stdlib.h>

#define ARITY 4
#define FIRST_CAPACITY 64

static int
comes_before(const LmHeapSlot *a, const LmHeapSlot *b)
{
    return a->due < b->due || (a->due == b->due && a->seq < b->seq);
}

static void
place(LmHeap *heap, size_t index, LmHeapSlot slot)
{
    heap->slots[index] = slot;
    slot.node->index = (uint32_t)index;
}

static void
sift_up(LmHeap *heap, size_t index, LmHeapSlot slot)
{
    while (index > 0) {
        size_t parent = (index - 1) / ARITY;
        if (!comes_before(&slot, &heap->slots[parent])) {
            break;
        }
        place(heap, index, heap->slots[parent]);
        index = parent;
    }
    place(heap, index, slot);
}

static size_t
least_child(const LmHeap *heap, size_t first)
{
    size_t least = first;
    size_t end = first + ARITY < heap->size ? first + ARITY : heap->size;
    for (size_t i = first + 1; i < end; i++) {
        if (comes_before(&heap->slots[i], &heap->slots[least])) {
            least = i;
        }
    }
    return least;
}

static void
sift_down(LmHeap *heap, size_t index, LmHeapSlot slot)
{
    for (;;) {
        size_t first = index * ARITY + 1;
        if (first >= heap->size) {
            break;
        }
        size_t child = least_child(heap, first);
        if (!comes_before(&heap->slots[child], &slot)) {
            break;
        }
        place(heap, index, heap->slots[child]);
        index = child;
    }
    place(heap, index, slot);
}

static int
grow(LmHeap *heap)
{
    size_t capacity = heap->capacity ? heap->capacity * 2 : FIRST_CAPACITY;
    if (heap->size == LM_HEAP_NOWHERE) {
        return -1;
    }
    LmHeapSlot *slots = realloc(heap->slots, capacity * sizeof(*slots));
    if (slots == NULL) {
        return -1;
    }
    heap->slots = slots;
    heap->capacity = capacity;
    return 0;
}

/* A burst of a million timers must not hold its memory for ever. */
static void
shrink(LmHeap *heap)
{
    size_t capacity = heap->capacity / 2;
    LmHeapSlot *slots = realloc(heap->slots, capacity * sizeof(*slots));
    if (slots != NULL) {
        heap->slots = slots;
        heap->capacity = capacity;
    }
}

void
lm_heap_init(LmHeap *heap)
{
    heap->slots = NULL;
    heap->size = heap->capacity = 0;
}

void
lm_heap_free(LmHeap *heap)
{
    free(heap->slots);
    lm_heap_init(heap);
}

int
lm_heap_push(LmHeap *heap, LmHeapNode *node, double due, uint64_t seq)
{
    if (heap->size == heap->capacity && grow(heap) < 0) {
        return -1;
    }
    sift_up(heap, heap->size++, (LmHeapSlot){due, seq, node});
    return 0;
}

void
lm_heap_remove(LmHeap *heap, LmHeapNode *node)
{
    size_t index = node->index;
    LmHeapSlot last = heap->slots[--heap->size];
    node->index = LM_HEAP_NOWHERE;
    if (index != heap->size) {
        if (index > 0 && comes_before(&last, &heap->slots[(index - 1) / ARITY])) {
            sift_up(heap, index, last);
        }
        else {
            sift_down(heap, index, last);
        }
    }
    if (heap->capacity > FIRST_CAPACITY && heap->size * 4 < heap->capacity) {
        shrink(heap);
    }
}
