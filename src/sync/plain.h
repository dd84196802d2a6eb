/* Whether C may do what asyncio's code would: the classes are as they were written, for what
   an operation calls, nothing in the instance hides one of their methods, and the loop that
   runs is ours, plain and not in debug mode. Where not, asyncio's own function does it.

   A class is judged when an operation first meets it, by loopmod/sync_methods.py, and again
   when it or one of its bases was changed: its version tells, of which no two classes have
   the same. What was found stands in LmShared.sync_verdicts: (version, bits) by version. */
#ifndef LM_SYNC_PLAIN_H
#define LM_SYNC_PLAIN_H

#include "core/owner.h"
#include "sync/fields.h"
#include "sync/op.h"

int lm_plain_init(LmState *st);

/* All types of the room are made. */
int lm_plain_note_types(LmState *st);

/* The bits of the class, judged anew; ~0 where it cannot be, -1 with an exception set. Runs
   Python. */
int64_t lm_plain_judge(LmState *st, PyTypeObject *type);

/* 1 where an attribute of the instance may hide a method. */
int lm_plain_has_own(PyObject *self);

LM_INLINE int64_t
lm_plain_bits(LmState *st, PyTypeObject *type)
{
    uint32_t version = LM_LOAD(type->tp_version_tag);
    uint64_t verdict = LM_LOAD(st->shared->sync_verdicts[version % LM_SYNC_VERDICTS]);
    if (LM_UNLIKELY((uint32_t)(verdict >> 32) != version || version == 0)) {
        return lm_plain_judge(st, type);
    }
    return (uint32_t)verdict;
}

/* 1 where nothing of `inner` is overridden in the class or hidden in the instance, and
   nothing of `inner` or `own` patched; 0 where it is, -1 with an exception set. */
LM_INLINE int
lm_plain_is(LmState *st, PyObject *self, uint32_t own, uint32_t inner)
{
    int64_t bits = lm_plain_bits(st, Py_TYPE(self));
    if (LM_UNLIKELY(bits < 0)) {
        return -1;
    }
    const LmSync *s = lm_sync(self);
    return !((uint32_t)bits & (inner | LM_SYNC_FIELDS)) &&
           !(LM_LOAD(st->shared->sync_patched) & (own | inner)) &&
           (LM_LIKELY(!LM_LOAD(s->may_hide)) || !lm_plain_has_own(self));
}

/* How a queue of the class keeps its items. The class was judged. */
static inline int
lm_plain_store(LmState *st, PyObject *self)
{
    int64_t bits = lm_plain_bits(st, Py_TYPE(self));
    return bits < 0 ? -1 : (int)((uint32_t)bits >> LM_SYNC_STORE_SHIFT) & 3;
}

/* The loop that runs, where it is such a one: a new reference. NULL where it is not, with an
   exception set perhaps. It may be one of ours that runs further out: enough to choose by. */
LmLoop *lm_plain_loop(LmState *st);

/* The loop that runs, where the object belongs to it or to none yet and so belongs to it from
   now on; else as above. */
LmLoop *lm_plain_bound_loop(LmState *st, PyObject *self);

#endif
