/* Search and traversal of the ready queue: see ready.h. */
#include "core/ready.h"

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
