/* The ready queue: what runs next.

   Strictly FIFO. An item is a function and an object, so the engine runs handles, task
   steps and transports without naming them. Other threads add to the same queue, under
   the GIL, which the loop's thread holds whenever it touches it: so a thread-safe call
   keeps its place among the loop's own, as in asyncio. (A build that declares that it
   needs no GIL has to put an inbox with a lock here.) */
#ifndef LM_CORE_READY_H
#define LM_CORE_READY_H

#include "core/loop.h"

/* Appends an item; loop's thread only (or while it does not run). Steals `obj` even on
   failure. -1 with MemoryError set. */
static inline int
lm_ready_push(LmLoop *loop, LmReadyFn fn, PyObject *obj)
{
    if (LM_UNLIKELY(lm_ring_push(&loop->ready, fn, obj) < 0)) {
        Py_DECREF(obj);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* Appends an item from any thread and wakes the loop where it waits. Steals `obj`. -1
   with MemoryError set. */
static inline int
lm_ready_push_threadsafe(LmLoop *loop, LmReadyFn fn, PyObject *obj)
{
    int failed = lm_ready_push(loop, fn, obj);
    if (loop->is_asleep) {
        /* One wake-up is enough for all that comes until the loop sleeps again. */
        loop->is_asleep = 0;
        lm_poll_wake(&loop->poll);
    }
    return failed;
}

/* The first item of the function and object, to be changed in place, or NULL. */
LmReadyItem *lm_ready_find(LmLoop *loop, LmReadyFn fn, PyObject *obj);

int lm_ready_traverse(LmLoop *loop, visitproc visit, void *arg);

#endif
