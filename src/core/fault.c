/* Reports to the loop's exception handler: see fault.h. Relies on loopmod._support for
   asyncio's texts. */
#include "core/fault.h"

#include "base/oserr.h"

#include <stdarg.h>

/* asyncio reports out of its except clauses: sys.exception() is what is told, and the context
   of what the handler raises. Gives back what it was, which is a new reference or NULL. A
   generator's frame, which may be ours in a nested run, shows that of the code around it
   and does not have it. */
static PyObject *
begin_handling(PyObject *exc)
{
    PyObject *outer = PyErr_GetHandledException();
    PyErr_SetHandledException(NULL);
    PyObject *around = PyErr_GetHandledException();
    if (around == outer) {
        Py_CLEAR(outer);
    }
    Py_XDECREF(around);
    PyErr_SetHandledException(exc);
    return outer;
}

static void
end_handling(PyObject *outer)
{
    PyErr_SetHandledException(outer);
    Py_XDECREF(outer);
}

int
lm_fault_in_callback(LmLoop *loop, PyObject *handle)
{
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *outer = begin_handling(exc);
    PyObject *done =
        lm_state_support(loop->st, "report_callback_fault", "OOO", loop, handle, exc);
    end_handling(outer);
    Py_DECREF(exc);
    if (done == NULL) {
        return -1;
    }
    Py_DECREF(done);
    return 0;
}

#define MOST_PAIRS 4

/* What is to be told, held from the first moment on: callers name what stands in fields. */
typedef struct {
    const char *keys[MOST_PAIRS];
    PyObject *values[MOST_PAIRS];
    int count;
} Pairs;

static void
hold_pairs(Pairs *pairs, va_list given)
{
    const char *key;
    pairs->count = 0;
    while ((key = va_arg(given, const char *)) != NULL) {
        PyObject *value = va_arg(given, PyObject *);
        if (value != NULL) {
            LM_ASSERT(pairs->count < MOST_PAIRS);
            pairs->keys[pairs->count] = key;
            pairs->values[pairs->count++] = Py_NewRef(value);
        }
    }
}

static int
add_pairs(PyObject *context, const Pairs *pairs)
{
    for (int i = 0; i < pairs->count; i++) {
        if (PyDict_SetItemString(context, pairs->keys[i], pairs->values[i]) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
fault_context(const char *message, PyObject *exc, const Pairs *pairs)
{
    PyObject *context = Py_BuildValue("{ss}", "message", message);
    if (context != NULL &&
        ((exc != NULL && PyDict_SetItemString(context, "exception", exc) < 0) ||
         add_pairs(context, pairs) < 0)) {
        Py_CLEAR(context);
    }
    return context;
}

static PyObject *
tell_handler(PyObject *loop, LmState *st, PyObject *context, PyObject *exc)
{
    PyObject *handler = st->str.call_exception_handler;
    if (exc == NULL) {
        return PyObject_CallMethodOneArg(loop, handler, context);
    }
    PyObject *outer = begin_handling(exc);
    PyObject *done = PyObject_CallMethodOneArg(loop, handler, context);
    end_handling(outer);
    return done;
}

int
lm_fault_report(PyObject *loop, LmState *st, const char *message, ...)
{
    if (PyErr_Occurred() && lm_exc_leaves_loop()) {
        return -1;
    }
    Pairs pairs;
    va_list given;
    va_start(given, message);
    hold_pairs(&pairs, given);
    va_end(given);
    Py_INCREF(loop);
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *context = fault_context(message, exc, &pairs);
    PyObject *done = context != NULL ? tell_handler(loop, st, context, exc) : NULL;
    Py_XDECREF(done);
    Py_XDECREF(context);
    Py_XDECREF(exc);
    Py_DECREF(loop);
    for (int i = 0; i < pairs.count; i++) {
        Py_DECREF(pairs.values[i]);
    }
    return done != NULL ? 0 : -1;
}

int
lm_fault_is_shortage(void)
{
    if (PyErr_ExceptionMatches(PyExc_MemoryError)) {
        return 1;
    }
    if (!PyErr_ExceptionMatches(PyExc_OSError)) {
        return 0;
    }
    PyObject *exc = lm_exc_hold();
    long err = lm_oserr_number(exc);
    lm_exc_restore(exc);
    return err == ENOMEM || err == ENOSPC || err == ENOBUFS || err == EMFILE ||
           err == ENFILE;
}

int
lm_fault_retry_later(LmLoop *loop, PyObject *callback)
{
    PyObject *delay = lm_state_import("asyncio.constants", "ACCEPT_RETRY_DELAY");
    PyObject *timer =
        delay != NULL
            ? PyObject_CallMethod((PyObject *)loop, "call_later", "OO", delay, callback)
            : NULL;
    Py_XDECREF(delay);
    Py_XDECREF(timer);
    return timer != NULL ? 0 : -1;
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
