/* What a task waits for: see yielded.h. Relies on waiters.h for futures of ours and on
   add_done_callback for all others. */
#include "task/yielded.h"

#include "base/type_help.h"
#include "task/mirror.h"
#include "task/waiters.h"

/* The next step will throw RuntimeError with this text into the coroutine. */
static int
fail_soon(PyObject *self, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    PyObject *message = PyUnicode_FromFormatV(format, args);
    va_end(args);
    PyObject *exc =
        message != NULL ? PyObject_CallOneArg(PyExc_RuntimeError, message) : NULL;
    Py_XDECREF(message);
    if (exc == NULL) {
        return -1;
    }
    LmFutureRare *rare = lm_future_rare(lm_future(self));
    if (rare == NULL) {
        Py_DECREF(exc);
        return -1;
    }
    Py_XSETREF(rare->raising, exc);
    return 1;
}

/* The task was cancelled while it ran: passes that on to what it waits for now. */
static int
cancel_awaited(LmTask *t)
{
    if (t->awaits == NULL) {
        return 0;
    }
    PyObject *message = LM_RARE(&t->future, cancel_message);
    message = lm_none_or(message);
    int cancelled = lm_task_cancel_awaited(t, message);
    Py_DECREF(message);
    if (cancelled > 0) {
        t->must_cancel = 0;
    }
    return cancelled < 0 ? -1 : 0;
}

static int
now_awaits(LmTask *t, PyObject *future)
{
    Py_XSETREF(t->awaits, Py_NewRef(future));
    lm_mirror_show_await(future, lm_future_object(&t->future));
    return LM_UNLIKELY(t->must_cancel) ? cancel_awaited(t) : 0;
}

/* A future of our own types: linked without any object between where both live on one
   native loop. */
static int
wait_for_native(PyObject *self, PyObject *future)
{
    LmTask *t = lm_task(self);
    LmFuture *f = lm_future(future);
    if (LM_UNLIKELY(f->loop != t->future.loop)) {
        return fail_soon(self, "Task %R got Future %R attached to a different loop",
                         self, future);
    }
    if (LM_UNLIKELY(!f->is_blocking)) {
        return fail_soon(self,
                         "yield was used instead of yield from in task %R with %R",
                         self, future);
    }
    LM_STORE(f->is_blocking, 0);
    if (LM_LIKELY(f->is_native && f->state == LM_PENDING)) {
        return lm_waiters_add_task(future, self) < 0 ? -1 : now_awaits(t, future);
    }
    PyObject *wakeup = lm_task_wakeup_callable(self);
    PyObject *context = wakeup != NULL ? lm_task_context(t) : NULL;
    int failed = context == NULL ? -1 : lm_waiters_add(future, wakeup, context);
    Py_XDECREF(wakeup);
    Py_XDECREF(context);
    return failed < 0 ? -1 : now_awaits(t, future);
}

/* New reference to the loop of any future-like object: get_loop(), else _loop. */
static PyObject *
loop_of_future(LmState *st, PyObject *future)
{
    PyObject *getter;
    int found = PyObject_GetOptionalAttr(future, st->str.get_loop, &getter);
    if (found < 0) {
        return NULL;
    }
    if (found == 0) {
        return PyObject_GetAttr(future, st->str._loop);
    }
    PyObject *loop = PyObject_CallNoArgs(getter);
    Py_DECREF(getter);
    return loop;
}

static int
add_wakeup_to_foreign(PyObject *self, PyObject *future)
{
    LmTask *t = lm_task(self);
    LmState *st = t->future.st;
    PyObject *wakeup = lm_task_wakeup_callable(self);
    PyObject *context = wakeup != NULL ? lm_task_context(t) : NULL;
    PyObject *stack[] = {future, wakeup, context};
    PyObject *done = context == NULL
                         ? NULL
                         : PyObject_VectorcallMethod(st->str.add_done_callback, stack,
                                                     2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                                     st->kw_context);
    Py_XDECREF(wakeup);
    Py_XDECREF(context);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* Anything with the _asyncio_future_blocking protocol: stdlib futures, subclasses,
   look-alikes. */
static int
wait_for_foreign(PyObject *self, PyObject *future, int is_blocking)
{
    LmTask *t = lm_task(self);
    LmState *st = t->future.st;
    PyObject *loop = loop_of_future(st, future);
    if (loop == NULL) {
        return -1;
    }
    int is_other = loop != t->future.loop;
    Py_DECREF(loop);
    if (is_other) {
        return fail_soon(self, "Task %R got Future %R attached to a different loop",
                         self, future);
    }
    if (!is_blocking) {
        return fail_soon(self,
                         "yield was used instead of yield from in task %R with %R",
                         self, future);
    }
    if (PyObject_SetAttr(future, st->str._asyncio_future_blocking, Py_False) < 0 ||
        add_wakeup_to_foreign(self, future) < 0) {
        return -1;
    }
    return now_awaits(t, future);
}

static LM_APART int
take_other_yielded(PyObject *self, PyObject *yielded)
{
    LmState *st = lm_task(self)->future.st;
    PyObject *blocking;
    int found =
        PyObject_GetOptionalAttr(yielded, st->str._asyncio_future_blocking, &blocking);
    if (found < 0) {
        return -1;
    }
    if (found && blocking != Py_None) {
        int is_blocking = PyObject_IsTrue(blocking);
        Py_DECREF(blocking);
        return is_blocking < 0 ? -1 : wait_for_foreign(self, yielded, is_blocking);
    }
    Py_XDECREF(blocking);
    if (PyGen_CheckExact(yielded)) {
        return fail_soon(
            self,
            "yield was used instead of yield from for generator in task %R with %R",
            self, yielded);
    }
    return fail_soon(self, "Task got bad yield: %R", yielded);
}

int
lm_task_take_yielded(PyObject *self, PyObject *yielded)
{
    if (yielded == self) {
        return fail_soon(self, "Task cannot await on itself: %R", self);
    }
    if (lm_future_is_exact(lm_task(self)->future.st, yielded)) {
        return wait_for_native(self, yielded);
    }
    return yielded == Py_None ? 1 : take_other_yielded(self, yielded);
}
