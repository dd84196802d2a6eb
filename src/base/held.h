/* Hold before you call out: calls on what only a field, or a caller's container, holds.

   What a call runs may set that field, empty that container or end what both belong to. So
   the object is held over the call. Whoever calls has to hold itself, and to look anew at
   every field that it reads afterwards (src/README.md). Relies on lm.h; runs Python. */
#ifndef LM_BASE_HELD_H
#define LM_BASE_HELD_H

#include "base/lm.h"

/* obj.name, a new reference; NULL with an exception set. */
static inline PyObject *
lm_held_attr(PyObject *obj, PyObject *name)
{
    Py_INCREF(obj);
    PyObject *value = PyObject_GetAttr(obj, name);
    Py_DECREF(obj);
    return value;
}

/* What a call returned of which only the success matters. 0, or -1 where it is NULL. Steals
   the reference. */
static inline int
lm_done(PyObject *result)
{
    int failed = result != NULL ? 0 : -1;
    Py_XDECREF(result);
    return failed;
}

/* obj.name(), and obj.name(arg). New reference; NULL with an exception set. */
static inline PyObject *
lm_held_call(PyObject *obj, PyObject *name)
{
    Py_INCREF(obj);
    PyObject *result = PyObject_CallMethodNoArgs(obj, name);
    Py_DECREF(obj);
    return result;
}

static inline PyObject *
lm_held_call_one(PyObject *obj, PyObject *name, PyObject *arg)
{
    Py_INCREF(obj);
    Py_INCREF(arg);
    PyObject *result = PyObject_CallMethodOneArg(obj, name, arg);
    Py_DECREF(arg);
    Py_DECREF(obj);
    return result;
}

#endif
