/* The heap of timers: in order after every operation, on any heap that is in order.

   Which node lies in which slot is a matter of naming: the i-th node lies in the i-th slot
   before the operation. Each has memory of its own: CBMC then thinks of which node it is,
   and not of bytes within an array of nodes. Nothing but their order is asked of deadlines
   and numbers, so as many of them do as can stand in a heap of that size, in any order. */
#include "proof.h"

#include "base/heap.c"

static void
on_release(PyObject *obj)
{
    (void)obj;
}

#ifndef SIZE
#define SIZE 6 /* of the heap as it is found */
#endif
#ifndef CAPACITY
#define CAPACITY SIZE
#endif

#define ORDERS 15 /* more than there are nodes */

static LmHeap heap;
static LmHeapNode *nodes[SIZE + 1];
static int64_t keys[SIZE + 1];

static void
make_heap(void)
{
    lm_heap_init(&heap);
#if CAPACITY > 0
    heap.slots = HAVE(BEFORE_FIRST + CAPACITY, LmHeapSlot);
    heap.slots += BEFORE_FIRST;
    heap.capacity = CAPACITY;
#endif
    for (size_t i = 0; i < SIZE; i++) {
        size_t parent = i > 0 ? (i - 1) / ARITY : 0;
        int64_t least = i > 0 ? keys[parent] : 0;
        keys[i] = (int64_t)any_between((uint64_t)least, ORDERS);
        /* Numbers in the order of making, which no two share. */
        nodes[i] = HAVE(1, LmHeapNode);
        nodes[i]->seq = any_between(0, ORDERS);
        SUPPOSE(i == 0 || keys[i] > least || nodes[i]->seq > nodes[parent]->seq);
        for (size_t j = 0; j < i; j++) {
            SUPPOSE(nodes[i]->seq != nodes[j]->seq);
        }
        place_node(&heap, i, (LmHeapSlot){keys[i], nodes[i]});
    }
    heap.size = SIZE;
}

/* All but `out` are in it, once, with the key they came with, and none before its parent. */
static void
check(size_t count, size_t out)
{
    HOLDS(heap.size == count - (out < count), "the size is that of the model");
    HOLDS(heap.size <= heap.capacity, "no more than there is room for");
    for (size_t i = 0; i < count; i++) {
        if (i != out) {
            HOLDS(nodes[i]->index < heap.size, "a node knows a place in the heap");
            HOLDS(heap.slots[nodes[i]->index].node == nodes[i], "and is found there");
            HOLDS(heap.slots[nodes[i]->index].key == keys[i], "with its deadline");
        }
    }
    for (size_t i = 1; i < SIZE + 1 && i < heap.size; i++) {
        HOLDS(comes_before(&heap.slots[(i - 1) / ARITY], &heap.slots[i]),
              "none lies before its parent");
    }
}

#ifdef OUT
static void
prove_remove(void)
{
    make_heap();
    lm_heap_remove(&heap, nodes[OUT]);
    HOLDS(nodes[OUT]->index == LM_HEAP_NOWHERE, "what was taken out knows it");
    check(SIZE, OUT);
    lm_heap_free(&heap);
}
#endif

static void
prove_push(void)
{
    make_heap();
    double due;
    uint64_t bits = any_between(0, ORDERS); /* the least of positive numbers */
    memcpy(&due, &bits, sizeof(due));
    nodes[SIZE] = HAVE(1, LmHeapNode);
    nodes[SIZE]->seq = any_between(0, ORDERS);
    for (size_t i = 0; i < SIZE; i++) {
        SUPPOSE(nodes[SIZE]->seq != nodes[i]->seq);
    }
    keys[SIZE] = lm_heap_key(due);
    if (lm_heap_push(&heap, nodes[SIZE], due) < 0) {
        check(SIZE, SIZE); /* out of memory: nothing has changed */
    }
    else {
        check(SIZE + 1, SIZE + 1);
    }
    lm_heap_free(&heap);
}

/* The numbers that stand for deadlines compare as the deadlines do: all pairs there are. */
static void
prove_key(void)
{
    double a = any_double(), b = any_double();
    SUPPOSE(a == a && b == b);
    HOLDS((lm_heap_key(a) < lm_heap_key(b)) == (a < b), "less is less");
    HOLDS((lm_heap_key(a) == lm_heap_key(b)) == (a == b), "equal is equal");
}

/* The tournament finds what a search one by one finds. */
static void
prove_least(void)
{
    LmHeapNode four[ARITY];
    LmHeapSlot slots[ARITY];
    for (size_t i = 0; i < ARITY; i++) {
        four[i].seq = any_word();
        slots[i] = (LmHeapSlot){(int64_t)any_between(0, 3), &four[i]};
        if (any_truth()) {
            slots[i].key = (int64_t)any_word();
        }
    }
    size_t least = least_of_four(slots);
    for (size_t i = 0; i < ARITY; i++) {
        HOLDS(!comes_before(&slots[i], &slots[least]), "none of four comes before it");
    }
}
