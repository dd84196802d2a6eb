/* Making of tasks: see task.h. Relies on registry.h for asyncio's registers, step.h for
   the first step. */
#include "task/task.h"

#include "core/context.h"
#include "task/mirror.h"
#include "task/registry.h"
#include "task/step.h"

static int
check_coroutine(LmState *st, PyObject *coro)
{
    if (LM_LIKELY(PyCoro_CheckExact(coro))) {
        return 0;
    }
    PyObject *answer = PyObject_CallOneArg(st->iscoroutine, coro);
    int is_coroutine = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    if (is_coroutine == 0) {
        PyErr_Format(PyExc_TypeError, "a coroutine was expected, got %R", coro);
    }
    return is_coroutine > 0 ? 0 : -1;
}

/* Of a default name. Without a GIL a loop takes so many at a time, and gives back what it has
   not given away when it becomes idle (core/owner.c): loops that run one after the other count
   on, as in asyncio. */
#define NUMBERS_TAKEN 64

static uint64_t
next_number(const LmFuture *f)
{
#if LM_FREE_THREADED
    LmLoop *loop = f->is_native ? (LmLoop *)f->loop : NULL;
    if (loop == NULL || !lm_owner_is_home(loop)) {
        return LM_ADD(f->st->shared->task_names, 1);
    }
    if (loop->first_name == loop->last_name) {
        loop->last_name = LM_ADD(f->st->shared->task_names, NUMBERS_TAKEN);
        loop->first_name = loop->last_name - NUMBERS_TAKEN;
    }
    return ++loop->first_name;
#else
    return ++f->st->shared->task_names;
#endif
}

static PyObject *
text_of_name(PyObject *name)
{
    return PyUnicode_CheckExact(name) ? Py_NewRef(name) : PyObject_Str(name);
}

static int
set_name(LmTask *t, PyObject *name)
{
    PyObject *text = NULL;
    if (name == NULL || name == Py_None) {
        t->number = next_number(&t->future);
    }
    else {
        text = text_of_name(name);
        if (text == NULL) {
            return -1;
        }
    }
    Py_XSETREF(t->name, text);
    return 0;
}

static int
set_context(LmTask *t, PyObject *context)
{
    LmFuture *f = &t->future;
    t->is_context_new = 0;
    if (context == NULL || context == Py_None) {
        t->is_context_new = f->is_native;
        context = f->is_native ? lm_context_of_queued((LmLoop *)f->loop)
                               : lm_context_snapshot();
        if (context == NULL) {
            return -1;
        }
    }
    else {
#if PY_VERSION_HEX >= 0x030F0000
        if (!PyContext_CheckExact(context)) {
            PyErr_Format(PyExc_TypeError, "context must be a Context, not %T", context);
            return -1;
        }
#endif
        Py_INCREF(context);
    }
    Py_XSETREF(t->context, context);
    t->is_context_shown = 0;
    return 0;
}

int
lm_task_set_name(PyObject *self, PyObject *value)
{
    const LmState *st = lm_task(self)->future.st;
    PyObject *text = value == Py_None ? Py_NewRef(st->str.None) : text_of_name(value);
    if (text == NULL) {
        return -1;
    }
    PyObject *old;
    LM_BEGIN_SECTION(self)
    old = lm_task(self)->name;
    lm_task(self)->name = text;
    lm_mirror_show_name(self);
    LM_END_SECTION
    Py_XDECREF(old);
    return 0;
}

int
lm_task_begin(PyObject *self, PyObject *coro, PyObject *name, PyObject *context,
              int eager)
{
    LmTask *t = lm_task(self);
    t->future.is_task = 1;
    t->log_destroy_pending = 0;
    if (check_coroutine(t->future.st, coro) < 0 || set_context(t, context) < 0 ||
        set_name(t, name) < 0) {
        return -1;
    }
    if (t->coro == NULL) {
        t->coro = Py_NewRef(coro); /* of one that nobody has found yet */
    }
    else {
        Py_XDECREF(lm_shared_swap(self, &t->coro, Py_NewRef(coro)));
    }
    Py_CLEAR(t->awaits);
    if (t->future.has_rare) {
        Py_CLEAR(t->future.rare->raising);
    }
    t->must_cancel = 0;
    t->cancels_requested = 0;
    t->log_destroy_pending = 1;
    if (LM_UNLIKELY(t->listed != NULL)) {
        lm_registry_remove(self);
    }
    if (lm_registry_add(self) < 0) {
        return -1;
    }
    return eager ? lm_task_start_eagerly(self) : lm_task_schedule(self);
}

/* Every task of a loop's own is made here. */
LM_INLINE PyObject *
make_task(LmLoop *loop)
{
    PyTypeObject *type = lm_type(loop->st->TaskType);
    PyObject *self = lm_freelist_alloc(LM_SPARE(loop, tasks), type);
    if (self == NULL) {
        return NULL;
    }
    LmFuture *f = &lm_task(self)->future;
    f->st = loop->st;
    f->is_task = 1;
    PyObject_GC_Track(self);
    if (LM_LIKELY(LM_LOAD(loop->is_plain) && !LM_LOAD(loop->is_debug))) {
        f->loop = Py_NewRef(loop);
        f->is_native = 1;
    }
    else if (lm_future_setup(self, (PyObject *)loop) < 0) {
        Py_CLEAR(self);
    }
    return self;
}

PyObject *
lm_task_make(LmLoop *loop)
{
    return make_task(loop);
}

PyObject *
lm_task_new(LmLoop *loop, PyObject *coro, PyObject *name, PyObject *context, int eager)
{
    PyObject *self = make_task(loop);
    if (self != NULL &&
        lm_task_begin(self, coro, name, context, eager && loop->thread_id != 0) < 0) {
        Py_CLEAR(self);
    }
    return self;
}
