/* The coroutine object behind every method of the room that is one: what `async def` would
   have made, without a frame.

       CREATED --first send--> RUNNING <--> SUSPENDED
                                 |             |
                                 +--- end, throw, close ---> CLOSED

   Nothing runs before the first send. RUNNING belongs to one thread: others are refused, as
   is who sends from within. `loop` is the one that ran when it was made, and keeps it for
   reuse; what loop it waits on is asked anew when it waits. */
#ifndef LM_SYNC_CORO_H
#define LM_SYNC_CORO_H

#include "core/owner.h"
#include "sync/op.h"

enum { LM_CORO_CREATED, LM_CORO_SUSPENDED, LM_CORO_RUNNING, LM_CORO_CLOSED };

typedef struct LmCoro {
    PyObject_HEAD
    LmLoop *loop; /* until it is freed */
    const LmOp *op;
    PyObject *self; /* NULL once it is closed */
    PyObject
        *arg; /* what it was called with; of several a tuple, NULL if all are None */
    PyObject
        *awaited; /* the future that it waits for, of ours; or asyncio's coroutine */
    PyObject *weakrefs;
    uint8_t state;
    uint8_t stage;     /* the operation's: 0 before its first step */
    uint8_t delegates; /* asyncio's coroutine does it, and is `awaited` */
    uint8_t was_finalized;
    uint8_t has_spare; /* the loop's spare StopIteration may hold its value */
} LmCoro;

int lm_coro_init(PyObject *module, LmState *st);

/* Steals the reference to the loop. New reference, or NULL with an exception set. */
PyObject *lm_coro_new(LmLoop *loop, const LmOp *op, PyObject *self, PyObject *arg);

/* For steps. Waits for a future of ours, which is stolen; the next step is `stage`. */
PySendResult lm_coro_wait(LmCoro *coro, PyObject *future, uint8_t stage,
                          PyObject **result);

/* asyncio's coroutine goes on from here: the operation begins anew in it. */
PySendResult lm_coro_delegate(LmCoro *coro, PyObject **result);

/* Parts of the type (coro_type.c). */
PySendResult lm_coro_send(PyObject *self, PyObject *value, PyObject **result);
PyObject *lm_coro_next(PyObject *self);
PyObject *lm_coro_method_send(PyObject *self, PyObject *value);
PyObject *lm_coro_method_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs);
PyObject *lm_coro_method_close(PyObject *self, PyObject *unused);

/* It is not to be used any more. */
void lm_coro_empty(LmCoro *coro);

/* -1 with an exception set. */
int lm_coro_close(LmCoro *coro);

#endif
