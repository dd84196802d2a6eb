/* Methods of Loop that schedule: call_soon and its like, create_task, create_future,
   and the clock. */
#include "face/loop_type.h"

#include "base/args.h"
#include "base/clock.h"
#include "core/debug.h"
#include "core/handle.h"
#include "core/patched.h"
#include "core/ready.h"
#include "core/timers.h"
#include "task/factory.h"
#include "task/future.h"
#include "task/task.h"

static const char *const soon_names[] = {"callback", NULL};
static const char *const later_names[] = {"delay", "callback", NULL};
static const char *const at_names[] = {"when", "callback", NULL};

/* What all of them check first. -1 with an exception set. */
static int
check_call(LmLoop *loop, const char *method, PyObject *const *args, Py_ssize_t nargs,
           PyObject *kwnames, const char *const *lead, LmCallArgs *call)
{
    return lm_args_call(loop->st, method, args, nargs, kwnames, lead, call) < 0
               ? -1
               : lm_loop_check_closed(loop);
}

PyObject *
lm_loop_method_call_soon(LM_VECTOR)
{
    LmLoop *loop = (LmLoop *)self;
    LmCallArgs call;
    if (check_call(loop, "call_soon", args, nargs, kwnames, soon_names, &call) < 0 ||
        (LM_UNLIKELY(LM_LOAD(loop->is_debug)) &&
         lm_debug_check_call(loop, call.args[0], "call_soon", 1) < 0)) {
        return NULL;
    }
    PyObject *handle = lm_handle_new_queued(loop, call.args[0], call.args + 1,
                                            call.nargs - 1, call.context);
    if (handle == NULL ||
        lm_ready_push_any(loop, lm_handle_run_item, Py_NewRef(handle)) < 0) {
        Py_XDECREF(handle);
        return NULL;
    }
    return handle;
}

PyObject *
lm_loop_method_call_soon_threadsafe(LM_VECTOR)
{
    LmLoop *loop = (LmLoop *)self;
    LmCallArgs call;
    if (check_call(loop, "call_soon_threadsafe", args, nargs, kwnames, soon_names,
                   &call) < 0 ||
        (LM_UNLIKELY(LM_LOAD(loop->is_debug)) &&
         lm_debug_check_call(loop, call.args[0], "call_soon_threadsafe", 0) < 0)) {
        return NULL;
    }
    PyObject *handle = lm_handle_new_threadsafe(loop, call.args[0], call.args + 1,
                                                call.nargs - 1, call.context);
    /* In debug mode other threads ran meanwhile, which may have closed it. */
    if (handle == NULL || lm_loop_check_closed(loop) < 0 ||
        lm_ready_push_threadsafe(loop, lm_handle_run_item, Py_NewRef(handle)) < 0) {
        Py_XDECREF(handle);
        return NULL;
    }
    return handle;
}

/* A scheduled timer of args[1](*args[2:]). */
static PyObject *
schedule_timer(LmLoop *loop, double due, PyObject *when, const LmCallArgs *call)
{
    PyObject *handle = lm_handle_new_timer(
        loop, due, when, call->args[1], call->args + 2, call->nargs - 2, call->context);
    if (handle == NULL || lm_timers_add_any(loop, lm_handle(handle)) < 0) {
        Py_XDECREF(handle);
        return NULL;
    }
    return handle;
}

/* The due moment of a delay. The sum is Python's own where the delay is no plain
   number: it may refuse it. */
static int
due_after(LmLoop *loop, PyObject *delay, double *due)
{
    double now;
    if (delay == Py_None) {
        PyErr_SetString(PyExc_TypeError, "delay must not be None");
        return -1;
    }
    if (lm_timers_now(loop, &now) < 0) {
        return -1;
    }
    if (LM_LIKELY(PyFloat_CheckExact(delay))) {
        *due = now + PyFloat_AS_DOUBLE(delay);
        return 0;
    }
    PyObject *start = PyFloat_FromDouble(now);
    PyObject *sum = start != NULL ? PyNumber_Add(start, delay) : NULL;
    Py_XDECREF(start);
    if (sum == NULL) {
        return -1;
    }
    *due = PyFloat_AsDouble(sum);
    Py_DECREF(sum);
    /* The number's own code may have closed the loop. */
    return *due == -1.0 && PyErr_Occurred() ? -1 : lm_loop_check_closed(loop);
}

/* call_at is overridden: call_later goes through it, as asyncio's does. */
static PyObject *
call_own_call_at(PyObject *self, double due, const LmCallArgs *call)
{
    LmState *st = ((LmLoop *)self)->st;
    PyObject *when = PyFloat_FromDouble(due);
    PyObject **stack = PyMem_Malloc((size_t)(call->nargs + 2) * sizeof(PyObject *));
    PyObject *handle = NULL;
    if (when != NULL && stack != NULL) {
        memcpy(stack + 1, call->args, (size_t)call->nargs * sizeof(PyObject *));
        stack[0] = self;
        stack[1] = when;
        stack[call->nargs + 1] = call->context != NULL ? call->context : Py_None;
        handle = PyObject_VectorcallMethod(
            st->str.call_at, stack,
            (size_t)(call->nargs + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, st->kw_context);
    }
    else if (stack == NULL) {
        PyErr_NoMemory();
    }
    PyMem_Free(stack);
    Py_XDECREF(when);
    return handle;
}

PyObject *
lm_loop_method_call_later(LM_VECTOR)
{
    LmLoop *loop = (LmLoop *)self;
    LmCallArgs call;
    double due;
    if (check_call(loop, "call_later", args, nargs, kwnames, later_names, &call) < 0 ||
        due_after(loop, call.args[0], &due) < 0 ||
        (LM_UNLIKELY(LM_LOAD(loop->is_debug)) &&
         lm_debug_check_call(loop, call.args[1], "call_at", 1) < 0)) {
        return NULL;
    }
    if (LM_UNLIKELY(!LM_LOAD(loop->is_plain))) {
        return call_own_call_at(self, due, &call);
    }
    return schedule_timer(loop, due, NULL, &call);
}

PyObject *
lm_loop_method_call_at(LM_VECTOR)
{
    LmLoop *loop = (LmLoop *)self;
    LmCallArgs call;
    if (check_call(loop, "call_at", args, nargs, kwnames, at_names, &call) < 0) {
        return NULL;
    }
    if (call.args[0] == Py_None) {
        PyErr_SetString(PyExc_TypeError, "when cannot be None");
        return NULL;
    }
    double due = PyFloat_AsDouble(call.args[0]);
    if ((due == -1.0 && PyErr_Occurred()) || lm_loop_check_closed(loop) < 0 ||
        (LM_UNLIKELY(LM_LOAD(loop->is_debug)) &&
         lm_debug_check_call(loop, call.args[1], "call_at", 1) < 0)) {
        return NULL;
    }
    return schedule_timer(loop, due, call.args[0], &call);
}

PyObject *
lm_loop_method_make_handle(LM_VECTOR)
{
    LmLoop *loop = (LmLoop *)self;
    LmCallArgs call;
    if (check_call(loop, "_make_handle", args, nargs, kwnames, soon_names, &call) < 0) {
        return NULL;
    }
    return lm_handle_new(loop, call.args[0], call.args + 1, call.nargs - 1,
                         call.context);
}

PyObject *
lm_loop_method_create_future(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_future_new((LmLoop *)self);
}

/* A factory's calling convention differs by version: loopmod/loop.py knows it. */
static PyObject *
create_by_factory(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames)
{
    PyObject *stack[8], *task;
    if (lm_factory_create((LmLoop *)self, args, nargs, kwnames, &task)) {
        return task;
    }
    Py_ssize_t count = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (lm_args_count("create_task", count, 0, 7) < 0) {
        return NULL;
    }
    stack[0] = self;
    memcpy(stack + 1, args, (size_t)count * sizeof(PyObject *));
    return PyObject_VectorcallMethod(
        ((LmLoop *)self)->st->str._create_task_by_factory, stack,
        (size_t)(nargs + 1) | PY_VECTORCALL_ARGUMENTS_OFFSET, kwnames);
}

/* By the interpreter that runs, not the one that compiled: a release of 3.13 changed
   the signature. */
static const char *const *
task_keywords(void)
{
    static const char *const all[] = {"coro", "name", "context", "eager_start", NULL};
    static const char *const first[] = {"coro", "name", "context", NULL};
    return Py_Version >= 0x030D0300 ? all : first;
}

PyObject *
lm_loop_method_create_task(LM_VECTOR)
{
    LmLoop *loop = (LmLoop *)self;
    const char *const *names = task_keywords();
    PyObject *values[] = {NULL, NULL, NULL, NULL};
    if (lm_loop_check_closed(loop) < 0) {
        return NULL;
    }
    if (loop->task_factory != NULL) {
        return create_by_factory(self, args, nargs, kwnames);
    }
    if (LM_LIKELY(nargs == 1)) {
        if (kwnames == NULL) {
            return lm_task_new(loop, args[0], NULL, NULL, 0);
        }
        /* asyncio.create_task before 3.14 */
        if (PyTuple_GET_SIZE(kwnames) == 1 &&
            PyTuple_GET_ITEM(kwnames, 0) == loop->st->str.name) {
            return lm_task_new(loop, args[0], args[1], NULL, 0);
        }
    }
    if (lm_args_parse("create_task", args, nargs, kwnames, 1, 1, names, values) < 0) {
        return NULL;
    }
    int eager = values[3] != NULL ? PyObject_IsTrue(values[3]) : 0;
    return eager < 0 ? NULL : lm_task_new(loop, values[0], values[1], values[2], eager);
}

PyObject *
lm_loop_method_time(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (LM_UNLIKELY(lm_patched_is_clock_new(((LmLoop *)self)->st))) {
        return PyObject_CallMethod(self, "_ask_clock", NULL);
    }
    return PyFloat_FromDouble(lm_clock_now());
}

PyObject *
lm_loop_method_get_debug(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyBool_FromLong(LM_LOAD(((LmLoop *)self)->is_debug));
}
