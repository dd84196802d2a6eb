/* errno to OSError, and keeping an exception aside while Python code runs. Relies on
   lm.h. */
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

/* Puts back what PyErr_GetRaisedException gave, maybe NULL. What was raised meanwhile stays,
   and gets it as its context. Steals the reference. */
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

/* 1 for the two exceptions that leave the loop at once. */
static inline int
lm_exc_leaves_loop(void)
{
    return PyErr_ExceptionMatches(PyExc_SystemExit) ||
           PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

#endif
