/* What a loop keeps for reuse. It belongs to the loop, and so to the thread that runs it:
   loops in several threads share nothing of it.

   Relies on the rooms that take and give for the instances: each says in its dealloc how
   many it keeps. Spare instances hold nothing but their types. */
#ifndef LM_CORE_SPARES_H
#define LM_CORE_SPARES_H

#include "base/freelist.h"

typedef struct {
    LmFreelist handles, timer_handles, safe_handles;
    LmFreelist future_iters;
    LmFreelist futures, tasks;
    LmFreelist sock_ops;
    LmFreelist coros;
    PyObject *stop; /* a StopIteration that nobody else has (sync/coro.c), or NULL */
    PyObject *blank_context; /* an empty one that nobody has seen (core/context.h), or
                                NULL while it is in use */
} LmSpares;

/* Frees all that is kept: the loop is closed, and keeps nothing from then on. */
void lm_spares_close(LmSpares *spares);
int lm_spares_traverse(const LmSpares *spares, visitproc visit, void *arg);

#endif
