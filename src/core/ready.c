/* Clearing, search and traversal of the ready queue: see ready.h. */
#include "core/ready.h"

void
lm_ready_clear(LmLoop *loop)
{
    while (loop->ready.items != NULL) {
        /* Taken whole first: a finalizer may push to the ring that it is being cleared
           from. */
        LmRing taken = loop->ready;
        loop->ready = (LmRing){NULL, 0, 0, 0};
        while (lm_ring_length(&taken) > 0) {
            Py_DECREF(lm_ring_pop(&taken).obj);
        }
        lm_ring_free(&taken);
    }
}

LmReadyItem *
lm_ready_find(LmLoop *loop, LmReadyFn fn, PyObject *obj)
{
    for (size_t i = 0, n = lm_ring_length(&loop->ready); i < n; i++) {
        const LmReadyItem *item = lm_ring_at(&loop->ready, i);
        if (item->fn == fn && item->obj == obj) {
            return (LmReadyItem *)item;
        }
    }
    return NULL;
}

int
lm_ready_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    for (size_t i = 0, n = lm_ring_length(&loop->ready); i < n; i++) {
        Py_VISIT(lm_ring_at(&loop->ready, i)->obj);
    }
    return 0;
}
