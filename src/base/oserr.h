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

/* 1 for the two exceptions that leave the loop at once. */
static inline int
lm_exc_leaves_loop(void)
{
    return PyErr_ExceptionMatches(PyExc_SystemExit) ||
           PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
}

#endif
