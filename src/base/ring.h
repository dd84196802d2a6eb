/* Growable FIFO ring of ready items: a function and the object it works on.

   The ring owns a reference to each object; whoever pops an item owns it then. Runs no
   Python but where it is cleared. */
#ifndef LM_BASE_RING_H
#define LM_BASE_RING_H

#include "base/lm.h"

struct LmLoop;

/* Runs one ready item. Steals `obj`. -1 with an exception set only where the exception
   has to leave run_forever (KeyboardInterrupt, SystemExit); every other failure it
   reports itself. */
typedef int (*LmReadyFn)(struct LmLoop *loop, PyObject *obj);

typedef struct {
    LmReadyFn fn;
    PyObject *obj;
} LmReadyItem;

typedef struct {
    LmReadyItem *items;
    size_t mask; /* capacity - 1; the capacity is a power of two */
    size_t head; /* running counts: the difference is the length */
    size_t tail;
} LmRing;

int lm_ring_grow(LmRing *ring); /* 0, or -1 where memory is out */

/* Drops all that is in it, and its memory. May run Python, which may push anew: that is
   dropped too. */
void lm_ring_clear(LmRing *ring);

static inline size_t
lm_ring_length(const LmRing *ring)
{
    return ring->tail - ring->head;
}

/* Steals `obj` on success. -1 where memory is out (no exception is set). */
static inline int
lm_ring_push(LmRing *ring, LmReadyFn fn, PyObject *obj)
{
    if (LM_UNLIKELY(ring->items == NULL || ring->tail - ring->head > ring->mask)) {
        if (lm_ring_grow(ring) < 0) {
            return -1;
        }
    }
    ring->items[ring->tail++ & ring->mask] = (LmReadyItem){fn, obj};
    return 0;
}

static inline LmReadyItem
lm_ring_pop(LmRing *ring)
{
    LM_ASSERT(ring->tail != ring->head);
    lm_prefetch(ring->items[(ring->head + LM_AHEAD) & ring->mask].obj);
    return ring->items[ring->head++ & ring->mask];
}

/* The i-th item from the head, for the cycle collector. */
static inline const LmReadyItem *
lm_ring_at(const LmRing *ring, size_t i)
{
    return &ring->items[(ring->head + i) & ring->mask];
}

#endif
