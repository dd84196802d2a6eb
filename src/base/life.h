/* Who keeps the module's state alive: the module, and each instance that points to it, from
   its allocation until it is freed.

   When an interpreter ends, the collector clears types, module and instances in any order,
   and the end of an instance still needs the state: so it goes with the last of them. Until
   then its objects are there, though the collector may have cleared them: what is asked of
   them at an instance's end may fail, or find them empty.

   Spare instances hold it too, so that taking one costs nothing. A handle does not: it has
   its loop until it is freed. */
#ifndef LM_BASE_LIFE_H
#define LM_BASE_LIFE_H

#include "base/state.h"

/* A state without objects, held once: by the module. NULL with MemoryError set. */
LmState *lm_state_new(void);

/* Visits what the state owns, for the module. */
int lm_state_traverse(LmState *st, visitproc visit, void *arg);

/* The module is gone: nothing is kept for reuse any more; drops its hold. */
void lm_state_leave(LmState *st);

/* For lm_state_drop. */
void lm_state_free(LmState *st);

static inline LmState *
lm_state_hold(LmState *st)
{
    st->holders++;
    return st;
}

static inline void
lm_state_drop(LmState *st)
{
    if (LM_UNLIKELY(--st->holders == 0)) {
        lm_state_free(st);
    }
}

/* What lm_freelist_alloc gives, as an instance that holds the state; the caller notes that
   in it. */
static inline PyObject *
lm_state_alloc(LmState *st, LmFreelist *list, PyTypeObject *type)
{
    int is_fresh = list->size == 0;
    PyObject *obj = lm_freelist_alloc(list, type);
    if (LM_UNLIKELY(is_fresh) && obj != NULL) {
        lm_state_hold(st);
    }
    return obj;
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
