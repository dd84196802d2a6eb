/* Growth and release of the ready ring: see ring.h. */
#include "base/ring.h"

#include <stdlib.h>

#define FIRST_CAPACITY 64

int
lm_ring_grow(LmRing *ring)
{
    size_t length = lm_ring_length(ring);
    size_t capacity = ring->items ? (ring->mask + 1) * 2 : FIRST_CAPACITY;
    LmReadyItem *items = malloc(capacity * sizeof(*items));
    if (items == NULL) {
        return -1;
    }
    for (size_t i = 0; i < length; i++) {
        items[i] = *lm_ring_at(ring, i);
    }
    free(ring->items);
    *ring = (LmRing){items, capacity - 1, 0, length};
    return 0;
}

void
lm_ring_clear(LmRing *ring)
{
    while (ring->items != NULL) {
        /* Taken whole first: a finalizer may push to the ring that it is being cleared
           from. */
        LmRing taken = *ring;
        *ring = (LmRing){NULL, 0, 0, 0};
        while (lm_ring_length(&taken) > 0) {
            Py_DECREF(lm_ring_pop(&taken).obj);
        }
        free(taken.items);
    }
}
