/* What gates have in common: a deque of waiters, and the way to wait among them. Relies on
   coro.h and plain.h. */
#ifndef LM_SYNC_WAITING_H
#define LM_SYNC_WAITING_H

#include "sync/coro.h"

/* Waits among the waiters at `place`, where None stands for none yet; the next step is 1.
   Where the loop that runs or what stands there is not for C, asyncio's coroutine goes on:
   nothing was changed so far. */
PySendResult lm_wait_among(LmCoro *coro, PyObject **place, PyObject **result);

/* After it: leaves the waiters again, whatever the await gave, `exc` or NULL. -1 with an
   exception set. */
int lm_gate_leave(LmCoro *coro, PyObject **place, PyObject *exc);

/* self.<name> = value, where `place` has it. -1 with an exception set. */
int lm_gate_put(LmCoro *coro, PyObject **place, const char *name, PyObject *value);

/* `async with`: the step of __aexit__, by the release() of the class. */
PySendResult lm_step_aexit(LmCoro *coro,
                           PyObject *(*release)(LmState *, PyObject *, PyObject *),
                           PyObject **result);

/* __init__ with at most one argument, of that name or NULL for none, as C may do it: 1 where
   so, with `*value` borrowed or NULL; 0, with asyncio's own called, or -1 with an exception set
   where that raised. `stock` is its class. */
int lm_init_is_plain(PyObject *self, PyObject *args, PyObject *kwargs, size_t stock,
                     const char *name, PyObject **value);

/* asyncio's own __init__: 0, or -1 with an exception set. */
int lm_init_by_stock(PyObject *self, PyObject *args, PyObject *kwargs, size_t stock);

/* The result of the operation: stolen. */
static inline PySendResult
lm_coro_return(PyObject *value, PyObject **result)
{
    *result = value;
    return value != NULL ? PYGEN_RETURN : PYGEN_ERROR;
}

/* Raises what the await raised. */
static inline PySendResult
lm_coro_raise(PyObject *exc)
{
    PyErr_SetRaisedException(Py_NewRef(exc));
    return PYGEN_ERROR;
}

#endif
