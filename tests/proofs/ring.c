/* The ready ring: first in, first out, whatever the running counts are and however it grows.

   One operation on any ring that is whole (not only those that a run reaches), so that what
   is proven of one holds after any number. */
#include "proof.h"

#include "base/ring.c"

#ifndef CAPACITY
#define CAPACITY 4 /* of the ring as it is found; 0 is one without memory */
#endif

static LmRing ring;
static LmReadyItem was[CAPACITY + 1];
static size_t was_length;
static PyObject object;

static int
first_function(struct LmLoop *loop, PyObject *obj)
{
    return 0;
}

static int
second_function(struct LmLoop *loop, PyObject *obj)
{
    return 1;
}

static void
on_release(PyObject *obj)
{
    (void)obj;
}

static LmReadyItem
any_item(void)
{
    return (LmReadyItem){any_truth() ? first_function : second_function, &object};
}

static void
make_ring(void)
{
    object.ob_refcnt = 0;
    was_length = 0;
    ring = (LmRing){NULL, 0, 0, 0};
    if (CAPACITY == 0) {
        return;
    }
    size_t head = any_word(); /* the counts run over */
    was_length = any_size(0, CAPACITY);
    ring = (LmRing){HAVE(CAPACITY, LmReadyItem), CAPACITY - 1, head, head + was_length};
    for (size_t i = 0; i < was_length; i++) {
        was[i] = ring.items[(head + i) & ring.mask] = any_item();
        object.ob_refcnt++;
    }
}

/* Whole, and what it holds from its `from`-th item on is what it held before. */
static void
check(size_t from, size_t length)
{
    HOLDS(lm_ring_length(&ring) == length, "the length is that of the model");
    HOLDS(length == 0 || ring.items != NULL, "what is in it has memory");
    HOLDS(length == 0 || length <= ring.mask + 1, "no more than there is room for");
    HOLDS((ring.mask & (ring.mask + 1)) == 0, "the capacity is a power of two");
    for (size_t i = 0; i + from < was_length && i < length; i++) {
        const LmReadyItem *item = lm_ring_at(&ring, i);
        HOLDS(item->fn == was[i + from].fn && item->obj == was[i + from].obj,
              "in the order in which they were pushed");
    }
}

static void
prove_push(void)
{
    make_ring();
    LmReadyItem item = any_item();
    if (lm_ring_push(&ring, item.fn, item.obj) < 0) {
        check(0, was_length); /* out of memory: nothing has changed */
        return;
    }
    check(0, was_length + 1);
    HOLDS(lm_ring_at(&ring, was_length)->fn == item.fn, "what was pushed is last");
}

static void
prove_pop(void)
{
    make_ring();
    SUPPOSE(was_length > 0);
    LmReadyItem item = lm_ring_pop(&ring);
    HOLDS(item.fn == was[0].fn && item.obj == was[0].obj, "the first leaves first");
    check(1, was_length - 1);
}

static void
prove_clear(void)
{
    make_ring();
    lm_ring_clear(&ring);
    HOLDS(ring.items == NULL && lm_ring_length(&ring) == 0, "nothing is left");
    HOLDS(object.ob_refcnt == 0, "each reference was dropped once");
}
