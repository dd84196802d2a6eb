/* The types Handle, TimerHandle and, from 3.14 on, the one of thread-safe calls: slots,
   methods and getters over handle.h. */
#include "core/handle.h"

#include "base/type_help.h"
#include "core/context.h"
#include "core/owner.h"
#include "core/safe_handle.h"
#include "core/timers.h"

/* A burst is rarely the last, and fresh memory costs more than all else about a handle:
   this many of a kind, 5 MB of the largest, are kept until the loop is closed. */
#define MOST_SPARE 32768

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
    lm_handle_drop_callback(h);
    Py_CLEAR(h->source_traceback);
    Py_CLEAR(h->repr);
    Py_CLEAR(h->when);
    return 0;
}

static LmFreelist *
spare_list(LmLoop *loop, PyTypeObject *type)
{
    const LmState *st = loop->st;
    LmSpares *spares = &loop->spares;
    return !lm_owner_is_home(loop)                ? NULL
           : type == lm_type(st->HandleType)      ? &spares->handles
           : type == lm_type(st->TimerHandleType) ? &spares->timer_handles
           : type == lm_type(st->SafeHandleType)  ? &spares->safe_handles
                                                  : NULL;
}

void
lm_handle_free(PyObject *self)
{
    if (lm_handle(self)->is_safe) {
        lm_safe_handle_free(lm_handle(self));
    }
    lm_free_instance(self);
}

static void
handle_dealloc(PyObject *self)
{
    LmHandle *h = lm_handle(self);
    PyObject_GC_UnTrack(self);
    LM_TRASHCAN_BEGIN(self, handle_dealloc)
    lm_clear_weakrefs(self);
    lm_handle_drop_callback(h);
    Py_CLEAR(h->context);
    Py_CLEAR(h->source_traceback);
    Py_CLEAR(h->repr);
    Py_CLEAR(h->when);
    LmLoop *loop = h->loop;
    h->loop = NULL;
    LmFreelist *spare =
        loop != NULL && !h->is_stray ? spare_list(loop, Py_TYPE(self)) : NULL;
    if (spare == NULL || !lm_freelist_give(spare, self, MOST_SPARE)) {
        lm_handle_free(self);
    }
    Py_XDECREF(loop);
    LM_TRASHCAN_END
}

static PyObject *
handle_cancel(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_handle_cancel(self));
}

static PyObject *
handle_cancelled(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyBool_FromLong(LM_LOAD(lm_handle(self)->is_cancelled));
}

static PyObject *
handle_run(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_handle_run(lm_handle(self)->loop, self));
}

static PyObject *
handle_when(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmHandle *h = lm_handle(self);
    return h->when != NULL ? Py_NewRef(h->when) : PyFloat_FromDouble(h->due);
}

LM_GETTER(get_handle_loop, LmHandle *h = lm_handle(self),
          lm_none_or((PyObject *)h->loop))
LM_GETTER(get_handle_callback, LmHandle *h = lm_handle(self), lm_none_or(h->callback))

static PyObject *
get_handle_context(PyObject *self, void *closure LM_UNUSED)
{
    LmHandle *h = lm_handle(self);
    h->is_context_shown = 1;
    return h->context != NULL ? lm_context_show(&h->context) : Py_NewRef(Py_None);
}

static PyObject *
get_handle_args(PyObject *self, void *closure LM_UNUSED)
{
    LmHandle *h = lm_handle(self);
    if (!lm_handle_is_whole(h)) {
        Py_RETURN_NONE;
    }
    Py_ssize_t nargs;
    PyObject *const *args = lm_handle_args(h, &nargs);
    PyObject *tuple = PyTuple_New(nargs);
    for (Py_ssize_t i = 0; tuple != NULL && i < nargs; i++) {
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    }
    return tuple;
}

LM_GETTER(get_handle_cancelled, LmHandle *h = lm_handle(self),
          PyBool_FromLong(LM_LOAD(h->is_cancelled)))
LM_GETTER(get_handle_repr, LmHandle *h = lm_handle(self), lm_none_or(h->repr))
LM_GETTER(get_handle_traceback, LmHandle *h = lm_handle(self),
          lm_none_or(h->source_traceback))

static PyObject *
get_timer_when(PyObject *self, void *closure LM_UNUSED)
{
    return handle_when(self, NULL);
}

/* Asyncio's own methods, where they are patched, set these of a handle that is ours. What
   they would set by themselves lets go of the callback. */
static int
set_handle_cancelled(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    int truth = value != NULL ? PyObject_IsTrue(value) : 0;
    return truth <= 0 ? truth : lm_handle_cancel(self);
}

static int
leave_as_it_is(PyObject *self LM_UNUSED, PyObject *value LM_UNUSED,
               void *closure LM_UNUSED)
{
    return 0;
}

static int
set_timer_scheduled(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    LmHandle *h = lm_handle(self);
    if (value == Py_False && h->node.index == LM_HEAP_ELSEWHERE) {
        h->node.index = LM_HEAP_NOWHERE;
    }
    return 0;
}

LM_GETTER(get_timer_scheduled, LmHandle *h = lm_handle(self),
          PyBool_FromLong(h->node.index != LM_HEAP_NOWHERE))

#define handle_owner(self) lm_handle(self)->loop
LM_OWNED_SHOWN(get_handle_callback, handle_owner)
LM_OWNED_SHOWN(get_handle_args, handle_owner)

static Py_hash_t
timer_hash(PyObject *self)
{
    PyObject *when = handle_when(self, NULL);
    Py_hash_t hash = -1;
    /* By the base's descriptors it may be the handle itself. */
    if (when != NULL && Py_EnterRecursiveCall(" while hashing a timer") == 0) {
        hash = PyObject_Hash(when);
        Py_LeaveRecursiveCall();
    }
    Py_XDECREF(when);
    return hash;
}

/* Callback and arguments, which are compared in this order. */
static PyObject *
get_call(PyObject *self, PyObject *unused LM_UNUSED)
{
    PyObject *callback = get_handle_callback(self, NULL);
    PyObject *args = get_handle_args(self, NULL);
    if (args == NULL) {
        Py_DECREF(callback);
        return NULL;
    }
    return Py_BuildValue("(NN)", callback, args);
}

LM_OWNED_METHOD(get_call, handle_owner)

/* Both are new references, which a comparison that cancels the handles cannot free. */
static int
are_equal(PyObject *a, PyObject *b)
{
    int same = a != NULL && b != NULL ? PyObject_RichCompareBool(a, b, Py_EQ) : -1;
    Py_XDECREF(a);
    Py_XDECREF(b);
    return same;
}

static int
same_timers(PyObject *a, PyObject *b)
{
    LmHandle *x = lm_handle(a), *y = lm_handle(b);
    if (x->due != y->due || LM_LOAD(x->is_cancelled) != LM_LOAD(y->is_cancelled)) {
        return 0;
    }
    PyObject *mine = LM_OWNED(get_call)(a, NULL);
    return are_equal(mine, mine != NULL ? LM_OWNED(get_call)(b, NULL) : NULL);
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
    LM_DOC("cancel($self)",
           "Cancel the callback: it will not run. Has no effect once it has run or "
           "was cancelled.\n\n"
           "Loop's thread only. Implements asyncio.Handle.cancel."));
PyDoc_STRVAR(cancelled_doc,
             LM_DOC("cancelled($self)", "Return True if the callback was cancelled."));
PyDoc_STRVAR(
    when_doc,
    LM_DOC("when($self)",
           "Return the moment the callback is due, in seconds of loop.time().\n\n"
           "Implements asyncio.TimerHandle.when."));
PyDoc_STRVAR(run_doc, LM_DOC("_run($self)", "Run the callback in its context now."));

LM_OWNED_METHOD(handle_run, handle_owner)
LM_OWNED_SHOWN(get_handle_context, handle_owner)
LM_OWNED_SHOWN(get_handle_repr, handle_owner)
LM_OWNED_SHOWN(get_handle_traceback, handle_owner)
LM_OWNED_SETTER(set_timer_scheduled, handle_owner)

/* clang-format off */
#define COMMON_METHODS                                           \
    {"cancel", handle_cancel, METH_NOARGS, cancel_doc},          \
    {"cancelled", handle_cancelled, METH_NOARGS, cancelled_doc}, \
    {"_run", LM_OWNED(handle_run), METH_NOARGS, run_doc}

#define COMMON_GETTERS                                                        \
    {"_loop", get_handle_loop, NULL, NULL, NULL},                             \
    {"_callback", LM_OWNED(get_handle_callback), leave_as_it_is, NULL, NULL}, \
    {"_args", LM_OWNED(get_handle_args), leave_as_it_is, NULL, NULL},         \
    {"_context", LM_OWNED(get_handle_context), NULL, NULL, NULL},             \
    {"_cancelled", get_handle_cancelled, set_handle_cancelled, NULL, NULL},   \
    {"_repr", LM_OWNED(get_handle_repr), leave_as_it_is, NULL, NULL},         \
    {"_source_traceback", LM_OWNED(get_handle_traceback), NULL, NULL, NULL}

static PyMethodDef handle_methods[] = {COMMON_METHODS, {NULL, NULL, 0, NULL}};
static PyMethodDef timer_methods[] = {
    COMMON_METHODS, {"when", handle_when, METH_NOARGS, when_doc}, {NULL, NULL, 0, NULL}};
static PyGetSetDef handle_getset[] = {COMMON_GETTERS, {NULL, NULL, NULL, NULL, NULL}};
static PyGetSetDef timer_getset[] = {
    COMMON_GETTERS,
    {"_when", get_timer_when, NULL, NULL, NULL},
    {"_scheduled", get_timer_scheduled, LM_OWNED(set_timer_scheduled), NULL, NULL},
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
make_handle_type(PyObject *module, const char *name, size_t own_size,
                 PyType_Slot *slots, PyObject *base)
{
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)(lm_handle_offset + (Py_ssize_t)own_size),
        .flags =
            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    return PyType_FromModuleAndSpec(module, &spec, base);
}

#if PY_VERSION_HEX >= 0x030E0000
static PyObject *
safe_cancel(PyObject *self, PyObject *unused)
{
    lm_safe_handle_wait(lm_handle(self));
    PyObject *result = handle_cancel(self, unused);
    lm_safe_handle_waited(lm_handle(self));
    return result;
}

static PyObject *
safe_cancelled(PyObject *self, PyObject *unused)
{
    lm_safe_handle_wait(lm_handle(self));
    PyObject *result = handle_cancelled(self, unused);
    lm_safe_handle_waited(lm_handle(self));
    return result;
}

static PyMethodDef safe_methods[] = {
    {"cancel", safe_cancel, METH_NOARGS, cancel_doc},
    {"cancelled", safe_cancelled, METH_NOARGS, cancelled_doc},
    {"_run", LM_OWNED(handle_run), METH_NOARGS, run_doc},
    {NULL, NULL, 0, NULL}};

static PyType_Slot safe_slots[] = {
    COMMON_SLOTS,
    {Py_tp_doc, "A callback scheduled from another thread; made by the loop."},
    {Py_tp_methods, safe_methods},
    {Py_tp_getset, handle_getset},
    {0, NULL}};

static int
make_safe_type(PyObject *module, LmState *st)
{
    PyObject *base = lm_state_import("asyncio.events", "_ThreadSafeHandle");
    if (base == NULL) {
        return -1;
    }
    st->SafeHandleType = make_handle_type(module, "loopmod._ThreadSafeHandle",
                                          sizeof(LmSafeHandle), safe_slots, base);
    Py_DECREF(base);
    return st->SafeHandleType == NULL
               ? -1
               : PyModule_AddObjectRef(module, "_ThreadSafeHandle", st->SafeHandleType);
}
#else
static int
make_safe_type(PyObject *module LM_UNUSED, LmState *st LM_UNUSED)
{
    return 0;
}
#endif

/* The offset of a slot of asyncio.Handle; -1 where there is none of the name, with no
   exception set. */
static Py_ssize_t
slot_offset(PyTypeObject *type, const char *name)
{
    for (PyMemberDef *member = type->tp_members; member && member->name; member++) {
        if (strcmp(member->name, name) == 0) {
            return member->offset;
        }
    }
    return -1;
}

/* CPython puts slots in the order of their names. Where a version has others, nothing is
   shared with the base: more memory, and else the same. */
static Py_ssize_t
find_offset(PyTypeObject *handle, PyTypeObject *timer_handle)
{
    static const char *const slots[] = {
        "_args", "_callback", "_cancelled",       "_context",
        "_loop", "_repr",     "_source_traceback"};
    Py_ssize_t begin = sizeof(PyObject);
    Py_ssize_t count = sizeof(slots) / sizeof(slots[0]);
    _Static_assert(offsetof(LmHandle, unused) == sizeof(slots), "one field a slot");
    for (Py_ssize_t i = 0; i < count; i++) {
        if (slot_offset(handle, slots[i]) != begin + i * (Py_ssize_t)sizeof(void *)) {
            return timer_handle->tp_basicsize;
        }
    }
    Py_ssize_t end = begin + (Py_ssize_t)offsetof(LmHandle, loop);
    return timer_handle->tp_basicsize <= end ? begin : timer_handle->tp_basicsize;
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
    lm_offset_keep(&lm_handle_offset,
                   find_offset(lm_type(base), lm_type(st->asyncio_TimerHandle)));
    st->HandleType = make_handle_type(module, "loopmod.Handle", sizeof(LmHandle),
                                      handle_slots, base);
    Py_DECREF(base);
    st->TimerHandleType =
        make_handle_type(module, "loopmod.TimerHandle", sizeof(LmHandle), timer_slots,
                         st->asyncio_TimerHandle);
    if (st->HandleType == NULL || st->TimerHandleType == NULL ||
        make_safe_type(module, st) < 0 ||
        PyModule_AddObjectRef(module, "Handle", st->HandleType) < 0) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "TimerHandle", st->TimerHandleType);
}
