/* The contexts that callbacks run in. Relies on the public contextvars API.

   In many programs nearly all of them are empty copies of an empty context, which nobody
   looks at. None stands for such a one where a context is kept; one to enter is filled in
   when it is needed, and used again if it is still empty and unseen afterwards. A million
   timers then keep no million contexts, and the collector has none to look at. */
#ifndef LM_CORE_CONTEXT_H
#define LM_CORE_CONTEXT_H

#include "core/owner.h"

/* What a copy of the current context would be kept as. New reference, or NULL with an
   exception set. */
static inline PyObject *
lm_context_snapshot(void)
{
    PyObject *context = PyContext_CopyCurrent();
    if (context != NULL && PyMapping_Length(context) == 0) {
        Py_DECREF(context);
        return Py_NewRef(Py_None);
    }
    return context;
}

/* Behind so few others an item of the ready queue runs soon. Its context is a copy of its
   own at first: it costs less than to find out that it is empty and to put another one in
   its place. */
#define LM_SHORT_QUEUE 64

static inline PyObject *
lm_context_of_queued(const LmLoop *loop)
{
    int is_soon =
        lm_owner_is_home(loop) && lm_ring_length(&loop->ready) < LM_SHORT_QUEUE;
    return is_soon ? PyContext_CopyCurrent() : lm_context_snapshot();
}

/* Puts a context where None stands for one. -1 with an exception set. */
static inline int
lm_context_fill(LmLoop *loop, PyObject **place)
{
    PyObject *context = loop->spares.blank_context;
    loop->spares.blank_context = NULL;
    if (context == NULL && (context = PyContext_New()) == NULL) {
        return -1;
    }
    Py_XSETREF(*place, context); /* None: runs nothing */
    return 0;
}

/* Takes out what was filled in, unless it has to stay: variables were set, or somebody
   else holds it. Not for one that was shown: who keyed anything by it would meet it again
   elsewhere. Not where an exception is set. */
static inline void
lm_context_empty(LmLoop *loop, PyObject **place)
{
    PyObject *context = *place;
    if (context != NULL && lm_is_ours_alone(context) && PyContext_CheckExact(context) &&
        PyMapping_Length(context) == 0) {
        *place = Py_NewRef(Py_None);
        Py_XSETREF(loop->spares.blank_context, context);
    }
}

/* The context kept at the place, to be shown or handed on: a new reference, or NULL with
   an exception set. */
static inline PyObject *
lm_context_show(PyObject **place)
{
    if (*place == Py_None) {
        PyObject *context = PyContext_New();
        if (context == NULL) {
            return NULL;
        }
        Py_SETREF(*place, context);
    }
    return Py_NewRef(*place);
}

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
    Py_INCREF(context);
    lm_loop_leave_task(loop); /* making one may run the collector */
    PyObject *copy = PyContext_Copy(context);
    Py_DECREF(context);
    if (copy != NULL && PyContext_Enter(copy) < 0) {
        Py_CLEAR(copy);
    }
    return copy;
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
