/* The cycle collector of another thread, on builds without the GIL: it finds garbage while all
   threads stand still and ends it while they run. A task that is garbage is listed until its
   own end, so that all_tasks() gives it to a thread that cancels it and steps it, while its
   coroutine is being closed: two threads in one frame. A step waits for that instead.

   Relies on a bit of CPython's, which the collector sets while it has the object and before
   the others run on: whoever holds the object and finds the bit not set keeps it from being
   garbage. tests/unit/task/test_collector.py looks whether the bit means that still. */
#ifndef LM_TASK_COLLECTOR_H
#define LM_TASK_COLLECTOR_H

#include "base/threads.h"

#if LM_FREE_THREADED

#define LM_COLLECTOR_HAS ((uint8_t)4)

/* 1 where a collector has taken the object, which the caller holds, for garbage. */
static inline int
lm_collector_has(PyObject *obj)
{
    return (__atomic_load_n(&obj->ob_gc_bits, __ATOMIC_RELAXED) & LM_COLLECTOR_HAS) !=
           0;
}

/* Waits until it has let go of it, but no longer than a second: what it runs may wait for
   this thread, or be below it on the stack. */
void lm_collector_wait(PyObject *obj);

#else

static inline int
lm_collector_has(PyObject *obj LM_UNUSED)
{
    return 0;
}

static inline void
lm_collector_wait(PyObject *obj LM_UNUSED)
{
}

#endif

#endif
