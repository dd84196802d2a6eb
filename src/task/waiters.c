/* Done callbacks and waiting tasks: see waiters.h. Relies on the ready queue, and on the
   state for a task's wake-up, which step.c leaves there. */
#include "task/waiters.h"

#include "base/oserr.h"
#include "core/context.h"
#include "core/debug.h"
#include "core/handle.h"
#include "core/ready.h"
#include "task/task.h"

/* From this version on a stdlib task looks at what woke it for more than the outcome. */
#define WAKER_IS_NOTED (PY_VERSION_HEX >= 0x030E0000)

int
lm_waiters_init(LmState *st)
{
    if (WAKER_IS_NOTED) {
        return 0;
    }
    st->finished_future =
        lm_state_support(st, "finished_future", "O", st->asyncio_Future);
    return st->finished_future != NULL ? 0 : -1;
}

/* Whether the callback is what a stdlib task leaves at a future that it waits for. */
static int
is_stock_wakeup(LmState *st, PyObject *callback)
{
    if (!PyCFunction_CheckExact(callback)) {
        return 0;
    }
    PyObject *self = PyCFunction_GET_SELF(callback);
    PyMethodDef *def = ((PyCFunctionObject *)callback)->m_ml;
    return self != NULL && Py_IS_TYPE(self, lm_type(st->asyncio_Task)) &&
           strcmp(def->ml_name, "task_wakeup") == 0;
}

/* What the callback is called with. A stdlib task looks only whether the future that wakes
   it holds an exception; one that is not a stdlib future it asks by a call of result(),
   in some 1,700 instructions. */
static PyObject *
told_to(PyObject *future, PyObject *callback)
{
    LmFuture *f = lm_future(future);
    return !WAKER_IS_NOTED && f->state == LM_FINISHED && !f->is_exception &&
                   lm_future_is_exact(f->st, future) && is_stock_wakeup(f->st, callback)
               ? f->st->finished_future
               : future;
}

static int
call_waiter_native(LmLoop *loop, PyObject *future, PyObject *callback,
                   PyObject *context)
{
    if (LM_UNLIKELY(LM_LOAD(loop->is_debug)) &&
        lm_debug_check_call(loop, callback, "call_soon", 1) < 0) {
        return -1;
    }
    PyObject *told =
        LM_LIKELY(!LM_LOAD(loop->is_debug)) ? told_to(future, callback) : future;
    return lm_handle_call_soon(loop, callback, &told, 1,
                               context != LM_CONTEXT_LATER ? context : NULL);
}

static int
call_waiter_foreign(LmState *st, PyObject *loop, PyObject *future, PyObject *callback,
                    PyObject *context)
{
    PyObject *shown = context == Py_None            ? PyContext_New()
                      : context == LM_CONTEXT_LATER ? Py_NewRef(Py_None)
                                                    : Py_NewRef(context);
    if (shown == NULL) {
        return -1;
    }
    PyObject *stack[] = {loop, callback, future, shown};
    PyObject *handle = PyObject_VectorcallMethod(
        st->str.call_soon, stack, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET, st->kw_context);
    Py_DECREF(shown);
    Py_XDECREF(handle);
    return handle != NULL ? 0 : -1;
}

/* `context` may be None for an empty one: context.h. The caller holds the rest; the loop is
   held here, since the future may be given another one. */
static int
call_waiter_soon(PyObject *future, PyObject *callback, PyObject *context)
{
    LmFuture *f = lm_future(future);
    LmLoop *direct = lm_future_direct_loop(f);
    PyObject *loop = Py_NewRef(f->loop);
    int failed = LM_LIKELY(direct != NULL)
                     ? call_waiter_native(direct, future, callback, context)
                     : call_waiter_foreign(f->st, loop, future, callback, context);
    Py_DECREF(loop);
    return failed;
}

static int
wake_by_callback(PyObject *future, PyObject *task)
{
    PyObject *wakeup = lm_task_wakeup_callable(task);
    PyObject *context = wakeup != NULL ? lm_task_context(lm_task(task)) : NULL;
    int failed = context != NULL ? call_waiter_soon(future, wakeup, context) : -1;
    Py_XDECREF(wakeup);
    Py_XDECREF(context);
    return failed;
}

static int
wake_task(PyObject *future, PyObject *task)
{
    LmLoop *loop = lm_future_direct_loop(lm_future(future));
    if (LM_UNLIKELY(loop == NULL)) {
        return wake_by_callback(future, task);
    }
    if (lm_loop_check_closed(loop) < 0 ||
        (LM_UNLIKELY(LM_LOAD(loop->is_debug)) && lm_loop_check_thread(loop) < 0)) {
        return -1;
    }
    return lm_ready_push(loop, loop->st->step_task, Py_NewRef(task));
}

/* The next one, with its references, or 0. */
static int
take_next_waiter(LmFuture *f, LmWaiter *waiter)
{
    if (LM_LIKELY(f->waiter.callable != NULL)) {
        *waiter = f->waiter;
        f->waiter = (LmWaiter){NULL, NULL};
        return 1;
    }
    if (lm_waiters_more(f) == 0) {
        return 0;
    }
    *waiter = f->rare->more[f->rare->more_begin++];
    return 1;
}

static void
drop_waiters(LmFuture *f)
{
    LmWaiter waiter;
    while (take_next_waiter(f, &waiter)) {
        lm_waiter_release(&waiter);
    }
}

static int
grow_waiters(LmFuture *f)
{
    LmFutureRare *rare = lm_future_rare(f);
    if (rare == NULL) {
        return -1;
    }
    uint32_t capacity = rare->more_capacity > 0 ? rare->more_capacity * 2 : 3;
    rare = PyMem_Realloc(rare, sizeof(*rare) + capacity * sizeof(LmWaiter));
    if (rare == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    rare->more_capacity = capacity;
    f->rare = rare;
    return 0;
}

/* Steals the context. */
static int
append_waiter(LmFuture *f, PyObject *callable, PyObject *context)
{
    LmWaiter waiter = {callable, context};
    if (LM_LIKELY(f->waiter.callable == NULL && lm_waiters_more(f) == 0)) {
        f->waiter = waiter;
    }
    else {
        /* Places that were emptied at the begin are not used again: they are once the
           future is done, and nobody is added to that. */
        if ((!f->has_rare || f->rare->more_end == f->rare->more_capacity) &&
            grow_waiters(f) < 0) {
            Py_XDECREF(context);
            return -1;
        }
        f->rare->more[f->rare->more_end++] = waiter;
    }
    Py_INCREF(callable);
    return 0;
}

/* The context to keep for a callback. New reference. */
static PyObject *
context_of_waiter(LmFuture *f, PyObject *context)
{
    if (context != Py_None) {
        return context != NULL ? Py_NewRef(context) : lm_context_snapshot();
    }
    if (lm_future_rare(f) == NULL) {
        return NULL;
    }
    f->rare->has_late_context = 1;
    return Py_NewRef(LM_CONTEXT_LATER);
}

int
lm_waiters_add(PyObject *future, PyObject *callback, PyObject *context)
{
    LmFuture *f = lm_future(future);
    context = context_of_waiter(f, context);
    if (context == NULL) {
        return -1;
    }
    if (f->state == LM_PENDING) {
        return append_waiter(f, callback, context);
    }
    int failed = call_waiter_soon(future, callback, context);
    Py_DECREF(context);
    return failed;
}

int
lm_waiters_add_task(PyObject *future, PyObject *task)
{
    return append_waiter(lm_future(future), task, NULL);
}

/* -1 with an exception that has to leave the loop. */
static int
run_done_callback(LmLoop *loop, PyObject *future, LmWaiter *waiter)
{
    int is_blank = waiter->context == Py_None;
    PyObject *entered = NULL, *result = NULL;
    if (!is_blank || lm_context_fill(loop, &waiter->context) == 0) {
        entered = lm_context_enter(loop, waiter->context);
    }
    if (LM_LIKELY(entered != NULL)) {
        /* Room before the argument lets a bound method put its object there. */
        PyObject *stack[] = {NULL, told_to(future, waiter->callable)};
        result = PyObject_Vectorcall(waiter->callable, stack + 1,
                                     1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        if (lm_context_exit(entered, 0) < 0) {
            Py_CLEAR(result);
        }
    }
    if (LM_UNLIKELY(result == NULL)) {
        return lm_handle_report_call(loop, waiter->callable, &future, 1,
                                     waiter->context);
    }
    Py_DECREF(result);
    if (is_blank) {
        lm_context_empty(loop, &waiter->context);
    }
    return 0;
}

/* Ready-queue function: the next due callback of the future. */
static int
done_callback_item(LmLoop *loop, PyObject *future)
{
    LmWaiter waiter;
    int failed = 0;
    lm_loop_leave_task(loop);
    if (LM_LIKELY(take_next_waiter(lm_future(future), &waiter))) {
        failed = run_done_callback(loop, future, &waiter);
        lm_waiter_release(&waiter);
    }
    Py_DECREF(future);
    return failed;
}

/* A task goes to the queue itself and leaves its place empty, unless that fails: so nothing
   is let go of while the places are walked. */
static int
push_waiter(LmLoop *loop, PyObject *future, LmWaiter *waiter)
{
    if (waiter->context != NULL) {
        return lm_ready_push(loop, done_callback_item, Py_NewRef(future));
    }
    PyObject *task = waiter->callable;
    if (task != NULL && (lm_ready_take_sent(loop) < 0 ||
                         lm_ring_push(&loop->ready, loop->st->step_task, task) < 0)) {
        PyErr_NoMemory();
        return -1;
    }
    waiter->callable = NULL;
    return 0;
}

static int
push_more(LmLoop *loop, PyObject *future, LmFutureRare *rare)
{
    int failed = 0;
    uint32_t kept = rare->more_begin;
    for (uint32_t i = rare->more_begin; i < rare->more_end; i++) {
        LmWaiter *waiter = &rare->more[i];
        failed |= push_waiter(loop, future, waiter);
        if (waiter->callable != NULL) {
            rare->more[kept++] = *waiter;
        }
    }
    rare->more_end = kept;
    return failed;
}

static int
schedule_directly(LmLoop *loop, PyObject *future)
{
    LmFuture *f = lm_future(future);
    if (lm_loop_check_closed(loop) < 0) {
        return -1;
    }
    /* Each is tried, whatever became of the one before. */
    int failed = push_waiter(loop, future, &f->waiter);
    if (LM_UNLIKELY(lm_waiters_more(f) > 0)) {
        failed |= push_more(loop, future, f->rare);
    }
    return failed;
}

static int
schedule_one(PyObject *future, const LmWaiter *waiter)
{
    return waiter->context != NULL
               ? call_waiter_soon(future, waiter->callable, waiter->context)
               : wake_task(future, waiter->callable);
}

/* Debug mode runs Python for each handle: where a signal handler raised in its midst a
   second time is without fault, and what was raised first waits in *interruption. */
static int
schedule_in_any_case(PyObject *future, const LmWaiter *waiter, PyObject **interruption)
{
    if (LM_LIKELY(schedule_one(future, waiter) == 0)) {
        return 0;
    }
    if (lm_future_direct_loop(lm_future(future)) == NULL) {
        return -1; /* what a loop's own call_soon raises is its word */
    }
    PyObject *exc = lm_exc_hold();
    if (schedule_one(future, waiter) < 0) {
        lm_exc_restore(exc);
        return -1;
    }
    Py_XSETREF(*interruption, exc);
    return 0;
}

static int
schedule_by_handles(PyObject *future)
{
    LmFuture *f = lm_future(future);
    LmWaiter waiter;
    PyObject *interruption = NULL;
    int failed = 0;
    /* A loop's own call_soon may begin the future anew: who waits then is not due. */
    while (failed == 0 && f->state != LM_PENDING && take_next_waiter(f, &waiter)) {
        failed = schedule_in_any_case(future, &waiter, &interruption);
        lm_waiter_release(&waiter);
    }
    failed = interruption != NULL ? -1 : failed;
    lm_exc_restore(interruption);
    return failed;
}

int
lm_waiters_schedule(PyObject *future)
{
    LmFuture *f = lm_future(future);
    if (f->waiter.callable == NULL && lm_waiters_more(f) == 0) {
        return 0;
    }
    LmLoop *loop = lm_future_direct_loop(f);
    int failed = LM_LIKELY(loop != NULL && !LM_LOAD(loop->is_debug) &&
                           (!f->has_rare || !f->rare->has_late_context))
                     ? schedule_directly(loop, future)
                     : schedule_by_handles(future);
    if (LM_UNLIKELY(failed < 0)) {
        PyObject *exc = lm_exc_hold();
        drop_waiters(f);
        lm_exc_restore(exc);
    }
    return failed;
}

/* The future's items in the queue and its callbacks are of one number and order: the first
   item that is found becomes a handle of the first callback. */
static int
detach_due(LmLoop *loop, PyObject *future)
{
    LmFuture *f = lm_future(future);
    LmWaiter waiter;
    while (lm_ready_find(loop, done_callback_item, future) != NULL &&
           take_next_waiter(f, &waiter)) {
        PyObject *told = told_to(future, waiter.callable);
        PyObject *handle =
            lm_handle_new_queued(loop, waiter.callable, &told, 1, waiter.context);
        lm_waiter_release(&waiter);
        /* Anew: what was released may have run the loop. */
        LmReadyItem *item = lm_ready_find(loop, done_callback_item, future);
        if (handle == NULL || item == NULL) {
            Py_XDECREF(handle);
            return handle == NULL ? -1 : 0;
        }
        *item = (LmReadyItem){lm_handle_run_item, handle};
        Py_DECREF(future); /* the caller has it */
    }
    return 0;
}

int
lm_waiters_detach(PyObject *future)
{
    LmFuture *f = lm_future(future);
    if (f->state == LM_PENDING || !f->is_native) {
        return 0;
    }
    PyObject *loop = Py_NewRef(f->loop);
    int failed = detach_due((LmLoop *)loop, future);
    Py_DECREF(loop);
    return failed;
}
