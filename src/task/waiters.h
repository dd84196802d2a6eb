/* Who is told when a future is done: done callbacks, and native tasks linked without
   any object between.

   Storage is in LmFuture: the first waiter stands in the future, further ones behind its
   rare fields. Waiters are told in the order of their coming, through the ready queue,
   never directly. A callback that is due stays where it is, and the future itself is
   queued, once for each: of a future that is done, what stands there is due. Only debug
   mode, loops that schedule otherwise and LM_CONTEXT_LATER make handles. */
#ifndef LM_TASK_WAITERS_H
#define LM_TASK_WAITERS_H

#include "task/future.h"

/* In place of a context: a copy of the one that is current when the future is done, as
   asyncio takes `context=None`. */
#define LM_CONTEXT_LATER Py_Ellipsis

/* How many stand behind the first one. */
static inline uint32_t
lm_waiters_more(const LmFuture *f)
{
    return f->has_rare ? f->rare->more_end - f->rare->more_begin : 0;
}

/* Of one that was taken out of its place. */
static inline void
lm_waiter_release(LmWaiter *waiter)
{
    Py_DECREF(waiter->callable);
    Py_XDECREF(waiter->context);
}

int lm_waiters_init(LmState *st);

/* Adds a done callback; it is scheduled at once where the future is done. `context`
   NULL copies the current one, None does so when the future is done. -1 with an exception
   set. */
int lm_waiters_add(PyObject *future, PyObject *callback, PyObject *context);

/* Links a native task of the same native loop; the future is pending. */
int lm_waiters_add_task(PyObject *future, PyObject *task);

/* Removes every callback that equals the one given: how many, or -1 with an exception
   set. May run Python. */
Py_ssize_t lm_waiters_remove(PyObject *future, PyObject *callback);

/* The future is done: schedules all waiters. -1 with an exception set; what could be
   scheduled is. */
int lm_waiters_schedule(PyObject *future);

/* The future is about to begin anew: callbacks that are due get handles of their own, in
   their places. -1 with an exception set. */
int lm_waiters_detach(PyObject *future);

/* List of (callable, context) as asyncio shows it, or None. New reference. */
PyObject *lm_waiters_list(PyObject *future);

#endif
