/* The states of a future: see future.h; its Python type stands in future_type.c. Relies on
   waiters.h for who is told. */
#include "task/future.h"

#include "base/held.h"
#include "base/type_help.h"
#include "core/debug.h"
#include "core/fault.h"
#include "core/owner.h"
#include "task/waiters.h"

int
lm_future_check_ready(LmFuture *f)
{
    if (LM_UNLIKELY(f->loop == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "Future object is not initialized.");
        return -1;
    }
    return 0;
}

static PyObject *
loop_or_default(LmState *st, PyObject *loop)
{
    if (loop != NULL && loop != Py_None) {
        return Py_NewRef(loop);
    }
    return PyObject_CallNoArgs(st->get_event_loop);
}

static int
foreign_loop_is_debug(LmState *st, PyObject *loop)
{
    PyObject *debug = PyObject_CallMethodNoArgs(loop, st->str.get_debug);
    int truth = debug != NULL ? PyObject_IsTrue(debug) : -1;
    Py_XDECREF(debug);
    return truth;
}

/* Steals the loop. */
static int
bind_to_loop(LmFuture *f, PyObject *loop)
{
    LmLoop *native = lm_loop_native(f->st, loop);
    int is_debug =
        native != NULL ? LM_LOAD(native->is_debug) : foreign_loop_is_debug(f->st, loop);
    if (is_debug < 0) {
        Py_DECREF(loop);
        return -1;
    }
    PyObject *old = f->loop;
    f->loop = loop;
    f->is_native = native != NULL; /* before the old one's end, which may look */
    Py_XDECREF(old);
    if (LM_UNLIKELY(is_debug)) {
        PyObject *traceback = lm_debug_source_traceback(f->st, 1);
        if (traceback == NULL || lm_future_rare(f) == NULL) {
            Py_XDECREF(traceback);
            return -1;
        }
        Py_XSETREF(f->rare->source_traceback, traceback);
    }
    return 0;
}

void
lm_future_hold_state(LmFuture *f, LmState *st)
{
    f->st = lm_state_hold(st);
    f->holds_state = 1;
}

#if PY_VERSION_HEX < 0x030F0000
static int
empty_future(PyObject *self)
{
    LmFuture *f = lm_future(self);
    if (lm_waiters_detach(self) < 0) {
        return -1;
    }
    /* First: the end of what is let go of may look at the future. */
    LM_BEGIN_SECTION(self)
    LM_STORE(f->state, LM_PENDING);
    f->is_exception = 0;
    LM_END_SECTION
    LM_STORE(f->is_blocking, 0);
    LM_STORE(f->log_traceback, 0);
    lm_future_clear_fields(f);
    return 0;
}

static int
begin_anew(PyObject *self)
{
    LmLoop *loop = (LmLoop *)Py_XNewRef(lm_future_owner(self));
    int is_taken = loop != NULL ? lm_owner_begin(loop) : 0;
    int failed = is_taken < 0 ? -1 : empty_future(self);
    if (is_taken > 0) {
        lm_owner_end(loop);
    }
    Py_XDECREF(loop);
    return failed;
}
#endif

int
lm_future_setup(PyObject *self, PyObject *loop)
{
    LmFuture *f = lm_future(self);
    if (!f->holds_state) {
        lm_future_hold_state(f, f->st); /* the loop may become another */
    }
    if (f->loop != NULL) {
#if PY_VERSION_HEX >= 0x030F0000
        PyErr_Format(PyExc_RuntimeError, "%T object is already initialized", self);
        return -1;
#else
        if (begin_anew(self) < 0) {
            return -1;
        }
#endif
    }
    loop = loop_or_default(f->st, loop);
    return loop != NULL ? bind_to_loop(f, loop) : -1;
}

PyObject *
lm_future_new(LmLoop *loop)
{
    PyTypeObject *type = lm_type(loop->st->FutureType);
    PyObject *self = lm_freelist_alloc(LM_SPARE(loop, futures), type);
    if (self == NULL) {
        return NULL;
    }
    LmFuture *f = lm_future(self);
    f->st = loop->st;
    PyObject_GC_Track(self);
    if (LM_LIKELY(LM_LOAD(loop->is_plain) && !LM_LOAD(loop->is_debug))) {
        f->loop = Py_NewRef(loop);
        f->is_native = 1;
        return self;
    }
    if (bind_to_loop(f, Py_NewRef(loop)) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

static int
check_pending(LmFuture *f)
{
    if (lm_future_check_ready(f) < 0) {
        return -1;
    }
    if (f->state != LM_PENDING) {
        PyErr_SetString(f->st->InvalidStateError, "invalid state");
        return -1;
    }
    return 0;
}

int
lm_future_set_result(PyObject *self, PyObject *result)
{
    LmFuture *f = lm_future(self);
    if (LM_UNLIKELY(check_pending(f) < 0)) {
        return -1;
    }
    *lm_future_value(f) = Py_NewRef(result);
    LM_STORE_RELEASE(f->state, LM_FINISHED);
    return lm_waiters_schedule(self);
}

/* StopIteration would end the coroutine that awaits; each version has its own way to
   refuse it. */
static PyObject *
refuse_stop_iteration(PyObject *exc)
{
    const char *message = "StopIteration interacts badly with generators and cannot be "
                          "raised into a Future";
#if PY_VERSION_HEX < 0x030D0000
    Py_DECREF(exc);
    PyErr_SetString(PyExc_TypeError, message);
    return NULL;
#else
    PyObject *error = PyObject_CallFunction(PyExc_RuntimeError, "s", message);
    if (error == NULL) {
        Py_DECREF(exc);
        return NULL;
    }
    PyException_SetCause(error, Py_NewRef(exc));
    PyException_SetContext(error, exc);
    return error;
#endif
}

/* The exception object to store, from a class or an instance. New reference. */
static PyObject *
exception_instance(LmFuture *f, PyObject *exc)
{
    if (PyExceptionClass_Check(exc)) {
        exc = PyObject_CallNoArgs(exc);
        if (exc == NULL) {
            return NULL;
        }
        if (f->state != LM_PENDING) {
            Py_DECREF(exc);
            PyErr_SetString(f->st->InvalidStateError, "invalid state");
            return NULL;
        }
    }
    else {
        Py_INCREF(exc);
    }
    if (!PyExceptionInstance_Check(exc)) {
        Py_DECREF(exc);
        PyErr_SetString(PyExc_TypeError, "invalid exception object");
        return NULL;
    }
    if (PyErr_GivenExceptionMatches(exc, PyExc_StopIteration)) {
        return refuse_stop_iteration(exc);
    }
    return exc;
}

int
lm_future_set_exception(PyObject *self, PyObject *exc)
{
    LmFuture *f = lm_future(self);
    if (check_pending(f) < 0 || (exc = exception_instance(f, exc)) == NULL) {
        return -1;
    }
    PyObject *tb = PyException_GetTraceback(exc);
    if (tb != NULL) {
        if (lm_future_rare(f) == NULL) {
            Py_DECREF(tb);
            Py_DECREF(exc);
            return -1;
        }
        f->rare->value_tb = tb;
    }
    *lm_future_value(f) = exc;
    f->is_exception = 1;
    if (LM_FREE_THREADED) {
        LM_STORE(f->log_traceback, 1); /* before another thread can look at it */
    }
    LM_STORE_RELEASE(f->state, LM_FINISHED);
    int failed = lm_waiters_schedule(self);
    if (!LM_FREE_THREADED) {
        LM_STORE(f->log_traceback, 1);
    }
    return failed;
}

int
lm_future_note_cancel(LmFuture *f, PyObject *message)
{
    if (message == Py_None) {
        message = NULL;
    }
    if (message != NULL && lm_future_rare(f) == NULL) {
        return -1;
    }
    if (f->has_rare) {
        Py_XSETREF(f->rare->cancel_message, Py_XNewRef(message));
    }
    return 0;
}

int
lm_future_cancel(PyObject *self, PyObject *message)
{
    LmFuture *f = lm_future(self);
    LM_STORE(f->log_traceback, 0);
    if (f->state != LM_PENDING) {
        return 0;
    }
    if (message != NULL && message != Py_None && lm_future_rare(f) == NULL) {
        return -1;
    }
    /* Before the end of an older message, which may look. */
    LM_STORE_RELEASE(f->state, LM_CANCELLED);
    if (lm_future_note_cancel(f, message) < 0) {
        return -1;
    }
    if (f->state == LM_PENDING) {
        return 1; /* begun anew at that message's end */
    }
    return lm_waiters_schedule(self) < 0 ? -1 : 1;
}

int
lm_future_is_done(PyObject *future)
{
    PyObject *done = PyObject_CallMethod(future, "done", NULL);
    int truth = done != NULL ? PyObject_IsTrue(done) : -1;
    Py_XDECREF(done);
    return truth;
}

PyObject *
lm_future_make_cancelled_error(LmFuture *f)
{
    PyObject **value = lm_future_value(f);
    if (f->state != LM_FINISHED && *value != NULL) {
        PyObject *exc = *value;
        *value = NULL;
        return exc;
    }
    PyObject *message = Py_XNewRef(LM_RARE(f, cancel_message));
    PyObject *exc = message == NULL
                        ? PyObject_CallNoArgs(f->st->CancelledError)
                        : PyObject_CallOneArg(f->st->CancelledError, message);
    Py_XDECREF(message);
    return exc;
}

PyObject *
lm_future_take_exception(LmFuture *f)
{
    PyObject *exc;
    if (f->state == LM_CANCELLED) {
        exc = lm_future_make_cancelled_error(f);
        return exc != NULL ? exc : PyErr_GetRaisedException();
    }
    LM_STORE(f->log_traceback, 0);
    PyObject *value = *lm_future_value(f);
    if (!f->is_exception || value == NULL) {
        return NULL;
    }
    /* Raising appends to the traceback: each raise begins from the one the exception
       came with. */
    PyObject *tb = LM_RARE(f, value_tb);
    if (tb != NULL) {
        f->rare->value_tb = NULL;
    }
    exc = Py_NewRef(value);
    /* The end of the old traceback's frames may be the future's. */
    PyException_SetTraceback(exc, tb != NULL ? tb : Py_None);
    Py_XDECREF(tb);
    return exc;
}

static PyObject *
own_result(LmFuture *f)
{
    if (f->state == LM_PENDING) {
        PyErr_SetString(f->st->InvalidStateError, "Result is not set.");
        return NULL;
    }
    PyObject *exc = lm_future_take_exception(f);
    if (exc == NULL) {
        /* The collector has taken the value of a future that something still asks. */
        return lm_none_or(*lm_future_value(f));
    }
    PyErr_SetObject((PyObject *)Py_TYPE(exc), exc);
    Py_DECREF(exc);
    return NULL;
}

#if LM_FREE_THREADED

/* Of a future that is done: a new reference, or NULL. Whoever begins it anew waits. */
static PyObject *
value_elsewhere(LmFuture *f, int *is_exception)
{
    PyObject *value;
    Py_BEGIN_CRITICAL_SECTION(lm_future_object(f));
    value = LM_LOAD_ACQUIRE(f->state) != LM_PENDING ? Py_XNewRef(*lm_future_value(f))
                                                    : NULL;
    *is_exception = value != NULL && f->is_exception;
    Py_END_CRITICAL_SECTION();
    return value;
}

/* To a thread that finds the loop another's: what does not change any more. */
static PyObject *
result_elsewhere(LmFuture *f)
{
    int state = LM_LOAD_ACQUIRE(f->state);
    if (state == LM_PENDING) {
        PyErr_SetString(f->st->InvalidStateError, "Result is not set.");
        return NULL;
    }
    if (state == LM_CANCELLED) {
        PyErr_SetNone(f->st->CancelledError);
        return NULL;
    }
    int is_exception;
    PyObject *value = value_elsewhere(f, &is_exception);
    if (!is_exception) {
        return value != NULL ? value : Py_NewRef(Py_None);
    }
    LM_STORE(f->log_traceback, 0);
    PyErr_SetObject((PyObject *)Py_TYPE(value), value);
    Py_DECREF(value);
    return NULL;
}

PyObject *
lm_future_result(LmFuture *f)
{
    LmOwner owner;
    PyObject *self = lm_future_object(f);
    if (lm_owner_enter(&owner, lm_future_owner(self), self) < 0) {
        PyErr_Clear();
        return result_elsewhere(f);
    }
    PyObject *result = own_result(f);
    lm_owner_leave(&owner);
    return result;
}

#else

PyObject *
lm_future_result(LmFuture *f)
{
    return own_result(f);
}

#endif

void
lm_future_report_unread(PyObject *self)
{
    LmFuture *f = lm_future(self);
    if (!LM_LOAD(f->log_traceback) || f->loop == NULL || *lm_future_value(f) == NULL) {
        return;
    }
    LM_STORE(f->log_traceback, 0);
    PyObject *message = PyUnicode_FromFormat("%s exception was never retrieved",
                                             lm_type_name(Py_TYPE(self)));
    const char *text = message != NULL ? PyUnicode_AsUTF8(message) : NULL;
    if (text == NULL ||
        lm_fault_report(f->loop, f->st, text, "exception", *lm_future_value(f),
                        "future", self, "source_traceback",
                        LM_RARE(f, source_traceback), NULL) < 0) {
        PyErr_WriteUnraisable(self);
    }
    Py_XDECREF(message);
}

int
lm_future_wake(PyObject *waiter, PyObject *exc)
{
    PyObject *cancelled = PyObject_CallMethod(waiter, "cancelled", NULL);
    int is_cancelled = cancelled != NULL ? PyObject_IsTrue(cancelled) : -1;
    Py_XDECREF(cancelled);
    if (is_cancelled != 0) {
        return is_cancelled < 0 ? -1 : 0;
    }
    int is_fault = exc != NULL && exc != Py_None;
    return lm_done(PyObject_CallMethod(waiter,
                                       is_fault ? "set_exception" : "set_result", "O",
                                       is_fault ? exc : Py_None));
}
