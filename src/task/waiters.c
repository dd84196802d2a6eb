/* Done callbacks and waiting tasks: see waiters.h. Relies on the ready queue and on
   step.h for a task's wake-up. */
#include "task/waiters.h"

#include "core/context.h"
#include "core/debug.h"
#include "core/handle.h"
#include "core/ready.h"
#include "task/step.h"
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
call_soon_native(LmLoop *loop, PyObject *future, PyObject *callback, PyObject *context)
{
    if (LM_UNLIKELY(loop->is_debug) &&
        lm_debug_check_call(loop, callback, "call_soon", 1) < 0) {
        return -1;
    }
    PyObject *told = LM_LIKELY(!loop->is_debug) ? told_to(future, callback) : future;
    return lm_handle_call_soon(loop, callback, &told, 1, context);
}

/* `context` may be None for an empty one: context.h. */
static int
call_soon(PyObject *future, PyObject *callback, PyObject *context)
{
    LmFuture *f = lm_future(future);
    LmLoop *direct = lm_future_direct_loop(f);
    if (LM_LIKELY(direct != NULL)) {
        return call_soon_native(direct, future, callback, context);
    }
    PyObject *shown = context == Py_None ? PyContext_New() : Py_NewRef(context);
    if (shown == NULL) {
        return -1;
    }
    PyObject *stack[] = {f->loop, callback, future, shown};
    PyObject *handle = PyObject_VectorcallMethod(f->st->str.call_soon, stack,
                                                 3 | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                                 f->st->kw_context);
    Py_DECREF(shown);
    Py_XDECREF(handle);
    return handle != NULL ? 0 : -1;
}

static int
wake_by_callback(PyObject *future, PyObject *task)
{
    PyObject *wakeup = lm_task_wakeup_callable(task);
    PyObject *context = wakeup != NULL ? lm_task_context(lm_task(task)) : NULL;
    int failed = context != NULL ? call_soon(future, wakeup, context) : -1;
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
        (LM_UNLIKELY(loop->is_debug) && lm_loop_check_thread(loop) < 0)) {
        return -1;
    }
    return lm_ready_push(loop, lm_task_step_item, Py_NewRef(task));
}

static int
is_first(LmFuture *f)
{
    return LM_LIKELY(f->waiter == NULL && LM_RARE(f, more_waiters) == NULL);
}

/* Steals the context, which may be None for the first one only. */
static int
append_waiter(LmFuture *f, PyObject *callback, PyObject *context)
{
    if (is_first(f)) {
        f->waiter = Py_NewRef(callback);
        f->waiter_context = context;
        return 0;
    }
    PyObject *pair = PyTuple_Pack(2, callback, context);
    Py_DECREF(context);
    LmFutureRare *rare = pair != NULL ? lm_future_rare(f) : NULL;
    if (rare != NULL && rare->more_waiters == NULL) {
        rare->more_waiters = PyList_New(0);
    }
    int failed = rare == NULL || rare->more_waiters == NULL
                     ? -1
                     : PyList_Append(rare->more_waiters, pair);
    Py_XDECREF(pair);
    return failed;
}

int
lm_waiters_add(PyObject *future, PyObject *callback, PyObject *context)
{
    LmFuture *f = lm_future(future);
    int is_pending = f->state == LM_PENDING;
    context = context != NULL              ? Py_NewRef(context)
              : !is_pending || is_first(f) ? lm_context_snapshot()
                                           : PyContext_CopyCurrent();
    if (context == NULL) {
        return -1;
    }
    if (is_pending) {
        return append_waiter(f, callback, context);
    }
    int failed = call_soon(future, callback, context);
    Py_DECREF(context);
    return failed;
}

int
lm_waiters_add_task(PyObject *future, PyObject *task)
{
    LmFuture *f = lm_future(future);
    if (is_first(f)) {
        f->waiter = Py_NewRef(task);
        return 0;
    }
    PyObject *wakeup = lm_task_wakeup_callable(task);
    PyObject *context = wakeup != NULL ? lm_task_context(lm_task(task)) : NULL;
    int failed = context != NULL ? append_waiter(f, wakeup, context) : -1;
    Py_XDECREF(wakeup);
    return failed;
}

int
lm_waiters_schedule(PyObject *future)
{
    LmFuture *f = lm_future(future);
    PyObject *waiter = f->waiter, *context = f->waiter_context;
    PyObject *more = LM_RARE(f, more_waiters);
    int failed = 0;
    f->waiter = f->waiter_context = NULL;
    if (LM_UNLIKELY(more != NULL)) {
        f->rare->more_waiters = NULL;
    }
    if (waiter != NULL) {
        failed = context != NULL ? call_soon(future, waiter, context)
                                 : wake_task(future, waiter);
        Py_DECREF(waiter);
        Py_XDECREF(context);
    }
    for (Py_ssize_t i = 0; more != NULL && failed == 0 && i < PyList_GET_SIZE(more);
         i++) {
        PyObject *pair = Py_NewRef(PyList_GET_ITEM(more, i));
        failed =
            call_soon(future, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
        Py_DECREF(pair);
    }
    Py_XDECREF(more);
    return failed;
}

/* The callable and context of the first waiter, as asyncio shows them. */
static PyObject *
first_pair(LmFuture *f)
{
    if (f->waiter_context != NULL) {
        PyObject *shown = lm_context_show(&f->waiter_context);
        PyObject *first = shown != NULL ? PyTuple_Pack(2, f->waiter, shown) : NULL;
        Py_XDECREF(shown);
        return first;
    }
    PyObject *wakeup = lm_task_wakeup_callable(f->waiter);
    if (wakeup == NULL) {
        return NULL;
    }
    PyObject *context = lm_task_context(lm_task(f->waiter));
    PyObject *pair = context != NULL ? PyTuple_Pack(2, wakeup, context) : NULL;
    Py_DECREF(wakeup);
    Py_XDECREF(context);
    return pair;
}

PyObject *
lm_waiters_list(PyObject *future)
{
    LmFuture *f = lm_future(future);
    PyObject *more = LM_RARE(f, more_waiters);
    if (f->waiter == NULL && more == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *list = PyList_New(0);
    if (list == NULL) {
        return NULL;
    }
    if (f->waiter != NULL) {
        PyObject *pair = first_pair(f);
        if (pair == NULL || PyList_Append(list, pair) < 0) {
            Py_XDECREF(pair);
            goto fail;
        }
        Py_DECREF(pair);
    }
    more = LM_RARE(f, more_waiters);
    if (more != NULL) {
        Py_ssize_t end = PyList_GET_SIZE(list);
        if (PyList_SetSlice(list, end, end, more) < 0) {
            goto fail;
        }
    }
    return list;
fail:
    Py_DECREF(list);
    return NULL;
}

/* 1 where the pair's callable equals the callback; an __eq__ may do anything, so what
   is compared is held. */
static int
is_same_callback(PyObject *pair, PyObject *callback)
{
    Py_INCREF(pair);
    int same = PyObject_RichCompareBool(PyTuple_GET_ITEM(pair, 0), callback, Py_EQ);
    Py_DECREF(pair);
    return same;
}

static Py_ssize_t
remove_first(LmFuture *f, PyObject *callback)
{
    if (f->waiter == NULL) {
        return 0;
    }
    PyObject *pair = first_pair(f);
    if (pair == NULL) {
        return -1;
    }
    PyObject *waiter = f->waiter; /* only compared below: it may be gone by then */
    int same = is_same_callback(pair, callback);
    Py_DECREF(pair);
    if (same > 0 && f->waiter == waiter) {
        PyObject *context = f->waiter_context;
        f->waiter = f->waiter_context = NULL;
        Py_DECREF(waiter);
        Py_XDECREF(context);
    }
    return same;
}

/* Replaces the list by one without what equals `callback`: the comparison may change
   the list under way. */
static Py_ssize_t
remove_further(LmFuture *f, PyObject *callback)
{
    Py_ssize_t removed = 0;
    PyObject *more = LM_RARE(f, more_waiters);
    if (more == NULL) {
        return 0;
    }
    PyObject *kept = PyList_New(0);
    if (kept == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; more != NULL && i < PyList_GET_SIZE(more);
         i++, more = LM_RARE(f, more_waiters)) {
        PyObject *pair = Py_NewRef(PyList_GET_ITEM(more, i));
        int same = is_same_callback(pair, callback);
        int failed = same < 0 || (same == 0 && PyList_Append(kept, pair) < 0);
        Py_DECREF(pair);
        if (failed) {
            Py_DECREF(kept);
            return -1;
        }
        removed += same;
    }
    if (more == NULL) {
        Py_DECREF(kept);
        return removed;
    }
    if (PyList_GET_SIZE(kept) == 0) {
        Py_CLEAR(kept);
    }
    Py_SETREF(f->rare->more_waiters, kept);
    return removed;
}

Py_ssize_t
lm_waiters_remove(PyObject *future, PyObject *callback)
{
    LmFuture *f = lm_future(future);
    Py_ssize_t first = remove_first(f, callback);
    Py_ssize_t further = first < 0 ? -1 : remove_further(f, callback);
    return further < 0 ? -1 : first + further;
}
