/* One step of a task: see step.h, and task.h for the states. Relies on yielded.h,
   registry.h and PyIter_Send. */
#include "task/step.h"

#include "base/oserr.h"
#include "base/type_help.h"
#include "core/context.h"
#include "core/handle.h"
#include "core/owner.h"
#include "core/ready.h"
#include "task/collector.h"
#include "task/mirror.h"
#include "task/registry.h"
#include "task/yielded.h"

/* 1 where the task is cancelled and a collector has closed its coroutine meanwhile, which is no
   fault of the program's. With the GIL no such task is ever found. */
static int
was_closed_by_collector(const LmState *st, PyObject *coro, PyObject *exc)
{
    if (!LM_FREE_THREADED || !PyObject_GC_IsFinalized(coro) ||
        !PyErr_GivenExceptionMatches(exc, st->CancelledError)) {
        return 0;
    }
    PyObject *frame = PyObject_GetAttrString(coro, "cr_frame");
    if (frame == NULL) {
        PyErr_Clear(); /* no coroutine of the interpreter's */
    }
    Py_XDECREF(frame);
    return frame == Py_None;
}

/* Resumes the coroutine with None, or throws `exc` into it. The value yielded or
   returned goes to *value. */
static PySendResult
resume_coroutine(LmTask *t, PyObject *exc, PyObject **value)
{
    /* __init__ called anew from inside would let go of it. */
    PyObject *coro = Py_XNewRef(t->coro);
    PySendResult outcome;
    if (LM_UNLIKELY(coro == NULL)) {
        PyErr_SetString(t->future.st->InvalidStateError, "__step(): already done");
        return PYGEN_ERROR; /* ended by what the step let go of */
    }
    if (LM_UNLIKELY(lm_collector_has(coro))) {
        lm_collector_wait(coro);
    }
    if (LM_LIKELY(exc == NULL)) {
        outcome = PyIter_Send(coro, Py_None, value);
        Py_DECREF(coro);
        if (LM_UNLIKELY(outcome == PYGEN_ERROR) && !PyErr_Occurred()) {
            /* The interpreter loses one that unwinds a frame for which it has no memory. */
            PyErr_SetString(PyExc_SystemError, "error return without exception set");
        }
        return outcome;
    }
    if (LM_UNLIKELY(was_closed_by_collector(t->future.st, coro, exc))) {
        PyErr_SetRaisedException(Py_NewRef(exc));
        Py_DECREF(coro);
        return PYGEN_ERROR;
    }
    *value = PyObject_CallMethodOneArg(coro, t->future.st->str.throw, exc);
    Py_DECREF(coro);
    if (*value != NULL) {
        return PYGEN_NEXT;
    }
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *stop = PyErr_GetRaisedException();
    if (!PyErr_GivenExceptionMatches(stop, PyExc_StopIteration)) {
        /* Of a class that could not be made an object. */
        PyErr_SetRaisedException(stop);
        return PYGEN_ERROR;
    }
    PyObject *returned = ((PyStopIterationObject *)stop)->value;
    *value = lm_none_or(returned);
    Py_DECREF(stop);
    return PYGEN_RETURN;
}

static int
finish_returned(PyObject *self, PyObject *result)
{
    LmTask *t = lm_task(self);
    if (LM_UNLIKELY(t->must_cancel)) {
        /* Cancelled right before it returned. */
        t->must_cancel = 0;
        return lm_future_cancel(self, LM_RARE(&t->future, cancel_message)) < 0 ? -1 : 0;
    }
    return lm_future_set_result(self, result);
}

/* Takes the exception that is set. -1 with it still set where it leaves the loop too. */
static int
finish_raised(PyObject *self)
{
    LmTask *t = lm_task(self);
    PyObject *exc = PyErr_GetRaisedException();
    if (PyErr_GivenExceptionMatches(exc, t->future.st->CancelledError)) {
        if (t->future.state == LM_PENDING) {
            Py_XSETREF(*lm_future_value(&t->future), exc);
        }
        else {
            Py_DECREF(exc);
        }
        return lm_future_cancel(self, NULL) < 0 ? -1 : 0;
    }
    int failed = lm_future_set_exception(self, exc);
    if (failed == 0 && (PyErr_GivenExceptionMatches(exc, PyExc_SystemExit) ||
                        PyErr_GivenExceptionMatches(exc, PyExc_KeyboardInterrupt))) {
        PyErr_SetRaisedException(exc);
        return -1;
    }
    Py_DECREF(exc);
    return failed;
}

/* The exception this step has to throw, by what was requested while the task waited.
   Takes and gives a reference; NULL for none. */
static int
add_cancellation(LmTask *t, PyObject **exc)
{
    if (LM_LIKELY(!t->must_cancel)) {
        return 0;
    }
    if (*exc == NULL ||
        !PyErr_GivenExceptionMatches(*exc, t->future.st->CancelledError)) {
        Py_XSETREF(*exc, lm_future_make_cancelled_error(&t->future));
        if (*exc == NULL) {
            return -1;
        }
    }
    t->must_cancel = 0;
    return 0;
}

/* One step in the task's context, as the current task. Steals `exc`. -1 with an
   exception that goes to the caller: one that leaves the loop, or a fault of
   scheduling. */
LM_INLINE int
run_step(PyObject *self, PyObject *exc)
{
    LmTask *t = lm_task(self);
    if (LM_UNLIKELY(t->future.state != LM_PENDING || t->coro == NULL)) {
        PyErr_Format(t->future.st->InvalidStateError, "__step(): already done: %R %R",
                     self, exc != NULL ? exc : Py_None);
        Py_XDECREF(exc);
        return -1;
    }
    if (add_cancellation(t, &exc) < 0) {
        return -1;
    }
    PyObject *awaited = t->awaits;
    if (awaited != NULL) {
        t->awaits = NULL;
        lm_mirror_hide_await(awaited, self);
        Py_DECREF(awaited);
    }
    PyObject *value;
    PySendResult outcome = resume_coroutine(t, exc, &value);
    Py_XDECREF(exc);
    if (outcome == PYGEN_ERROR) {
        return finish_raised(self);
    }
    int failed;
    if (outcome == PYGEN_RETURN) {
        failed = finish_returned(self, value);
    }
    else {
        failed = lm_task_take_yielded(self, value);
        if (failed > 0) {
            failed = lm_task_schedule(self);
        }
    }
    Py_DECREF(value);
    return failed;
}

static void
forget_when_done(PyObject *self)
{
    if (lm_task(self)->future.state != LM_PENDING) {
        lm_registry_remove(self);
    }
}

/* A step that its loop, which the caller holds, knows of, so that no other task is entered
   meanwhile. It need not be the task's any more: a loop's __hash__ may begin that anew. */
LM_INLINE int
step_marked(PyObject *self, PyObject *exc, PyObject *held)
{
    LmFuture *f = &lm_task(self)->future;
    if (LM_UNLIKELY(!f->is_native || f->loop != held)) {
        return run_step(self, exc);
    }
    LmLoop *loop = (LmLoop *)held;
    PyObject *outer = loop->stepping;
    loop->stepping = self;
    int failed = run_step(self, exc);
    loop->stepping = outer;
    return failed;
}

LM_INLINE int
step_entered(PyObject *self, PyObject *exc, PyObject *loop)
{
    if (LM_UNLIKELY(lm_registry_enter(self, loop) < 0)) {
        Py_XDECREF(exc);
        return -1;
    }
    int failed = step_marked(self, exc, loop);
    lm_registry_leave(self, loop);
    forget_when_done(self);
    return failed;
}

/* Step as the current task; the context is entered already. The loop is held: __init__
   called anew from inside may give the task another one. Steals `exc`. */
LM_INLINE int
step_as_current(PyObject *self, PyObject *exc)
{
    PyObject *loop = Py_NewRef(lm_task(self)->future.loop);
    int failed = step_entered(self, exc, loop);
    Py_DECREF(loop);
    return failed;
}

/* Outside a step: from here on no task is the current one. */
static void
leave_native(LmTask *t)
{
    if (t->future.is_native) {
        lm_loop_leave_task((LmLoop *)t->future.loop);
    }
}

/* What began anew since it woke the task is not done. */
static PyObject *
exception_of_done(LmFuture *f)
{
    if (f->state != LM_PENDING) {
        return lm_future_take_exception(f);
    }
    PyErr_SetString(f->st->InvalidStateError, "Result is not set.");
    return PyErr_GetRaisedException();
}

/* An exception is made, or lets go of its last traceback: before that, as in leaving the
   last task, anything may run, and begin this one anew. */
static PyObject *
take_exception_of(LmTask *t, PyObject *awaited)
{
    Py_INCREF(awaited);
    leave_native(t);
    LmFuture *f = lm_future(awaited);
    PyObject *exc = exception_of_done(f);
    Py_DECREF(awaited);
    return exc;
}

/* What ended the wait: the exception to throw, or NULL. */
LM_INLINE PyObject *
take_wait_outcome(LmTask *t)
{
    PyObject *raising = LM_RARE(&t->future, raising);
    if (LM_UNLIKELY(raising != NULL)) {
        t->future.rare->raising = NULL;
        return raising;
    }
    if (t->awaits == NULL || !lm_future_is_exact(t->future.st, t->awaits)) {
        return NULL;
    }
    LmFuture *f = lm_future(t->awaits);
    return LM_UNLIKELY(f->is_exception || f->state != LM_FINISHED)
               ? take_exception_of(t, t->awaits)
               : NULL;
}

/* Step by a callable: whoever calls it goes on in other code. */
static PyObject *
step_called(PyObject *self, PyObject *exc)
{
    int failed = step_as_current(self, exc);
    leave_native(lm_task(self));
    return lm_none_if(failed);
}

static PyObject *
task_step(PyObject *self, PyObject *unused LM_UNUSED)
{
    return step_called(self, take_wait_outcome(lm_task(self)));
}

/* Called with the future that is done, in the task's context. */
static PyObject *
task_wakeup(PyObject *self, PyObject *future)
{
    LmState *st = lm_task(self)->future.st;
    PyObject *exc = NULL;
    if (lm_future_is_exact(st, future)) {
        exc = exception_of_done(lm_future(future));
    }
    else {
        PyObject *result = PyObject_CallMethodNoArgs(future, st->str.result);
        Py_XDECREF(result);
        exc = result == NULL ? PyErr_GetRaisedException() : NULL;
    }
    return step_called(self, exc);
}

LM_OWNED_METHOD(task_step, lm_future_owner)
LM_OWNED_METHOD(task_wakeup, lm_future_owner)

static PyMethodDef step_def = {"__step", LM_OWNED(task_step), METH_NOARGS, NULL};
static PyMethodDef wakeup_def = {"task_wakeup", LM_OWNED(task_wakeup), METH_O, NULL};

LM_INLINE int
step_in_context(LmLoop *loop, PyObject *self)
{
    LmTask *t = lm_task(self);
    PyObject *context = lm_context_enter(loop, t->context);
    if (LM_UNLIKELY(context == NULL)) {
        return -1;
    }
    return lm_context_exit(context, step_as_current(self, take_wait_outcome(t)));
}

/* After the first step: a task that goes on to wait keeps no empty context. */
static void
settle_context(LmLoop *loop, LmTask *t)
{
    t->is_context_new = 0;
    if (t->future.state == LM_PENDING && !t->is_context_shown) {
        lm_context_empty(loop, &t->context);
    }
}

static int
step_in_kept(LmLoop *loop, PyObject *self)
{
    LmTask *t = lm_task(self);
    if (t->context != Py_None) {
        int failed = step_in_context(loop, self);
        if (LM_UNLIKELY(t->is_context_new) && LM_LIKELY(failed == 0)) {
            settle_context(loop, t);
        }
        return failed;
    }
    if (LM_UNLIKELY(loop->spares.blank_context == NULL)) {
        lm_loop_leave_task(loop); /* making one may run the collector */
    }
    if (lm_context_fill(loop, &t->context) < 0) {
        return -1;
    }
    int failed = step_in_context(loop, self);
    if (LM_LIKELY(failed == 0) && !t->is_context_shown) {
        lm_context_empty(loop, &t->context);
    }
    return failed;
}

int
lm_task_step_item(LmLoop *loop, PyObject *self)
{
    int failed = step_in_kept(loop, self);
    if (LM_UNLIKELY(failed < 0)) {
        lm_loop_leave_task(loop);
        failed = lm_handle_report_fault(loop, &step_def, self);
    }
    Py_DECREF(self);
    return failed;
}

static LM_APART int
schedule_on_foreign(PyObject *self)
{
    LmTask *t = lm_task(self);
    LmState *st = t->future.st;
    PyObject *callable = PyCFunction_New(&step_def, self);
    PyObject *context = callable != NULL ? lm_task_context(t) : NULL;
    PyObject *loop = Py_NewRef(t->future.loop);
    PyObject *stack[] = {loop, callable, context};
    PyObject *handle =
        context == NULL ? NULL
                        : PyObject_VectorcallMethod(st->str.call_soon, stack,
                                                    2 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                                    st->kw_context);
    Py_DECREF(loop);
    Py_XDECREF(callable);
    Py_XDECREF(context);
    Py_XDECREF(handle);
    return handle != NULL ? 0 : -1;
}

int
lm_task_schedule(PyObject *self)
{
    LmLoop *loop = lm_future_direct_loop(lm_future(self));
    if (LM_UNLIKELY(loop == NULL)) {
        return schedule_on_foreign(self);
    }
    if (lm_loop_check_closed(loop) < 0 ||
        (LM_UNLIKELY(LM_LOAD(loop->is_debug)) && lm_loop_check_thread(loop) < 0)) {
        return -1;
    }
    return lm_ready_push_any(loop, lm_task_step_item, Py_NewRef(self));
}

/* The context of a task that has not begun is entered and left by this one step alone. */
static int
step_in_first_context(PyObject *self, PyObject *loop)
{
    LmTask *t = lm_task(self);
    PyObject *context = lm_context_show(&t->context);
    if (context == NULL || PyContext_Enter(context) < 0) {
        Py_XDECREF(context);
        return -1;
    }
    int failed = lm_context_exit(context, step_marked(self, NULL, loop));
    if (failed == 0 && t->is_context_new && t->future.loop == loop) {
        settle_context((LmLoop *)loop, t);
    }
    return failed;
}

int
lm_task_start_eagerly(PyObject *self)
{
    LmTask *t = lm_task(self);
    LmState *st = t->future.st;
    PyObject *loop = Py_NewRef(t->future.loop);
    PyObject *previous;
    int failed = lm_registry_swap(st, loop, self, &previous);
    if (failed == 0) {
        failed = step_in_first_context(self, loop);
        failed = lm_registry_swap_back(st, loop, previous) < 0 ? -1 : failed;
    }
    Py_DECREF(loop);
    forget_when_done(self);
    if (t->future.state != LM_PENDING) {
        Py_XDECREF(lm_shared_swap(self, &t->coro, NULL));
    }
    return failed;
}

void
lm_task_step_init(LmState *st)
{
    st->step_task = lm_task_step_item;
    st->wake_task = &wakeup_def;
}
