/* What is raised: errno as OSError, and an exception that is set, held while something else
   is done. Relies on lm.h. */
#ifndef LM_BASE_OSERR_H
#define LM_BASE_OSERR_H

#include "base/lm.h"

#include <errno.h>

/* Sets OSError (its subclass by errno) from the errno value given. Returns NULL. */
static inline PyObject *
lm_oserr_set(int err)
{
    errno = err;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* The number that an exception has as its errno, 0 where it has none. No exception is set,
   before or after. */
static inline long
lm_oserr_number(PyObject *exc)
{
    PyObject *number = PyObject_GetAttrString(exc, "errno");
    long err = number != NULL && PyLong_Check(number) ? PyLong_AsLong(number) : 0;
    Py_XDECREF(number);
    PyErr_Clear();
    return err;
}

/* Holds the exception that is set, NULL for none, while something is done that must not
   find it, or may raise. Then one of the following two puts it back. */
static inline PyObject *
lm_exc_hold(void)
{
    return PyErr_GetRaisedException();
}

/* The one that was held wins: what was raised meanwhile is gone. Where none was, that stays.
   Steals the reference. */
static inline void
lm_exc_restore(PyObject *exc)
{
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
}

/* The later one wins, with the one that was held as its context. Steals the reference. */
static inline void
lm_exc_put_back(PyObject *exc)
{
    if (exc == NULL) {
        return;
    }
    PyObject *later = PyErr_GetRaisedException();
    if (later == NULL || later == exc) {
        Py_XDECREF(later);
        later = exc;
    }
    else {
        PyException_SetContext(later, exc);
    }
    PyErr_SetRaisedException(later);
}

/* Of several things that are done in any case: `*first`, NULL at first, becomes what the
   first of them raised that failed; for lm_exc_restore. */
static inline void
lm_exc_keep_first(PyObject **first, int failed)
{
    if (failed < 0 && *first == NULL) {
        *first = PyErr_GetRaisedException();
    }
    else if (failed < 0) {
        PyErr_Clear();
    }
}

/* 1 for the two exceptions that leave the loop at once. */
static inline int
lm_exc_leaves_loop(void)
{
    return PyErr_ExceptionMatches(PyExc_SystemExit) ||
           PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

/* 1 for those and MemoryError: they say nothing of the object that was asked, and so may
   not be taken for its answer. */
static inline int
lm_exc_is_no_answer(void)
{
    return lm_exc_leaves_loop() || PyErr_ExceptionMatches(PyExc_MemoryError);
}

#endif
