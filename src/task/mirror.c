/* Calibration and writing of the words that inspectors read: see mirror.h. */
#include "task/mirror.h"

#include "base/oserr.h"

#if PY_VERSION_HEX < 0x030E0000

int
lm_mirror_init(LmState *st LM_UNUSED)
{
    return 0;
}

int
lm_mirror_is_known(LmState *st LM_UNUSED)
{
    return 0;
}

int
lm_mirror_show_task(PyObject *task LM_UNUSED)
{
    return 0;
}

void
lm_mirror_show_name(PyObject *task LM_UNUSED)
{
}

void
lm_mirror_show_coro(PyObject *task LM_UNUSED)
{
}

void
lm_mirror_show_await(PyObject *future LM_UNUSED, PyObject *task LM_UNUSED)
{
}

void
lm_mirror_hide_await(PyObject *future LM_UNUSED, PyObject *task LM_UNUSED)
{
}

#else

static PyObject **
word_at(PyObject *obj, Py_ssize_t offset)
{
    return (PyObject **)((char *)obj + offset);
}

/* The one word of the object that points to `target`; 0 where none or several do. */
static Py_ssize_t
find_word(PyObject *obj, Py_ssize_t size, PyObject *target)
{
    Py_ssize_t found = 0;
    for (Py_ssize_t at = (Py_ssize_t)sizeof(PyObject);
         at + (Py_ssize_t)sizeof(void *) <= size; at += (Py_ssize_t)sizeof(void *)) {
        if (*word_at(obj, at) == target) {
            if (found != 0) {
                return 0;
            }
            found = at;
        }
    }
    return found;
}

/* The one byte that is 1 in a task and 0 in a future, behind the awaiter's word. */
static Py_ssize_t
find_is_task(PyObject *task, PyObject *future, Py_ssize_t begin, Py_ssize_t end)
{
    Py_ssize_t found = 0;
    for (Py_ssize_t at = begin; at < end; at++) {
        if (((char *)task)[at] == 1 && ((char *)future)[at] == 0) {
            if (found != 0) {
                return 0;
            }
            found = at;
        }
    }
    return found;
}

/* What loopmod.specimens makes for the purpose: a pending stdlib task, its coroutine and
   name, and a pending stdlib future that the task is said to await. */
static int
calibrate(LmState *st, PyObject *specimen)
{
    PyObject *task, *coro, *name, *future;
    if (!PyArg_ParseTuple(specimen, "OOOO", &task, &coro, &name, &future)) {
        return -1;
    }
    Py_ssize_t task_size = lm_type(st->asyncio_Task)->tp_basicsize;
    Py_ssize_t future_size = lm_type(st->asyncio_Future)->tp_basicsize;
    LmMirror places = {
        .coro = find_word(task, task_size, coro),
        .name = find_word(task, task_size, name),
        .awaited_by = find_word(future, future_size, task),
    };
    if (places.awaited_by != 0) {
        places.is_task = find_is_task(
            task, future, places.awaited_by + (Py_ssize_t)sizeof(void *), future_size);
    }
#if LM_FREE_THREADED
    places.thread = find_word(task, task_size, (PyObject *)lm_this_thread());
#endif
    if (places.coro != 0 && places.name != 0 && places.is_task != 0) {
        places.is_known = 1;
        st->mirror = places;
    }
    return 0;
}

int
lm_mirror_init(LmState *st)
{
    PyObject *specimen =
        lm_state_support(st, "mirror_specimen", "O", st->add_to_awaited_by);
    int failed = specimen == NULL ? -1 : calibrate(st, specimen);
    Py_XDECREF(specimen);
    return failed;
}

int
lm_mirror_is_known(LmState *st)
{
    return st->mirror.is_known;
}

static void
write_word(PyObject *obj, Py_ssize_t offset, PyObject *value)
{
    PyObject **word = word_at(obj, offset);
    PyObject *old = *word;
    *word = Py_XNewRef(value);
    Py_XDECREF(old);
}

/* Without a GIL all_tasks() takes a reference to what another thread's list has, which the
   task has to allow; and who leaves that list stops the world unless it is the thread's own. */
static void
show_thread(PyObject *self, const LmMirror *places)
{
#if LM_FREE_THREADED
    PyUnstable_EnableTryIncRef(self);
    if (places->thread != 0) {
        *(uintptr_t *)((char *)self + places->thread) = lm_this_thread();
    }
#else
    (void)self;
    (void)places;
#endif
}

int
lm_mirror_show_task(PyObject *self)
{
    LmTask *t = lm_task(self);
    const LmMirror *places = &t->future.st->mirror;
    if (!places->is_known) {
        return 0;
    }
    /* As in a stdlib task: the number of a default name until somebody asks for the text. */
    PyObject *name =
        t->name != NULL ? Py_NewRef(t->name) : PyLong_FromUnsignedLongLong(t->number);
    if (name == NULL) {
        return -1;
    }
    write_word(self, places->coro, t->coro);
    write_word(self, places->name, name);
    Py_DECREF(name);
    ((char *)self)[places->is_task] = 1;
    show_thread(self, places);
    return 0;
}

void
lm_mirror_show_name(PyObject *self)
{
    LmTask *t = lm_task(self);
    const LmMirror *places = &t->future.st->mirror;
    if (places->is_known && t->coro != NULL && t->name != NULL) {
        write_word(self, places->name, t->name);
    }
}

void
lm_mirror_show_coro(PyObject *self)
{
    LmTask *t = lm_task(self);
    const LmMirror *places = &t->future.st->mirror;
    if (places->is_known && t->listed != NULL) {
        write_word(self, places->coro, t->coro);
    }
}

static void
call_awaited_by(PyObject *function, PyObject *future, PyObject *task)
{
    PyObject *exc = lm_exc_hold();
    PyObject *args[] = {future, task};
    PyObject *done = PyObject_Vectorcall(function, args, 2, NULL);
    if (done == NULL) {
        PyErr_WriteUnraisable(task);
    }
    Py_XDECREF(done);
    lm_exc_restore(exc);
}

/* The word may be used directly in our own types only: others may be of any layout. */
static PyObject **
awaiter_word(LmState *st, PyObject *future)
{
    return st->mirror.is_known && lm_future_is_exact(st, future)
               ? word_at(future, st->mirror.awaited_by)
               : NULL;
}

void
lm_mirror_show_await(PyObject *future, PyObject *task)
{
    LmState *st = lm_task(task)->future.st;
    PyObject **word = awaiter_word(st, future);
    if (word != NULL && *word == NULL) {
        *word = Py_NewRef(task);
        return;
    }
    call_awaited_by(st->add_to_awaited_by, future, task);
}

void
lm_mirror_hide_await(PyObject *future, PyObject *task)
{
    LmState *st = lm_task(task)->future.st;
    PyObject **word = awaiter_word(st, future);
    if (word != NULL && *word == task) {
        *word = NULL;
        Py_DECREF(task);
        return;
    }
    call_awaited_by(st->discard_awaited_by, future, task);
}

#endif
