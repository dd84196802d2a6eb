/* Reports to the loop's exception handler: see fault.h. Relies on loopmod._support for
   asyncio's texts. */
#include "core/fault.h"

#include "base/oserr.h"

#include <stdarg.h>

int
lm_fault_in_callback(LmLoop *loop, PyObject *handle)
{
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *done =
        lm_state_support(loop->st, "report_callback_fault", "OOO", loop, handle, exc);
    Py_DECREF(exc);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    return 0;
}

static int
add_pairs(PyObject *context, va_list pairs)
{
    const char *key;
    while ((key = va_arg(pairs, const char *)) != NULL) {
        PyObject *value = va_arg(pairs, PyObject *);
        if (value != NULL && PyDict_SetItemString(context, key, value) < 0) {
            return -1;
        }
    }
    return 0;
}

int
lm_fault_report(PyObject *loop, LmState *st, const char *message, ...)
{
    if (PyErr_Occurred() && lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *context = Py_BuildValue("{ss}", "message", message);
    PyObject *done = NULL;
    va_list pairs;
    va_start(pairs, message);
    if (context != NULL &&
        (exc == NULL || PyDict_SetItemString(context, "exception", exc) == 0) &&
        add_pairs(context, pairs) == 0) {
        done = PyObject_CallMethodOneArg(loop, st->str.call_exception_handler, context);
    }
    va_end(pairs);
    Py_XDECREF(context);
    Py_XDECREF(exc);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* At the interpreter's end asyncio's modules may be gone: then from where we are. */
static int
warn_unclosed(LmState *st, PyObject *transport)
{
    PyObject *done = lm_state_support(st, "warn_unclosed", "O", transport);
    Py_XDECREF(done);
    if (done != NULL) {
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_Warning)) {
        return -1;
    }
    PyErr_Clear();
    return PyErr_ResourceWarning(transport, 1, "unclosed transport %R", transport);
}

void
lm_fault_unclosed(LmState *st, PyObject *transport)
{
    if (warn_unclosed(st, transport) < 0) {
        PyErr_WriteUnraisable(transport);
    }
}

void
lm_fault_unraisable(PyObject *where)
{
    PyErr_WriteUnraisable(where);
}
