/* Calls, timers and the waiter of a connection: see later.h. */
#include "tls/later.h"

#include "base/held.h"
#include "task/future.h"

int
lm_tls_call_soon(LmLoop *loop, PyObject *callback, PyObject *arg)
{
    return lm_done(PyObject_CallMethodObjArgs((PyObject *)loop, loop->st->str.call_soon,
                                              callback, arg, NULL));
}

int
lm_tls_timer_start(LmTlsTimer *timer, LmLoop *loop, PyMethodDef *method, PyObject *self)
{
    if (timer->handle != NULL) {
        return 0;
    }
    PyObject *callback = PyCFunction_New(method, self);
    PyObject *handle = callback != NULL
                           ? PyObject_CallMethod((PyObject *)loop, "call_later", "OO",
                                                 timer->delay, callback)
                           : NULL;
    Py_XDECREF(callback);
    if (handle == NULL) {
        return -1;
    }
    Py_XSETREF(timer->handle, handle);
    return 0;
}

int
lm_tls_timer_cancel(LmTlsTimer *timer)
{
    PyObject *handle = timer->handle;
    if (handle == NULL) {
        return 0;
    }
    timer->handle = NULL;
    int failed = lm_done(PyObject_CallMethod(handle, "cancel", NULL));
    Py_DECREF(handle);
    return failed;
}

int
lm_tls_wake(PyObject **waiter, PyObject *exc)
{
    PyObject *future = *waiter;
    if (future == NULL) {
        return 0;
    }
    *waiter = NULL;
    int failed = lm_future_wake(future, exc);
    Py_DECREF(future);
    return failed;
}
