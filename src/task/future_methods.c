/* Methods and getters of both Future and Task: see future_methods.h. Each checks that
   __init__ has run. */
#include "task/future_methods.h"

#include "base/args.h"
#include "base/type_help.h"
#include "task/future.h"
#include "task/waiters.h"

#define CHECK_READY(f)                    \
    do {                                  \
        if (lm_future_check_ready(f) < 0) \
            return NULL;                  \
    } while (0)

/* Asking for an outcome has its own exception where __init__ has not run. */
static int
check_outcome(LmFuture *f)
{
    if (f->loop == NULL) {
        PyErr_SetString(f->st->InvalidStateError, "Future object is not initialized.");
        return -1;
    }
    return 0;
}

PyObject *
lm_future_method_result(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmFuture *f = lm_future(self);
    return check_outcome(f) < 0 ? NULL : lm_future_result(f);
}

PyObject *
lm_future_method_exception(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmFuture *f = lm_future(self);
    if (check_outcome(f) < 0) {
        return NULL;
    }
    if (f->state == LM_CANCELLED) {
        return lm_future_result(f);
    }
    if (f->state == LM_PENDING) {
        PyErr_SetString(f->st->InvalidStateError, "Exception is not set.");
        return NULL;
    }
    PyObject *value = *lm_future_value(f);
    if (!f->is_exception || value == NULL) {
        Py_RETURN_NONE;
    }
    LM_STORE(f->log_traceback, 0);
    return Py_NewRef(value);
}

PyObject *
lm_future_method_done(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmFuture *f = lm_future(self);
    return PyBool_FromLong(f->loop != NULL && LM_LOAD_ACQUIRE(f->state) != LM_PENDING);
}

PyObject *
lm_future_method_cancelled(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmFuture *f = lm_future(self);
    return PyBool_FromLong(f->loop != NULL &&
                           LM_LOAD_ACQUIRE(f->state) == LM_CANCELLED);
}

PyObject *
lm_future_method_get_loop(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmFuture *f = lm_future(self);
    CHECK_READY(f);
    return Py_NewRef(f->loop);
}

PyObject *
lm_future_method_add_done_callback(PyObject *self, PyObject *const *args,
                                   Py_ssize_t nargs, PyObject *kwnames)
{
    LmFuture *f = lm_future(self);
    PyObject *context = NULL;
    CHECK_READY(f);
    if (lm_args_context(f->st, "add_done_callback", args, nargs, kwnames, &context) <
            0 ||
        lm_args_count("add_done_callback", nargs, 1, 1) < 0) {
        return NULL;
    }
    if (context == NULL && kwnames != NULL && PyTuple_GET_SIZE(kwnames) > 0) {
        context = Py_None;
    }
    return lm_none_if(lm_waiters_add(self, args[0], context));
}

PyObject *
lm_future_method_remove_done_callback(PyObject *self, PyObject *callback)
{
    CHECK_READY(lm_future(self));
    Py_ssize_t removed = lm_waiters_remove(self, callback);
    return removed < 0 ? NULL : PyLong_FromSsize_t(removed);
}

PyObject *
lm_future_method_make_cancelled_error(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_future_make_cancelled_error(lm_future(self));
}

PyObject *
lm_future_parse_cancel(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (kwnames == NULL && nargs == 0) {
        return Py_None;
    }
    static const char *const names[] = {"msg", NULL};
    PyObject *message = Py_None;
    return lm_args_parse("cancel", args, nargs, kwnames, 1, 0, names, &message) < 0
               ? NULL
               : message;
}

PyObject *
lm_future_get_blocking(PyObject *self, void *closure LM_UNUSED)
{
    LmFuture *f = lm_future(self);
    return PyBool_FromLong(f->loop != NULL && LM_LOAD(f->is_blocking));
}

int
lm_future_set_blocking(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    LmFuture *f = lm_future(self);
    if (lm_future_check_ready(f) < 0 || lm_check_not_deleted(value) < 0) {
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth < 0) {
        return -1;
    }
    LM_STORE(f->is_blocking, (uint8_t)truth);
    return 0;
}

PyObject *
lm_future_get_loop(PyObject *self, void *closure LM_UNUSED)
{
    return lm_none_or(lm_future(self)->loop);
}

PyObject *
lm_future_get_state(PyObject *self, void *closure LM_UNUSED)
{
    static const char *const names[] = {"PENDING", "CANCELLED", "FINISHED"};
    LmFuture *f = lm_future(self);
    CHECK_READY(f);
    return PyUnicode_InternFromString(names[LM_LOAD_ACQUIRE(f->state)]);
}

PyObject *
lm_future_get_callbacks(PyObject *self, void *closure LM_UNUSED)
{
    CHECK_READY(lm_future(self));
    return lm_waiters_list(self);
}

PyObject *
lm_future_get_result(PyObject *self, void *closure LM_UNUSED)
{
    LmFuture *f = lm_future(self);
    CHECK_READY(f);
    return lm_none_or(f->state == LM_FINISHED && !f->is_exception ? *lm_future_value(f)
                                                                  : NULL);
}

PyObject *
lm_future_get_exception(PyObject *self, void *closure LM_UNUSED)
{
    LmFuture *f = lm_future(self);
    CHECK_READY(f);
    return lm_none_or(f->state == LM_FINISHED && f->is_exception ? *lm_future_value(f)
                                                                 : NULL);
}

PyObject *
lm_future_get_log_traceback(PyObject *self, void *closure LM_UNUSED)
{
    LmFuture *f = lm_future(self);
    CHECK_READY(f);
    return PyBool_FromLong(LM_LOAD(f->log_traceback));
}

int
lm_future_set_log_traceback(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    if (lm_check_not_deleted(value) < 0) {
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth > 0) {
        PyErr_SetString(PyExc_ValueError, "_log_traceback can only be set to False");
        return -1;
    }
    LM_STORE(lm_future(self)->log_traceback, 0);
    return truth;
}

PyObject *
lm_future_get_source_traceback(PyObject *self, void *closure LM_UNUSED)
{
    return lm_none_or(LM_RARE(lm_future(self), source_traceback));
}

PyObject *
lm_future_get_cancel_message(PyObject *self, void *closure LM_UNUSED)
{
    return lm_none_or(LM_RARE(lm_future(self), cancel_message));
}

int
lm_future_set_cancel_message(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    return lm_check_not_deleted(value) < 0
               ? -1
               : lm_future_note_cancel(lm_future(self), value);
}
