/* The Python type Task: slots, methods and the type itself over task.h. Relies on
   registry.h for asyncio's registers, future_methods.h for what Future has too. */
#include "task/task.h"

#include "base/args.h"
#include "base/held.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "core/fault.h"
#include "core/inbox.h"
#include "core/owner.h"
#include "task/future_iter.h"
#include "task/future_methods.h"
#include "task/mirror.h"
#include "task/registry.h"
#include "task/step.h"

static PyObject *
task_new(PyTypeObject *type, PyObject *args LM_UNUSED, PyObject *kwargs LM_UNUSED)
{
    LmState *st = lm_state_of_type(type);
    PyObject *self = st != NULL ? type->tp_alloc(type, 0) : NULL;
    if (self != NULL) {
        lm_future_hold_state(lm_future(self), st);
        lm_future(self)->is_task = 1;
    }
    return self;
}

static int
loop_is_running(LmState *st, PyObject *loop)
{
    PyObject *answer = lm_held_call(loop, st->str.is_running);
    int running = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return running;
}

static int
task_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *coro, *loop = NULL, *name = NULL, *context = NULL;
    int eager = 0;
#if PY_VERSION_HEX >= 0x030C0000
    static char *names[] = {"coro", "loop", "name", "context", "eager_start", NULL};
    const char *format = "O|$OOOp:Task";
#else
    static char *names[] = {"coro", "loop", "name", "context", NULL};
    const char *format = "O|$OOO:Task";
#endif
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, format, names, &coro, &loop, &name,
                                     &context, &eager) ||
        lm_future_setup(self, loop) < 0) {
        return -1;
    }
    LmFuture *f = lm_future(self);
    if (eager && (eager = loop_is_running(f->st, f->loop)) < 0) {
        return -1;
    }
    LmLoop *home = lm_future_owner(self);
    int is_taken = home != NULL ? lm_owner_begin(home) : 0;
    int failed = is_taken < 0 ? -1 : lm_task_begin(self, coro, name, context, eager);
    if (is_taken > 0) {
        lm_owner_end(home);
    }
    return failed;
}

LM_OWNED_INIT(task_init, lm_future_owner)

static int
task_traverse(PyObject *self, visitproc visit, void *arg)
{
    LmTask *t = lm_task(self);
    PyTypeObject *base = lm_type(t->future.st->asyncio_Task);
    if (!(base->tp_flags & Py_TPFLAGS_HEAPTYPE)) {
        Py_VISIT(Py_TYPE(self));
    }
    Py_VISIT(t->coro);
    Py_VISIT(t->context);
    Py_VISIT(t->name);
    Py_VISIT(t->awaits);
    int failed = lm_future_traverse_fields(&t->future, visit, arg);
    return failed ? failed : base->tp_traverse(self, visit, arg);
}

static int
task_clear(PyObject *self)
{
    LmTask *t = lm_task(self);
    lm_future_clear_fields(&t->future);
    Py_XDECREF(lm_shared_swap(self, &t->coro, NULL));
    Py_CLEAR(t->name);
    Py_CLEAR(t->awaits);
    return lm_type(t->future.st->asyncio_Task)->tp_clear(self);
}

/* To be told at its end: that it is pending. */
static inline int
ends_pending(const LmTask *t)
{
    return t->future.state == LM_PENDING && t->log_destroy_pending;
}

static inline int
has_report(const LmTask *t)
{
    return LM_LOAD(t->future.log_traceback) || ends_pending(t);
}

static void
report_end(PyObject *self)
{
    LmTask *t = lm_task(self);
    if (t->future.loop != NULL && ends_pending(t) &&
        lm_fault_report(t->future.loop, t->future.st,
                        "Task was destroyed but it is pending!", "task", self,
                        "source_traceback", LM_RARE(&t->future, source_traceback),
                        NULL) < 0) {
        PyErr_WriteUnraisable(self);
    }
    lm_future_report_unread(self);
}

#if LM_FREE_THREADED
/* Ready-queue function. */
static int
report_end_at_home(LmLoop *loop LM_UNUSED, PyObject *self)
{
    report_end(self);
    Py_DECREF(self);
    return 0;
}

/* The exception handler is called in the task's context, which is for who runs the loop to
   ask: the task lives until that has told of its end. 1 where it is left to that. */
static int
leave_report_to_loop(PyObject *self)
{
    LmLoop *loop = lm_future_owner(self);
    if (loop == NULL || lm_owner_is_home(loop) || LM_LOAD(loop->thread_id) == 0) {
        return 0;
    }
    if (lm_inbox_push(loop, report_end_at_home, Py_NewRef(self)) < 0) {
        PyErr_Clear();
        return 0;
    }
    return 1;
}
#else
static int
leave_report_to_loop(PyObject *self LM_UNUSED)
{
    return 0;
}
#endif

static void
task_finalize(PyObject *self)
{
    PyObject *exc = lm_exc_hold();
    if (has_report(lm_task(self)) && !leave_report_to_loop(self)) {
        report_end(self);
    }
    lm_registry_remove(self);
    lm_exc_restore(exc);
}

/* By the loop that made it, which is ours. A finalizer that was called once is never called
   again. */
static int
keep_for_reuse(PyObject *self, LmLoop *loop)
{
    return Py_IS_TYPE(self, lm_type(loop->st->TaskType)) &&
           !PyObject_GC_IsFinalized(self) &&
           lm_freelist_give(LM_SPARE(loop, tasks), self, LM_FREELIST_SIZE);
}

static void
task_dealloc(PyObject *self)
{
    LmTask *t = lm_task(self);
    if ((has_report(t) || t->listed != NULL) &&
        Py_IS_TYPE(self, lm_type(t->future.st->TaskType)) &&
        PyObject_CallFinalizerFromDealloc(self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    LM_TRASHCAN_BEGIN(self, task_dealloc)
    lm_clear_weakrefs(self);
    if (LM_UNLIKELY(t->listed != NULL)) {
        /* A finalizer in Python need not have called ours, and is never called twice: a
           dead task must not stay in the register. */
        lm_registry_remove_dead(self);
    }
    task_clear(self);
    Py_CLEAR(t->context);
    PyObject *loop = t->future.loop;
    t->future.loop = NULL;
    LmState *held = t->future.holds_state ? t->future.st : NULL;
    if (held != NULL || !keep_for_reuse(self, (LmLoop *)loop)) {
        lm_free_instance(self);
    }
    if (held != NULL) {
        lm_state_drop(held);
    }
    Py_XDECREF(loop);
    LM_TRASHCAN_END
}

static PyObject *
task_repr(PyObject *self)
{
    LmFuture *f = lm_future(self);
    return lm_future_check_ready(f) < 0
               ? NULL
               : lm_state_support(f->st, "task_repr", "O", self);
}

static PyObject *
task_set_result(PyObject *self LM_UNUSED, PyObject *unused LM_UNUSED)
{
    PyErr_SetString(PyExc_RuntimeError, "Task does not support set_result operation");
    return NULL;
}

static PyObject *
task_set_exception(PyObject *self LM_UNUSED, PyObject *unused LM_UNUSED)
{
    PyErr_SetString(PyExc_RuntimeError,
                    "Task does not support set_exception operation");
    return NULL;
}

static PyObject *
task_cancel(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *message = lm_future_parse_cancel(args, nargs, kwnames);
    if (message == NULL || lm_future_check_ready(lm_future(self)) < 0) {
        return NULL;
    }
    int cancelled = lm_task_cancel(self, message);
    return cancelled < 0 ? NULL : PyBool_FromLong(cancelled);
}

static PyObject *
task_cancelling(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyLong_FromLong(LM_LOAD(lm_task(self)->cancels_requested));
}

static PyObject *
task_uncancel(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTask *t = lm_task(self);
    if (t->cancels_requested > 0) {
        LM_STORE(t->cancels_requested, t->cancels_requested - 1);
#if PY_VERSION_HEX >= 0x030D0000
        if (t->cancels_requested == 0) {
            t->must_cancel = 0;
        }
#endif
    }
    return PyLong_FromLong(t->cancels_requested);
}

static PyObject *
task_get_stack(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    static const char *const names[] = {"limit", NULL};
    PyObject *limit = Py_None;
    LmFuture *f = lm_future(self);
    if (lm_future_check_ready(f) < 0 ||
        lm_args_parse("get_stack", args, nargs, kwnames, 0, 0, names, &limit) < 0) {
        return NULL;
    }
    return lm_state_support(f->st, "task_get_stack", "OO", self, limit);
}

static PyObject *
task_print_stack(PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    static const char *const names[] = {"limit", "file", NULL};
    PyObject *values[] = {Py_None, Py_None};
    LmFuture *f = lm_future(self);
    if (lm_future_check_ready(f) < 0 ||
        lm_args_parse("print_stack", args, nargs, kwnames, 0, 0, names, values) < 0) {
        return NULL;
    }
    return lm_state_support(f->st, "task_print_stack", "OOO", self, values[0],
                            values[1]);
}

/* Without a GIL any thread may ask for the name, and change it. */
static PyObject *
task_name(PyObject *self)
{
    LmTask *t = lm_task(self);
    if (t->name == NULL) {
        if (t->number == 0) {
            Py_RETURN_NONE;
        }
        t->name = PyUnicode_FromFormat("Task-%llu", (unsigned long long)t->number);
        lm_mirror_show_name(self);
    }
    return Py_XNewRef(t->name);
}

static PyObject *
task_get_name(PyObject *self, PyObject *unused LM_UNUSED)
{
    PyObject *name;
    LM_BEGIN_SECTION(self)
    name = task_name(self);
    LM_END_SECTION
    return name;
}

static PyObject *
task_set_name(PyObject *self, PyObject *value)
{
    return lm_none_if(lm_task_set_name(self, value));
}

static PyObject *
get_task_coro(PyObject *self, void *closure LM_UNUSED)
{
    PyObject *coro = lm_shared_get(self, &lm_task(self)->coro);
    return coro != NULL ? coro : Py_NewRef(Py_None);
}

static PyObject *
task_get_coro(PyObject *self, PyObject *unused LM_UNUSED)
{
    return get_task_coro(self, NULL);
}

#if PY_VERSION_HEX >= 0x030C0000
static PyObject *
task_get_context(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTask *t = lm_task(self);
    return t->context != NULL ? lm_task_context(t) : Py_NewRef(Py_None);
}
#endif

/* For tools that put a coroutine of theirs around a task's, as asyncio's tasks in Python
   allow it. A step that runs goes on with the one that it began with. */
static int
set_task_coro(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    LmTask *t = lm_task(self);
    if (lm_check_not_deleted(value) < 0) {
        return -1;
    }
    PyObject *old = lm_shared_swap(self, &t->coro, Py_NewRef(value));
    lm_mirror_show_coro(self);
    Py_XDECREF(old);
    return 0;
}

LM_GETTER(get_task_awaits, LmTask *t = lm_task(self), lm_none_or(t->awaits))
LM_GETTER(get_task_must_cancel, LmTask *t = lm_task(self),
          PyBool_FromLong(t->must_cancel))
LM_GETTER(get_task_log_pending, LmTask *t = lm_task(self),
          PyBool_FromLong(t->log_destroy_pending))

static int
set_task_log_pending(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    if (lm_check_not_deleted(value) < 0) {
        return -1;
    }
    int truth = PyObject_IsTrue(value);
    if (truth >= 0) {
        lm_task(self)->log_destroy_pending = (uint8_t)truth;
    }
    return truth < 0 ? -1 : 0;
}

LM_OWNED_METHOD(task_uncancel, lm_future_owner)
LM_OWNED_METHOD(task_get_context, lm_future_owner)
LM_OWNED_FASTCALL(task_cancel, lm_future_owner)
LM_OWNED_FASTCALL(task_get_stack, lm_future_owner)
LM_OWNED_FASTCALL(task_print_stack, lm_future_owner)
LM_OWNED_SETTER(set_task_coro, lm_future_owner)
LM_OWNED_SHOWN(get_task_awaits, lm_future_owner)
LM_OWNED_SHOWN(get_task_must_cancel, lm_future_owner)
LM_OWNED_SHOWN(get_task_log_pending, lm_future_owner)
LM_OWNED_SETTER(set_task_log_pending, lm_future_owner)

static PyMethodDef task_methods[] = {
    LM_FUTURE_COMMON_METHODS,
    {"set_result", task_set_result, METH_O,
     LM_DOC("set_result($self, result, /)", "Raise RuntimeError.")},
    {"set_exception", task_set_exception, METH_O,
     LM_DOC("set_exception($self, exception, /)", "Raise RuntimeError.")},
    {"cancel", LM_FASTCALL(LM_OWNED(task_cancel)),
     LM_DOC("cancel($self, msg=None)",
            "Request that CancelledError(msg) be thrown into the coroutine; return "
            "False if it is done.\n\n"
            "Loop's thread only. Implements asyncio.Task.cancel.")},
    {"cancelling", task_cancelling, METH_NOARGS,
     LM_DOC("cancelling($self)",
            "Return the number of cancellation requests not yet uncancelled.")},
    {"uncancel", LM_OWNED(task_uncancel), METH_NOARGS,
     LM_DOC("uncancel($self)",
            "Take back one cancellation request; return how many remain.\n\n"
            "Implements asyncio.Task.uncancel.")},
    {"get_stack", LM_FASTCALL(LM_OWNED(task_get_stack)),
     LM_DOC("get_stack($self, *, limit=None)",
            "Return the frames of the suspended or failed coroutine.\n\n"
            "Implements asyncio.Task.get_stack.")},
    {"print_stack", LM_FASTCALL(LM_OWNED(task_print_stack)),
     LM_DOC("print_stack($self, *, limit=None, file=None)",
            "Print the stack or traceback.\n\n"
            "Implements asyncio.Task.print_stack.")},
    {"get_name", task_get_name, METH_NOARGS,
     LM_DOC("get_name($self)", "Return the name.")},
    {"set_name", task_set_name, METH_O,
     LM_DOC("set_name($self, value, /)", "Set the name to str(value).")},
    {"get_coro", task_get_coro, METH_NOARGS,
     LM_DOC("get_coro($self)", "Return the coroutine.")},
#if PY_VERSION_HEX >= 0x030C0000
    {"get_context", LM_OWNED(task_get_context), METH_NOARGS,
     LM_DOC("get_context($self)", "Return the contextvars.Context it runs in.")},
#endif
    {NULL, NULL, 0, NULL}};

static PyGetSetDef task_getset[] = {
    LM_FUTURE_COMMON_GETSET,
    {"_coro", get_task_coro, LM_OWNED(set_task_coro), NULL, NULL},
    {"_fut_waiter", LM_OWNED(get_task_awaits), NULL, NULL, NULL},
    {"_must_cancel", LM_OWNED(get_task_must_cancel), NULL, NULL, NULL},
    {"_log_destroy_pending", LM_OWNED(get_task_log_pending),
     LM_OWNED(set_task_log_pending), NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL}};

#if PY_VERSION_HEX >= 0x030C0000
#define EAGER_START ", eager_start=False"
#else
#define EAGER_START ""
#endif

static PyType_Slot task_slots[] = {
    {Py_tp_doc,
     "Task(coro, *, loop=None, name=None, context=None" EAGER_START ")\n--\n\n"
     "A coroutine that runs on the loop. Implements asyncio.Task."},
    {Py_tp_new, task_new},
    {Py_tp_init, LM_OWNED(task_init)},
    {Py_tp_dealloc, task_dealloc},
    {Py_tp_finalize, task_finalize},
    {Py_tp_traverse, task_traverse},
    {Py_tp_clear, task_clear},
    {Py_tp_repr, task_repr},
    {Py_tp_methods, task_methods},
    {Py_tp_getset, task_getset},
    {Py_tp_iter, lm_future_iter_new},
    {Py_am_await, lm_future_iter_new},
    {0, NULL}};

int
lm_task_init(PyObject *module, LmState *st)
{
    lm_task_step_init(st);
    st->iscoroutine = lm_state_import("asyncio", "iscoroutine");
    if (st->iscoroutine == NULL || lm_registry_init(st) < 0) {
        return -1;
    }
    lm_offset_keep(&lm_task_offset, lm_offset_behind(st->asyncio_Task));
    PyType_Spec spec = {
        .name = "loopmod.Task",
        .basicsize = (int)(lm_task_offset + (Py_ssize_t)sizeof(LmTask)),
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
        .slots = task_slots,
    };
    st->TaskType = PyType_FromModuleAndSpec(module, &spec, st->asyncio_Task);
    if (st->TaskType == NULL) {
        return -1;
    }
    lm_future_place(st->TaskType, lm_task_offset);
    lm_type_drop_inline_values(st->TaskType);
    return PyModule_AddObjectRef(module, "Task", st->TaskType);
}
