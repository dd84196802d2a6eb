/* The ready queue: what runs next.

   Strictly FIFO. An item is a function and an object, so the engine runs handles, task
   steps and transports without naming them. Other threads add to the same queue, under
   the GIL, which the loop's thread holds whenever it touches it: so a thread-safe call
   keeps its place among the loop's own, as in asyncio. Without a GIL they add to the
   inbox (core/inbox.h), with the same outcome. */
#ifndef LM_CORE_READY_H
#define LM_CORE_READY_H

#include "core/inbox.h"

/* What other threads sent takes its place in the queue. -1 with MemoryError set. */
static inline int
lm_ready_take_sent(LmLoop *loop)
{
    return lm_inbox_has_any(loop) ? lm_inbox_drain(loop) : 0;
}

/* Appends an item; loop's thread only (or while it does not run). Steals `obj` even on
   failure. -1 with MemoryError set. */
static inline int
lm_ready_push(LmLoop *loop, LmReadyFn fn, PyObject *obj)
{
    int failed = lm_ready_take_sent(loop) < 0;
    if (LM_UNLIKELY(failed || lm_ring_push(&loop->ready, fn, obj) < 0)) {
        Py_DECREF(obj);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

/* The same for what asyncio lets any thread do, though it wakes nobody by it: call_soon().
   Without a GIL an idle loop is taken for that, and what is another thread's is sent. */
static inline int
lm_ready_push_any(LmLoop *loop, LmReadyFn fn, PyObject *obj)
{
#if LM_FREE_THREADED
    LmOwner owner;
    if (lm_owner_enter(&owner, loop, obj) < 0) {
        PyErr_Clear();
        LM_STORE(loop->had_guests, 1);
        return lm_inbox_push(loop, fn, obj);
    }
    int failed = lm_ready_push(loop, fn, obj);
    lm_owner_leave(&owner);
    return failed;
#else
    return lm_ready_push(loop, fn, obj);
#endif
}

/* Appends an item from any thread and wakes the loop where it waits. Steals `obj`. -1
   with MemoryError set. */
static inline int
lm_ready_push_threadsafe(LmLoop *loop, LmReadyFn fn, PyObject *obj)
{
#if LM_FREE_THREADED
    return lm_owner_is_home(loop) ? lm_ready_push(loop, fn, obj)
                                  : lm_inbox_push(loop, fn, obj);
#else
    int failed = lm_ready_push(loop, fn, obj);
    if (loop->is_asleep) {
        /* One wake-up is enough for all that comes until the loop sleeps again. */
        loop->is_asleep = 0;
        lm_poll_wake(&loop->poll);
    }
    return failed;
#endif
}

/* The first item of the function and object, to be changed in place, or NULL. */
LmReadyItem *lm_ready_find(LmLoop *loop, LmReadyFn fn, PyObject *obj);

int lm_ready_traverse(LmLoop *loop, visitproc visit, void *arg);

#endif
