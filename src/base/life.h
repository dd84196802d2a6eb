/* Who keeps the module's state alive: the module, each loop, and whatever else points to it
   and may outlive its loop, or have none of ours, from its allocation until it is freed.

   When an interpreter ends, the collector clears types, module and instances in any order,
   and the end of an instance still needs the state: so it goes with the last of them. Until
   then its objects are there, though the collector may have cleared them: what is asked of
   them at an instance's end may fail, or find them empty.

   A handle does not, nor a future that a loop of ours has made: they have that loop until
   they are freed. So what a program makes many of touches no count that is everybody's. */
#ifndef LM_BASE_LIFE_H
#define LM_BASE_LIFE_H

#include "base/state.h"

/* A state without objects, held once: by the module. NULL with MemoryError set. */
LmState *lm_state_new(void);

/* Visits what the state owns, for the module. */
int lm_state_traverse(LmState *st, visitproc visit, void *arg);

/* For lm_state_drop. */
void lm_state_free(LmState *st);

static inline LmState *
lm_state_hold(LmState *st)
{
    LM_ADD(st->shared->holders, 1);
    return st;
}

static inline void
lm_state_drop(LmState *st)
{
    if (LM_UNLIKELY(LM_ADD(st->shared->holders, -(size_t)1) == 0)) {
        lm_state_free(st);
    }
}

/* Deallocation of an instance of a heap type that holds the state and has finished with its
   own fields. */
static inline void
lm_state_free_instance(LmState *st, PyObject *self)
{
    lm_free_instance(self);
    lm_state_drop(st);
}

#endif
