/* The ready queue: what runs next, and the inbox through which other threads add to it.

   Strictly FIFO. An item is a function and an object, so the engine runs handles, task steps and transports
   without naming them. */
#ifndef LM_CORE_READY_H
#define LM_CORE_READY_H

#include "core/loop.h"

/* Appends an item; loop's thread only (or while it does not run). Steals `obj` even on failure.
   -1 with MemoryError set. */
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

/* Appends an item from any thread and wakes the loop. Steals `obj`. -1 with RuntimeError (closed) or
   MemoryError set. */
int lm_ready_push_threadsafe(LmLoop *loop, LmReadyFn fn, PyObject *obj);

/* Moves what other threads sent to the queue. -1 with MemoryError set, nothing lost. */
int lm_ready_take_inbox(LmLoop *loop);

/* Announces that the loop's thread is about to wait. 0 where the inbox has something instead. */
int lm_ready_fall_asleep(LmLoop *loop);
void lm_ready_wake_up(LmLoop *loop);

/* Drops everything queued. May run Python (finalizers), which may not queue anew on a closed loop. */
void lm_ready_clear(LmLoop *loop);
int lm_ready_traverse(LmLoop *loop, visitproc visit, void *arg);

#endif
