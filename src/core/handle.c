/* Making, running and cancelling of handles: see handle.h; the Python types stand in
   handle_type.c. Relies on the loop's queue and heap; running
   one runs Python. */
#include "core/handle.h"

#include "base/held.h"
#include "base/oserr.h"
#include "core/context.h"
#include "core/debug.h"
#include "core/fault.h"
#include "core/ready.h"
#include "core/safe_handle.h"

static PyObject *
alloc_handle(PyTypeObject *type, LmFreelist *spare)
{
    PyObject *self = lm_freelist_take(spare, type);
    if (LM_UNLIKELY(self == NULL) && (self = PyObject_GC_New(PyObject, type)) != NULL) {
        memset(self + 1, 0, (size_t)type->tp_basicsize - sizeof(PyObject));
    }
    return self;
}

void
lm_handle_track(PyObject *self)
{
    lm_handle(self)->is_tracked = 1;
    PyObject_GC_Track(self);
}

void
lm_handle_unschedule(LmLoop *loop, LmHandle *handle)
{
    if (handle->node.index < LM_HEAP_ELSEWHERE) {
        lm_heap_remove(&loop->timers, &handle->node);
        lm_handle_leave_queue(lm_handle_object(handle));
    }
}

void
lm_handle_track_queued(LmLoop *loop)
{
    for (size_t i = 0, n = lm_ring_length(&loop->ready); i < n; i++) {
        const LmReadyItem *item = lm_ring_at(&loop->ready, i);
        if (item->fn == lm_handle_run_item && !lm_handle(item->obj)->is_tracked) {
            lm_handle_track(item->obj);
        }
    }
    if (loop->timers_late_from == loop->timer_seq) {
        return;
    }
    for (size_t i = 0; i < loop->timers.size; i++) {
        const LmHeapSlot *slot = &loop->timers.slots[i];
        if (slot->node->seq >= loop->timers_late_from) {
            LmHandle *handle = LM_CONTAINER_OF(slot->node, LmHandle, node);
            if (!handle->is_tracked) {
                lm_handle_track(lm_handle_object(handle));
            }
        }
    }
    loop->timers_late_from = loop->timer_seq;
}

/* A handle that only its queue and the caller will hold. */
static PyObject *
track_late(LmLoop *loop, PyObject *self, int is_late)
{
    int is_running = lm_owner_is_home(loop) && loop->thread_id != 0;
    if (self != NULL && !(is_late && is_running)) {
        lm_handle_track(self);
    }
    return self;
}

int
lm_handle_is_whole(const LmHandle *h)
{
    if (h->callback == NULL || h->context == NULL) {
        return 0;
    }
    switch (h->nargs) {
    case 0:
        return 1;
    case 1:
        return h->args[0] != NULL;
    case 2:
        return h->args[0] != NULL && h->args[1] != NULL;
    default:
        return h->args[0] != NULL && PyTuple_CheckExact(h->args[0]);
    }
}

PyObject *const *
lm_handle_args(const LmHandle *h, Py_ssize_t *nargs)
{
    if (h->nargs <= LM_HANDLE_INLINE_ARGS) {
        *nargs = h->nargs;
        return h->args;
    }
    *nargs = PyTuple_GET_SIZE(h->args[0]);
    return &PyTuple_GET_ITEM(h->args[0], 0);
}

static int
store_args(LmHandle *h, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs <= LM_HANDLE_INLINE_ARGS) {
        for (Py_ssize_t i = 0; i < nargs; i++) {
            h->args[i] = Py_NewRef(args[i]);
        }
    }
    else {
        PyObject *tuple = PyTuple_New(nargs);
        if (tuple == NULL) {
            return -1;
        }
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
        }
        h->args[0] = tuple;
        nargs = LM_HANDLE_TUPLE;
    }
    h->nargs = (uint8_t)nargs;
    return 0;
}

static PyObject *
context_queued(LmLoop *loop, PyObject *context)
{
    return context != NULL ? Py_NewRef(context) : lm_context_of_queued(loop);
}

static PyObject *
context_kept(PyObject *context)
{
    return context != NULL ? Py_NewRef(context) : lm_context_snapshot();
}

/* Steals the context; NULL with an exception set for that, too. */
static PyObject *
make_handle(LmLoop *loop, PyObject *type, LmFreelist *spare, PyObject *callback,
            PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    if (context == NULL) {
        return NULL;
    }
    PyObject *self = alloc_handle(lm_type(type), spare);
    if (self == NULL) {
        Py_DECREF(context);
        return NULL;
    }
    LmHandle *h = lm_handle(self);
    h->context = context;
    h->loop = (LmLoop *)Py_NewRef(loop);
    h->callback = Py_NewRef(callback);
    h->node.index = LM_HEAP_NOWHERE;
    h->is_cancelled = 0;
    h->is_safe = 0;
    h->is_tracked = 0;
    h->is_stray = spare == NULL;
    h->is_context_shown = 0;
    h->nargs = 0;
    if (store_args(h, args, nargs) < 0) {
        goto fail;
    }
    if (LM_UNLIKELY(LM_LOAD(loop->is_debug))) {
        h->source_traceback = lm_debug_source_traceback(loop->st, 0);
        if (h->source_traceback == NULL) {
            goto fail;
        }
    }
    return self;
fail:
    Py_DECREF(self);
    return NULL;
}

PyObject *
lm_handle_new(LmLoop *loop, PyObject *callback, PyObject *const *args, Py_ssize_t nargs,
              PyObject *context)
{
    LmState *st = loop->st;
    return track_late(loop,
                      make_handle(loop, st->HandleType, LM_SPARE(loop, handles),
                                  callback, args, nargs, context_kept(context)),
                      0);
}

PyObject *
lm_handle_new_queued(LmLoop *loop, PyObject *callback, PyObject *const *args,
                     Py_ssize_t nargs, PyObject *context)
{
    LmState *st = loop->st;
    return track_late(loop,
                      make_handle(loop, st->HandleType, LM_SPARE(loop, handles),
                                  callback, args, nargs, context_queued(loop, context)),
                      1);
}

PyObject *
lm_handle_new_threadsafe(LmLoop *loop, PyObject *callback, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *context)
{
    LmState *st = loop->st;
    if (st->SafeHandleType == NULL) {
        return lm_handle_new_queued(loop, callback, args, nargs, context);
    }
    PyObject *self = make_handle(loop, st->SafeHandleType, LM_SPARE(loop, safe_handles),
                                 callback, args, nargs, context_queued(loop, context));
    if (self != NULL) {
        lm_handle(self)->is_safe = 1;
    }
    return track_late(loop, self, 1);
}

PyObject *
lm_handle_new_timer(LmLoop *loop, double due, PyObject *when, PyObject *callback,
                    PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    LmState *st = loop->st;
    PyObject *self =
        make_handle(loop, st->TimerHandleType, LM_SPARE(loop, timer_handles), callback,
                    args, nargs, context_kept(context));
    if (self != NULL) {
        LmHandle *h = lm_handle(self);
        h->due = due;
        h->when = when != NULL && !PyFloat_CheckExact(when) ? Py_NewRef(when) : NULL;
    }
    return track_late(
        loop, self, lm_owner_is_home(loop) && loop->timers.size < LM_MOST_TRACKED_LATE);
}

int
lm_handle_call_soon(LmLoop *loop, PyObject *callback, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *context)
{
    if (lm_loop_check_closed(loop) < 0) {
        return -1;
    }
    PyObject *handle = lm_handle_new_queued(loop, callback, args, nargs, context);
    return handle == NULL ? -1 : lm_ready_push(loop, lm_handle_run_item, handle);
}

static PyObject *
call_callback(LmHandle *h)
{
    /* Room before the arguments lets a bound method put its object there instead of
       copying them. */
    PyObject *stack[1 + LM_HANDLE_INLINE_ARGS];
    if (h->nargs > LM_HANDLE_INLINE_ARGS) {
        return PyObject_Call(h->callback, h->args[0], NULL);
    }
    for (int i = 0; i < h->nargs; i++) {
        stack[1 + i] = h->args[i];
    }
    return PyObject_Vectorcall(h->callback, stack + 1,
                               h->nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

/* The callback may cancel its own handle, which lets go of what is being called. */
static PyObject *
call_held(LmHandle *h)
{
    PyObject *callback = Py_NewRef(h->callback);
    PyObject *arg0 = Py_XNewRef(h->args[0]);
    PyObject *arg1 = Py_XNewRef(h->args[1]);
    PyObject *result = call_callback(h);
    Py_XDECREF(arg1);
    Py_XDECREF(arg0);
    Py_DECREF(callback);
    return result;
}

static PyObject *
run_handle(LmLoop *loop, PyObject *self)
{
    LmHandle *h = lm_handle(self);
    PyObject *context = lm_context_enter(loop, h->context);
    if (context == NULL) {
        return NULL;
    }
    PyObject *result = call_held(h);
    if (lm_context_exit(context, 0) < 0) {
        Py_CLEAR(result);
    }
    return result;
}

/* -1 with an exception that has to leave the loop. */
static int
run_and_report(LmLoop *loop, PyObject *self)
{
    PyObject *result = run_handle(loop, self);
    if (LM_LIKELY(result != NULL)) {
        Py_DECREF(result);
        return 0;
    }
    return lm_fault_in_callback(loop, self);
}

static int
run_in_blank(LmLoop *loop, PyObject *self)
{
    LmHandle *h = lm_handle(self);
    if (lm_context_fill(loop, &h->context) < 0) {
        return lm_fault_in_callback(loop, self);
    }
    int failed = run_and_report(loop, self);
    if (LM_LIKELY(failed == 0) && !h->is_context_shown) {
        lm_context_empty(loop, &h->context);
    }
    return failed;
}

static int
run_in_kept(LmLoop *loop, PyObject *self)
{
    return LM_LIKELY(lm_handle(self)->context == Py_None) ? run_in_blank(loop, self)
                                                          : run_and_report(loop, self);
}

int
lm_handle_run(LmLoop *loop, PyObject *self)
{
    LmHandle *h = lm_handle(self);
    if (LM_LOAD(h->is_cancelled) || LM_UNLIKELY(!lm_handle_is_whole(h))) {
        return 0;
    }
    if (LM_LIKELY(!h->is_safe)) {
        return run_in_kept(loop, self);
    }
    lm_safe_handle_begin(h);
    int failed = LM_LOAD(h->is_cancelled) ? 0 : run_in_kept(loop, self);
    lm_safe_handle_end(h);
    return failed;
}

int
lm_handle_run_item(LmLoop *loop, PyObject *self)
{
    lm_loop_leave_task(loop);
    int failed = lm_handle_run(loop, self);
    lm_handle_leave_queue(self);
    return failed;
}

int
lm_handle_run_last_item(LmLoop *loop, PyObject *self)
{
    PyObject *held = Py_NewRef(self);
    int failed = lm_handle_run_item(loop, self);
    if (LM_LIKELY(failed == 0) || loop->is_closed) {
        Py_DECREF(held);
        return failed;
    }
    PyObject *exc = lm_exc_hold();
    if (lm_ready_push(loop, lm_handle_run_last_item, held) < 0) {
        PyErr_Clear();
    }
    lm_exc_put_back(exc);
    return -1;
}

int
lm_handle_report_call(LmLoop *loop, PyObject *callable, PyObject *const *args,
                      Py_ssize_t nargs, PyObject *context)
{
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = lm_exc_hold();
    PyObject *handle = lm_handle_new(loop, callable, args, nargs, context);
    lm_exc_put_back(exc);
    if (handle == NULL) {
        return -1;
    }
    int failed = lm_fault_in_callback(loop, handle);
    Py_DECREF(handle);
    return failed;
}

int
lm_handle_call_soon_method(LmLoop *loop, PyMethodDef *def, PyObject *self,
                           PyObject *arg, PyObject *context)
{
    PyObject *bound = PyCFunction_New(def, self);
    int failed = bound == NULL ? -1
                               : lm_handle_call_soon(loop, bound, &arg,
                                                     arg != NULL ? 1 : 0, context);
    Py_XDECREF(bound);
    return failed;
}

int
lm_handle_report_fault(LmLoop *loop, PyMethodDef *def, PyObject *self)
{
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = lm_exc_hold();
    PyObject *callable = PyCFunction_New(def, self);
    lm_exc_put_back(exc);
    if (callable == NULL) {
        return -1;
    }
    int failed = lm_handle_report_call(loop, callable, NULL, 0, NULL);
    Py_DECREF(callable);
    return failed;
}

void
lm_handle_drop_callback(LmHandle *h)
{
    Py_CLEAR(h->callback);
    int n = h->nargs <= LM_HANDLE_INLINE_ARGS ? h->nargs : 1;
    h->nargs = 0;
    for (int i = 0; i < n; i++) {
        Py_CLEAR(h->args[i]);
    }
}

/* A timer that asyncio's own turn waits for: its count of cancelled ones is kept. */
static int
tell_own_queue(PyObject *self)
{
    return lm_done(PyObject_CallMethod((PyObject *)lm_handle(self)->loop,
                                       "_timer_handle_cancelled", "O", self));
}

static int
cancel_own(PyObject *self)
{
    LmHandle *h = lm_handle(self);
    if (LM_LOAD(h->is_cancelled)) {
        return 0;
    }
    LM_STORE(h->is_cancelled, 1);
    if (LM_LOAD(h->loop->is_debug)) {
        PyObject *repr = PyObject_Repr(self);
        if (repr == NULL) {
            return -1;
        }
        Py_XSETREF(h->repr, repr);
    }
    lm_handle_unschedule(h->loop, h);
    int failed = 0;
    if (LM_UNLIKELY(h->node.index == LM_HEAP_ELSEWHERE)) {
        failed = tell_own_queue(self);
    }
    lm_handle_drop_callback(h);
    return failed;
}

/* What a handle of another thread's loop holds is let go of when its queue skips it. */
int
lm_handle_cancel(PyObject *self)
{
    LmHandle *h = lm_handle(self);
    if (h->loop == NULL) {
        return 0;
    }
#if LM_FREE_THREADED
    LmOwner owner;
    if (lm_owner_enter(&owner, h->loop, self) < 0) {
        PyErr_Clear();
        LM_STORE(h->is_cancelled, 1);
        return 0;
    }
    int failed = cancel_own(self);
    lm_owner_leave(&owner);
    return failed;
#else
    return cancel_own(self);
#endif
}
