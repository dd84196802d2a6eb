/* What a method of the room's types is: a table for each, which the coroutine object and the
   method descriptor work by. Relies on base/state.h. */
#ifndef LM_SYNC_OP_H
#define LM_SYNC_OP_H

#include "base/state.h"

struct LmCoro;

/* Methods of asyncio's classes that another one of them calls: each has a bit, by which it
   is told what a subclass overrides and what was patched. LM_SYNC_FIELDS stands for the
   attributes that the types have in C. loopmod/sync_methods.py is given the names. */
#define LM_SYNC_NAMES(X) \
    X(__init__)          \
    X(__aenter__)        \
    X(__aexit__)         \
    X(_get_loop)         \
    X(is_set)            \
    X(set)               \
    X(clear)             \
    X(wait)              \
    X(locked)            \
    X(acquire)           \
    X(release)           \
    X(_wake_up_first)    \
    X(_wake_up_next)     \
    X(qsize)             \
    X(empty)             \
    X(full)              \
    X(put)               \
    X(get)               \
    X(put_nowait)        \
    X(get_nowait)        \
    X(task_done)         \
    X(_init)             \
    X(_put)              \
    X(_get)              \
    X(_wakeup_next)

enum {
#define LM_SYNC_INDEX(name) LM_INDEX_##name,
    LM_SYNC_NAMES(LM_SYNC_INDEX)
#undef LM_SYNC_INDEX
        LM_SYNC_NAME_COUNT
};

#define LM_BIT(name) (1u << LM_INDEX_##name)
#define LM_SYNC_FIELDS (1u << LM_SYNC_NAME_COUNT)
/* How a queue keeps its items, among the bits of a class: by _init, _put and _get of ... */
#define LM_SYNC_STORE_SHIFT (LM_SYNC_NAME_COUNT + 1)
enum { LM_STORE_FIFO, LM_STORE_HEAP, LM_STORE_LIFO, LM_STORE_OWN };

#define LM_MOST_ARGS 3

typedef struct {
    const char *name;
    const char *qualname; /* of asyncio's function, by which a coroutine is shown */
    const char *doc;      /* LM_DOC */
    size_t stock;         /* where the state has asyncio's class, whose method it is */
    uint32_t own;         /* its bit, or 0 */
    uint32_t inner;       /* the bits of what it calls */
    int args;             /* that it takes besides self, all positional */
    /* One of these. `step` goes on to where the operation waits or ends: `exc` (borrowed) is
       what the await raises, NULL where it gave its result or none was made yet.
       `call` is the whole: NULL without an exception where asyncio's function has to do it,
       and then nothing was done. Both find all as asyncio's, the object locked without a
       GIL. */
    PySendResult (*step)(struct LmCoro *coro, PyObject *exc, PyObject **result);
    PyObject *(*call)(LmState *st, PyObject *self, PyObject *arg);
} LmOp;

static inline PyObject *
lm_op_stock(const LmState *st, const LmOp *op)
{
    return *(PyObject *const *)((const char *)st + op->stock);
}

/* asyncio's own method as it is now: a new reference, or NULL with an exception set. */
static inline PyObject *
lm_op_function(const LmState *st, const LmOp *op)
{
    return PyObject_GetAttrString(lm_op_stock(st, op), op->name);
}

#endif
