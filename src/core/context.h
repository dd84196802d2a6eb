/* Entering the context that a callback runs in. Relies on the public contextvars API. */
#ifndef LM_CORE_CONTEXT_H
#define LM_CORE_CONTEXT_H

#include "core/loop.h"

/* Enters `context`, or a copy where it is entered already further out and the loop runs
   nested: what is there to be run has to run. Returns the context to exit and drop, a new
   reference; NULL with RuntimeError set. */
static inline PyObject *
lm_context_enter(LmLoop *loop, PyObject *context)
{
    if (LM_LIKELY(PyContext_Enter(context) == 0)) {
        return Py_NewRef(context);
    }
    if (loop->nesting == 0) {
        return NULL;
    }
    PyErr_Clear();
    context = PyContext_Copy(context);
    if (context != NULL && PyContext_Enter(context) < 0) {
        Py_CLEAR(context);
    }
    return context;
}

/* Exits and drops what lm_context_enter gave. `failed` or the failure to exit. */
static inline int
lm_context_exit(PyObject *context, int failed)
{
    if (PyContext_Exit(context) < 0) {
        failed = -1;
    }
    Py_DECREF(context);
    return failed;
}

#endif
