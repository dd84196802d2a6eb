/* 4-ary min-heap with cached keys: see heap.h. Relies on the C allocator only. */
#include "base/heap.h"

#include "base/lm.h"

#include <stdlib.h>

#define ARITY 4
#define FIRST_CAPACITY 64
#define CACHE_LINE 64

/* Unused slots before the first, so that siblings begin at a cache line. */
#define BEFORE_FIRST (CACHE_LINE / sizeof(LmHeapSlot) - 1)

static int
comes_before(const LmHeapSlot *a, const LmHeapSlot *b)
{
    return a->key < b->key || (a->key == b->key && a->node->seq < b->node->seq);
}

static void
place_node(LmHeap *heap, size_t index, LmHeapSlot slot)
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
        place_node(heap, index, heap->slots[parent]);
        index = parent;
    }
    place_node(heap, index, slot);
}

static size_t
least_of_some(const LmHeapSlot *slots, size_t count)
{
    size_t least = 0;
    for (size_t i = 1; i < count; i++) {
        least = comes_before(&slots[i], &slots[least]) ? i : least;
    }
    return least;
}

/* A tournament without branches, which could not be predicted; but for those that ask
   whether two are equal, which can. */
static size_t
least_of_four(const LmHeapSlot *slots)
{
    int64_t a = slots[0].key, b = slots[1].key, c = slots[2].key, d = slots[3].key;
    int64_t left = b < a ? b : a;
    int64_t right = d < c ? d : c;
    if (LM_UNLIKELY(a == b || c == d || left == right)) {
        return least_of_some(slots, ARITY);
    }
    size_t of_left = b < a;
    size_t of_right = 2 + (size_t)(d < c);
    return right < left ? of_right : of_left;
}

static size_t
least_child(const LmHeap *heap, size_t first)
{
    const LmHeapSlot *slots = &heap->slots[first];
    return first + (LM_LIKELY(first + ARITY <= heap->size)
                        ? least_of_four(slots)
                        : least_of_some(slots, heap->size - first));
}

static void
sift_down(LmHeap *heap, size_t index, LmHeapSlot slot)
{
    for (;;) {
        size_t first = index * ARITY + 1;
        if (first >= heap->size) {
            break;
        }
        /* All of its children's children: four lines. */
        lm_prefetch(&heap->slots[first * ARITY + 1]);
        lm_prefetch(&heap->slots[(first + 2) * ARITY + 1]);
        size_t child = least_child(heap, first);
        if (!comes_before(&heap->slots[child], &slot)) {
            break;
        }
        place_node(heap, index, heap->slots[child]);
        index = child;
    }
    place_node(heap, index, slot);
}

static void *
block_of(const LmHeap *heap)
{
    return heap->slots != NULL ? heap->slots - BEFORE_FIRST : NULL;
}

static int
resize_heap(LmHeap *heap, size_t capacity)
{
    size_t bytes = (BEFORE_FIRST + capacity) * sizeof(LmHeapSlot);
    void *block;
    if (posix_memalign(&block, CACHE_LINE, bytes) != 0) {
        return -1;
    }
    LmHeapSlot *slots = (LmHeapSlot *)block + BEFORE_FIRST;
    if (heap->size > 0) {
        memcpy(slots, heap->slots, heap->size * sizeof(*slots));
    }
    free(block_of(heap));
    heap->slots = slots;
    heap->capacity = capacity;
    return 0;
}

static int
grow_heap(LmHeap *heap)
{
    return heap->size == LM_HEAP_ELSEWHERE
               ? -1
               : resize_heap(heap,
                             heap->capacity ? heap->capacity * 2 : FIRST_CAPACITY);
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
    free(block_of(heap));
    lm_heap_init(heap);
}

int
lm_heap_push(LmHeap *heap, LmHeapNode *node, double due)
{
    if (heap->size == heap->capacity && grow_heap(heap) < 0) {
        return -1;
    }
    sift_up(heap, heap->size++, (LmHeapSlot){lm_heap_key(due), node});
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
        /* A burst of a million timers must not hold its memory for ever. */
        (void)resize_heap(heap, heap->capacity / 2);
    }
}

static size_t
count_below(const LmHeap *heap, size_t index, int64_t key, size_t most)
{
    if (most == 0 || index >= heap->size || heap->slots[index].key > key) {
        return 0;
    }
    size_t count = 1;
    for (size_t i = 0; i < ARITY && count < most; i++) {
        count += count_below(heap, index * ARITY + 1 + i, key, most - count);
    }
    return count;
}

size_t
lm_heap_count(const LmHeap *heap, int64_t key, size_t most)
{
    return count_below(heap, 0, key, most);
}
