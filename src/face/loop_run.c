/* Methods of Loop that begin, end and close a run. Relies on core/run.h and
   os/signals.h. */
#include "face/loop_type.h"

#include "core/run.h"
#include "net/kept.h"
#include "net/readers.h"
#include "os/signals.h"

/* What the thread held before the run, to be put back after it. */
typedef struct {
    PyObject *asyncgen_hooks;
    int tracks_origins;
} Surroundings;

static int
check_not_running(LmLoop *loop)
{
    if (loop->thread_id != 0) {
        PyErr_SetString(PyExc_RuntimeError, "This event loop is already running");
        return -1;
    }
    PyObject *other = PyObject_CallNoArgs(loop->st->get_running_loop_or_none);
    if (other == NULL) {
        return -1;
    }
    Py_DECREF(other);
    if (other != Py_None) {
        PyErr_SetString(PyExc_RuntimeError,
                        "Cannot run the event loop while another loop is running");
        return -1;
    }
    return 0;
}

static int
install_asyncgen_hooks(LmLoop *loop)
{
    LmState *st = loop->st;
    PyObject *self = (PyObject *)loop;
    PyObject *hooks[2] = {PyObject_GetAttr(self, st->str._asyncgen_firstiter_hook),
                          NULL};
    PyObject *done = NULL;
    if (hooks[0] != NULL) {
        hooks[1] = PyObject_GetAttr(self, st->str._asyncgen_finalizer_hook);
    }
    if (hooks[1] != NULL) {
        done = PyObject_Vectorcall(st->set_asyncgen_hooks, hooks, 0, st->kw_hooks);
    }
    Py_XDECREF(hooks[0]);
    Py_XDECREF(hooks[1]);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static int
track_origins(LmLoop *loop, int enabled)
{
    PyObject *done =
        PyObject_CallMethod((PyObject *)loop, "_set_coroutine_origin_tracking", "O",
                            enabled ? Py_True : Py_False);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static int
set_running_loop(LmState *st, PyObject *loop)
{
    PyObject *done = PyObject_CallOneArg(st->set_running_loop, loop);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static int
begin(LmLoop *loop, Surroundings *before)
{
    if (loop->is_debug) {
        if (track_origins(loop, 1) < 0) {
            return -1;
        }
        before->tracks_origins = 1;
    }
    before->asyncgen_hooks = PyObject_CallNoArgs(loop->st->get_asyncgen_hooks);
    if (before->asyncgen_hooks == NULL || install_asyncgen_hooks(loop) < 0) {
        return -1;
    }
    return set_running_loop(loop->st, (PyObject *)loop);
}

/* Each part is put back whatever became of the others. */
static void
end(LmLoop *loop, Surroundings *before)
{
    LmState *st = loop->st;
    PyObject *exc = PyErr_GetRaisedException();
    if (set_running_loop(st, Py_None) < 0) {
        PyErr_WriteUnraisable((PyObject *)loop);
    }
    if ((before->tracks_origins || loop->is_debug) && track_origins(loop, 0) < 0) {
        PyErr_WriteUnraisable((PyObject *)loop);
    }
    if (before->asyncgen_hooks != NULL) {
        PyObject *done =
            PyObject_Call(st->set_asyncgen_hooks, before->asyncgen_hooks, NULL);
        if (done == NULL) {
            PyErr_WriteUnraisable((PyObject *)loop);
        }
        Py_XDECREF(done);
        Py_DECREF(before->asyncgen_hooks);
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
}

PyObject *
lm_loop_method_run_forever(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    Surroundings before = {NULL, 0};
    if (lm_loop_check_closed(loop) < 0 || check_not_running(loop) < 0 ||
        lm_loop_note_overrides(loop) < 0) {
        return NULL;
    }
    Py_INCREF(self);
    int failed = begin(loop, &before);
    if (failed == 0) {
        failed = lm_run_forever(loop);
    }
    end(loop, &before);
    Py_DECREF(self);
    if (failed < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
lm_loop_method_stop(PyObject *self, PyObject *unused LM_UNUSED)
{
    ((LmLoop *)self)->is_stopping = 1;
    Py_RETURN_NONE;
}

PyObject *
lm_loop_method_is_running(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyBool_FromLong(((LmLoop *)self)->thread_id != 0);
}

PyObject *
lm_loop_method_is_closed(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyBool_FromLong(((LmLoop *)self)->is_closed);
}

PyObject *
lm_loop_method_close_core(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    if (loop->thread_id != 0) {
        PyErr_SetString(PyExc_RuntimeError, "Cannot close a running event loop");
        return NULL;
    }
    lm_signals_close(loop);
    lm_kept_close(loop);
    lm_readers_close(loop);
    lm_loop_close(loop);
    Py_RETURN_NONE;
}

PyObject *
lm_loop_method_watch_signals(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (lm_signals_take((LmLoop *)self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyObject *
lm_loop_method_unwatch_signals(PyObject *self, PyObject *unused LM_UNUSED)
{
    lm_signals_give_back((LmLoop *)self);
    Py_RETURN_NONE;
}
