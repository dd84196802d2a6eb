/* Handle and TimerHandle: see handle.h. Relies on the loop's queue and heap; running
   one runs Python. */
#include "core/handle.h"

#include "base/oserr.h"
#include "core/context.h"
#include "core/debug.h"
#include "core/fault.h"
#include "core/ready.h"
#include "core/timers.h"

Py_ssize_t lm_handle_offset;

static PyObject *
alloc_handle(PyTypeObject *type, LmFreelist *spare)
{
    if (spare->size > 0) {
        PyObject *self = PyObject_Init(spare->items[--spare->size], type);
        PyObject_GC_Track(self);
        return self;
    }
    return type->tp_alloc(type, 0);
}

/* Arguments of a handle, borrowed. */
static PyObject *const *
handle_args(const LmHandle *h, Py_ssize_t *nargs)
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
    }
    h->nargs = (int32_t)nargs;
    return 0;
}

static PyObject *
make_handle(LmLoop *loop, PyObject *type, LmFreelist *spare, PyObject *callback,
            PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    PyObject *self = alloc_handle(lm_type(type), spare);
    if (self == NULL) {
        return NULL;
    }
    LmHandle *h = lm_handle(self);
    h->loop = (LmLoop *)Py_NewRef(loop);
    h->callback = Py_NewRef(callback);
    h->node.index = LM_HEAP_NOWHERE;
    h->is_cancelled = 0;
    h->nargs = 0;
    if (store_args(h, args, nargs) < 0) {
        goto fail;
    }
    h->context = context ? Py_NewRef(context) : PyContext_CopyCurrent();
    if (h->context == NULL) {
        goto fail;
    }
    if (LM_UNLIKELY(loop->is_debug)) {
        h->source_traceback = lm_debug_source_traceback(loop->st);
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
    return make_handle(loop, st->HandleType, &st->handles, callback, args, nargs,
                       context);
}

PyObject *
lm_handle_new_timer(LmLoop *loop, double due, PyObject *when, PyObject *callback,
                    PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    LmState *st = loop->st;
    PyObject *self = make_handle(loop, st->TimerHandleType, &st->timer_handles,
                                 callback, args, nargs, context);
    if (self != NULL) {
        LmHandle *h = lm_handle(self);
        h->due = due;
        h->when = when != NULL && !PyFloat_CheckExact(when) ? Py_NewRef(when) : NULL;
    }
    return self;
}

int
lm_handle_call_soon(LmLoop *loop, PyObject *callback, PyObject *const *args,
                    Py_ssize_t nargs, PyObject *context)
{
    if (lm_loop_check_closed(loop) < 0) {
        return -1;
    }
    PyObject *handle = lm_handle_new(loop, callback, args, nargs, context);
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
run_callback(LmLoop *loop, PyObject *self)
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

int
lm_handle_run(LmLoop *loop, PyObject *self)
{
    LmHandle *h = lm_handle(self);
    if (h->is_cancelled) {
        return 0;
    }
    lm_loop_leave_task(loop);
    PyObject *result = run_callback(loop, self);
    if (LM_LIKELY(result != NULL)) {
        Py_DECREF(result);
        return 0;
    }
    return lm_fault_in_callback(loop, self);
}

int
lm_handle_run_item(LmLoop *loop, PyObject *self)
{
    int failed = lm_handle_run(loop, self);
    Py_DECREF(self);
    return failed;
}

int
lm_handle_report_fault(LmLoop *loop, PyMethodDef *def, PyObject *self)
{
    if (lm_exc_leaves_loop()) {
        return -1;
    }
    PyObject *exc = PyErr_GetRaisedException();
    PyObject *callback = PyCFunction_New(def, self);
    PyObject *handle =
        callback != NULL ? lm_handle_new(loop, callback, NULL, 0, NULL) : NULL;
    Py_XDECREF(callback);
    if (handle == NULL) {
        Py_DECREF(exc);
        return -1;
    }
    PyErr_SetRaisedException(exc);
    int failed = lm_fault_in_callback(loop, handle);
    Py_DECREF(handle);
    return failed;
}

static void
drop_callback(LmHandle *h)
{
    Py_CLEAR(h->callback);
    int n = h->nargs <= LM_HANDLE_INLINE_ARGS ? h->nargs : 1;
    h->nargs = 0;
    for (int i = 0; i < n; i++) {
        Py_CLEAR(h->args[i]);
    }
}

int
lm_handle_cancel(PyObject *self)
{
    LmHandle *h = lm_handle(self);
    if (h->is_cancelled || h->loop == NULL) {
        return 0;
    }
    h->is_cancelled = 1;
    if (h->loop->is_debug) {
        PyObject *repr = PyObject_Repr(self);
        if (repr == NULL) {
            return -1;
        }
        Py_XSETREF(h->repr, repr);
    }
    lm_timers_remove(h->loop, h);
    drop_callback(h);
    return 0;
}

static int
handle_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmHandle *h = lm_handle(self);
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(h->loop);
    Py_VISIT(h->callback);
    Py_VISIT(h->context);
    Py_VISIT(h->args[0]);
    Py_VISIT(h->args[1]);
    Py_VISIT(h->source_traceback);
    Py_VISIT(h->when);
    return 0;
}

/* The loop and the context stay until the end: a handle can be asked for them, and be
   run, at any time. */
static int
handle_clear(PyObject *self)
{
    LmHandle *h = lm_handle(self);
    h->is_cancelled = 1;
    drop_callback(h);
    Py_CLEAR(h->source_traceback);
    Py_CLEAR(h->repr);
    Py_CLEAR(h->when);
    return 0;
}

static LmFreelist *
spare_list(LmState *st, PyTypeObject *type)
{
    return type == lm_type(st->HandleType)        ? &st->handles
           : type == lm_type(st->TimerHandleType) ? &st->timer_handles
                                                  : NULL;
}

static void
handle_dealloc(PyObject *self)
{
    LmHandle *h = lm_handle(self);
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    PyObject_ClearWeakRefs(self);
    drop_callback(h);
    Py_CLEAR(h->context);
    Py_CLEAR(h->source_traceback);
    Py_CLEAR(h->repr);
    Py_CLEAR(h->when);
    LmLoop *loop =
        h->loop; /* may be what keeps the module, and so the spare list, alive */
    h->loop = NULL;
    LmFreelist *spare = loop != NULL ? spare_list(loop->st, type) : NULL;
    if (spare != NULL && spare->size < LM_FREELIST_SIZE) {
        spare->items[spare->size++] = self;
    }
    else {
        type->tp_free(self);
    }
    Py_DECREF(type);
    Py_XDECREF(loop);
}

static PyObject *
handle_cancel(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (lm_handle_cancel(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
handle_cancelled(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyBool_FromLong(lm_handle(self)->is_cancelled);
}

static PyObject *
handle_run(PyObject *self, PyObject *unused LM_UNUSED)
{
    if (lm_handle_run(lm_handle(self)->loop, self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
handle_when(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmHandle *h = lm_handle(self);
    return h->when != NULL ? Py_NewRef(h->when) : PyFloat_FromDouble(h->due);
}

static PyObject *
none_or(PyObject *value)
{
    return Py_NewRef(value != NULL ? value : Py_None);
}

static PyObject *
get_loop(PyObject *self, void *closure LM_UNUSED)
{
    return none_or((PyObject *)lm_handle(self)->loop);
}

static PyObject *
get_callback(PyObject *self, void *closure LM_UNUSED)
{
    return none_or(lm_handle(self)->callback);
}

static PyObject *
get_context(PyObject *self, void *closure LM_UNUSED)
{
    return none_or(lm_handle(self)->context);
}

static PyObject *
get_args(PyObject *self, void *closure LM_UNUSED)
{
    LmHandle *h = lm_handle(self);
    if (h->callback == NULL) {
        Py_RETURN_NONE;
    }
    Py_ssize_t nargs;
    PyObject *const *args = handle_args(h, &nargs);
    PyObject *tuple = PyTuple_New(nargs);
    for (Py_ssize_t i = 0; tuple != NULL && i < nargs; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    }
    return tuple;
}

static PyObject *
get_cancelled(PyObject *self, void *closure LM_UNUSED)
{
    return PyBool_FromLong(lm_handle(self)->is_cancelled);
}

static PyObject *
get_repr(PyObject *self, void *closure LM_UNUSED)
{
    return none_or(lm_handle(self)->repr);
}

static PyObject *
get_source_traceback(PyObject *self, void *closure LM_UNUSED)
{
    return none_or(lm_handle(self)->source_traceback);
}

static PyObject *
get_when(PyObject *self, void *closure LM_UNUSED)
{
    return handle_when(self, NULL);
}

static PyObject *
get_scheduled(PyObject *self, void *closure LM_UNUSED)
{
    return PyBool_FromLong(lm_handle(self)->node.index != LM_HEAP_NOWHERE);
}

static Py_hash_t
timer_hash(PyObject *self)
{
    PyObject *when = handle_when(self, NULL);
    Py_hash_t hash = when != NULL ? PyObject_Hash(when) : -1;
    Py_XDECREF(when);
    return hash;
}

static int
same_timers(PyObject *a, PyObject *b)
{
    LmHandle *x = lm_handle(a), *y = lm_handle(b);
    if (x->due != y->due || x->is_cancelled != y->is_cancelled ||
        (x->callback == NULL) != (y->callback == NULL)) {
        return 0;
    }
    if (x->callback == NULL) {
        return 1;
    }
    int same = PyObject_RichCompareBool(x->callback, y->callback, Py_EQ);
    if (same > 0) {
        PyObject *args_a = get_args(a, NULL), *args_b = get_args(b, NULL);
        same = args_a && args_b ? PyObject_RichCompareBool(args_a, args_b, Py_EQ) : -1;
        Py_XDECREF(args_a);
        Py_XDECREF(args_b);
    }
    return same;
}

static PyObject *
timer_richcompare(PyObject *self, PyObject *other, int op)
{
    if (Py_TYPE(other) != Py_TYPE(self)) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    double a = lm_handle(self)->due, b = lm_handle(other)->due;
    int answer;
    switch (op) {
    case Py_LT:
        answer = a < b;
        break;
    case Py_GT:
        answer = a > b;
        break;
    case Py_LE:
        answer = a < b ? 1 : same_timers(self, other);
        break;
    case Py_GE:
        answer = a > b ? 1 : same_timers(self, other);
        break;
    default:
        answer = same_timers(self, other);
        answer = op == Py_NE && answer >= 0 ? !answer : answer;
    }
    return answer < 0 ? NULL : PyBool_FromLong(answer);
}

PyDoc_STRVAR(
    cancel_doc,
    "cancel($self)\n--\n\nCancel the callback: it will not run. Has no effect once it "
    "has "
    "run or was cancelled.\n\nLoop's thread only. Implements asyncio.Handle.cancel.");
PyDoc_STRVAR(cancelled_doc,
             "cancelled($self)\n--\n\nReturn True if the callback was cancelled.");
PyDoc_STRVAR(when_doc,
             "when($self)\n--\n\nReturn the moment the callback is due, in seconds of "
             "loop.time().\n\nImplements asyncio.TimerHandle.when.");
PyDoc_STRVAR(run_doc, "_run($self)\n--\n\nRun the callback in its context now.");

/* clang-format off */
#define COMMON_METHODS                                          \
    {"cancel", handle_cancel, METH_NOARGS, cancel_doc},         \
    {"cancelled", handle_cancelled, METH_NOARGS, cancelled_doc}, \
    {"_run", handle_run, METH_NOARGS, run_doc}

#define COMMON_GETTERS                                                      \
    {"_loop", get_loop, NULL, NULL, NULL},                                  \
    {"_callback", get_callback, NULL, NULL, NULL},                          \
    {"_args", get_args, NULL, NULL, NULL},                                  \
    {"_context", get_context, NULL, NULL, NULL},                            \
    {"_cancelled", get_cancelled, NULL, NULL, NULL},                        \
    {"_repr", get_repr, NULL, NULL, NULL},                                  \
    {"_source_traceback", get_source_traceback, NULL, NULL, NULL}

static PyMethodDef handle_methods[] = {COMMON_METHODS, {NULL, NULL, 0, NULL}};
static PyMethodDef timer_methods[] = {
    COMMON_METHODS, {"when", handle_when, METH_NOARGS, when_doc}, {NULL, NULL, 0, NULL}};
static PyGetSetDef handle_getset[] = {COMMON_GETTERS, {NULL, NULL, NULL, NULL, NULL}};
static PyGetSetDef timer_getset[] = {COMMON_GETTERS,
                                     {"_when", get_when, NULL, NULL, NULL},
                                     {"_scheduled", get_scheduled, NULL, NULL, NULL},
                                     {NULL, NULL, NULL, NULL, NULL}};

#define COMMON_SLOTS                                    \
    {Py_tp_dealloc, handle_dealloc},                    \
    {Py_tp_traverse, handle_traverse},                  \
    {Py_tp_clear, handle_clear}
/* clang-format on */

static PyType_Slot handle_slots[] = {
    COMMON_SLOTS,
    {Py_tp_doc, "A scheduled callback; made by the loop. Implements asyncio.Handle."},
    {Py_tp_methods, handle_methods},
    {Py_tp_getset, handle_getset},
    {0, NULL}};
static PyType_Slot timer_slots[] = {
    COMMON_SLOTS,
    {Py_tp_doc, "A callback with a due time; made by the loop. Implements "
                "asyncio.TimerHandle."},
    {Py_tp_methods, timer_methods},
    {Py_tp_getset, timer_getset},
    {Py_tp_hash, timer_hash},
    {Py_tp_richcompare, timer_richcompare},
    {0, NULL}};

static PyObject *
make_type(PyObject *module, const char *name, PyType_Slot *slots, PyObject *base)
{
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(lm_handle_offset + (Py_ssize_t)sizeof(LmHandle)),
        .flags =
            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    return PyType_FromModuleAndSpec(module, &spec, base);
}

int
lm_handle_init(PyObject *module, LmState *st)
{
    PyObject *base = lm_state_import("asyncio", "Handle");
    st->asyncio_TimerHandle = lm_state_import("asyncio", "TimerHandle");
    if (base == NULL || st->asyncio_TimerHandle == NULL) {
        Py_XDECREF(base);
        return -1;
    }
    lm_handle_offset = lm_type(st->asyncio_TimerHandle)->tp_basicsize;
    st->HandleType = make_type(module, "loopmod.Handle", handle_slots, base);
    Py_DECREF(base);
    st->TimerHandleType =
        make_type(module, "loopmod.TimerHandle", timer_slots, st->asyncio_TimerHandle);
    if (st->HandleType == NULL || st->TimerHandleType == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "Handle", st->HandleType) < 0
               ? -1
               : PyModule_AddObjectRef(module, "TimerHandle", st->TimerHandleType);
}
