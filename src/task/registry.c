/* asyncio's registers of tasks: see registry.h. Relies on mirror.h for tasks that inspectors
   are to find.

   3.11-3.13: all_tasks() reads a WeakSet, whose `data` is a plain set of weak
   references: ours go straight into it. The current task stands in a dict {loop:
   task}. 3.14+: the register is a list in the interpreter that _register_task links to,
   and the slot is in the thread state, reached by _swap_current_task. */
#include "task/registry.h"

#include "base/held.h"
#include "base/oserr.h"
#include "task/mirror.h"

typedef PyObject *(*LmFastFunction)(PyObject *, PyObject *const *, Py_ssize_t,
                                    PyObject *);

#if PY_VERSION_HEX >= 0x030E0000
#define HAS_SWAP 1
#else
#define HAS_SWAP 0
#endif

static int
import_into(PyObject **place, const char *name)
{
    *place = lm_state_import("_asyncio", name);
    return *place != NULL ? 0 : -1;
}

#if HAS_SWAP
/* The list of tasks is read from memory by other processes, who stumble over tasks whose
   words are empty: ours go there only with a mirror, else to the set of eager tasks. */
static int
use_register(LmState *st)
{
    if (lm_mirror_init(st) < 0) {
        return -1;
    }
    if (lm_mirror_is_known(st)) {
        return 0;
    }
    Py_CLEAR(st->register_task);
    Py_CLEAR(st->unregister_task);
    return import_into(&st->register_task, "_register_eager_task") < 0
               ? -1
               : import_into(&st->unregister_task, "_unregister_eager_task");
}

int
lm_registry_init(LmState *st)
{
    st->python_tasks = lm_state_import("asyncio.tasks", "_current_tasks");
    return st->python_tasks == NULL ||
                   import_into(&st->swap_current_task, "_swap_current_task") < 0 ||
                   import_into(&st->register_task, "_register_task") < 0 ||
                   import_into(&st->unregister_task, "_unregister_task") < 0 ||
                   import_into(&st->add_to_awaited_by, "future_add_to_awaited_by") <
                       0 ||
                   import_into(&st->discard_awaited_by,
                               "future_discard_from_awaited_by") < 0
               ? -1
               : use_register(st);
}
#else
#if PY_VERSION_HEX >= 0x030C0000
#define TASK_SET "_scheduled_tasks"
#else
#define TASK_SET "_all_tasks"
#endif

int
lm_registry_init(LmState *st)
{
    if (import_into(&st->current_tasks, "_current_tasks") < 0 ||
        import_into(&st->register_task, "_register_task") < 0 ||
        import_into(&st->unregister_task, "_unregister_task") < 0) {
        return -1;
    }
    PyObject *tasks = lm_state_import("_asyncio", TASK_SET);
    st->scheduled_tasks = tasks != NULL ? PyObject_GetAttrString(tasks, "data") : NULL;
    Py_XDECREF(tasks);
    if (st->scheduled_tasks == NULL || !PySet_CheckExact(st->scheduled_tasks)) {
        /* Not the WeakSet we know: the public functions are slower, and right. */
        PyErr_Clear();
        Py_CLEAR(st->scheduled_tasks);
    }
    return 0;
}
#endif

/* The registers are asked several times in the life of each task: a builtin function is
   entered directly, since the general call costs more than what it does. */
static PyObject *
call_builtin(PyObject *function, PyObject *const *args, Py_ssize_t nargs)
{
    if (LM_LIKELY(PyCFunction_CheckExact(function) &&
                  PyCFunction_GET_FLAGS(function) == (METH_FASTCALL | METH_KEYWORDS))) {
        LmFastFunction entry =
            (LmFastFunction)(void (*)(void))PyCFunction_GET_FUNCTION(function);
        return entry(PyCFunction_GET_SELF(function), args, nargs, NULL);
    }
    return PyObject_Vectorcall(function, args, (size_t)nargs, NULL);
}

static int
call_register(PyObject *function, PyObject *task)
{
    return lm_done(call_builtin(function, &task, 1));
}

int
lm_registry_add(PyObject *task)
{
    LmTask *t = lm_task(task);
    LmState *st = t->future.st;
    if (st->scheduled_tasks == NULL) {
        if (lm_mirror_show_task(task) < 0 ||
            call_register(st->register_task, task) < 0) {
            return -1;
        }
        Py_XSETREF(t->listed, Py_NewRef(Py_True));
        return 0;
    }
    PyObject *ref = PyWeakref_NewRef(task, NULL);
    if (ref == NULL) {
        return -1;
    }
    if (PySet_Add(st->scheduled_tasks, ref) < 0) {
        Py_DECREF(ref);
        return -1;
    }
    Py_XSETREF(t->listed, ref);
    return 0;
}

static void
discard_listed(PyObject *task, PyObject *shown)
{
    LmTask *t = lm_task(task);
    LmState *st = t->future.st;
    /* First: what this runs may remove the task too, and another thread call __del__. */
    PyObject *listed = lm_shared_swap(task, &t->listed, NULL);
    if (listed == NULL) {
        return;
    }
    PyObject *exc = lm_exc_hold();
    int failed = st->scheduled_tasks != NULL
                     ? PySet_Discard(st->scheduled_tasks, listed) < 0
                     : call_register(st->unregister_task, task) < 0;
    if (failed) {
        PyErr_WriteUnraisable(shown);
    }
    Py_DECREF(listed);
    lm_exc_restore(exc);
}

void
lm_registry_remove(PyObject *task)
{
    if (lm_task(task)->listed != NULL) {
        discard_listed(task, task);
    }
}

void
lm_registry_remove_dead(PyObject *task)
{
    LmTask *t = lm_task(task);
    LmState *st = t->future.st;
    if (st->scheduled_tasks != NULL || lm_mirror_is_known(st)) {
        discard_listed(task, NULL);
    }
    else {
        /* The set of eager tasks holds what is in it: somebody has taken it out. */
        Py_CLEAR(t->listed);
    }
}

/* Exchanges what a dict of current tasks names; `task` NULL empties it. The old content as
   a new reference, or NULL. */
static int
swap_in_dict(PyObject *tasks, PyObject *loop, PyObject *task, PyObject **old)
{
    *old = Py_XNewRef(PyDict_GetItemWithError(tasks, loop));
    if (*old == NULL && PyErr_Occurred()) {
        return -1;
    }
    int was_there = *old != NULL;
    if (*old == Py_None) {
        Py_CLEAR(*old);
    }
    int failed = task != NULL ? PyDict_SetItem(tasks, loop, task)
                 : was_there  ? PyDict_DelItem(tasks, loop)
                              : 0;
    if (failed < 0) {
        Py_CLEAR(*old); /* a caller that is told of a failure got nothing */
    }
    return failed;
}

/* The same for the slot. */
static int
swap_slot(LmState *st, PyObject *loop, PyObject *task, PyObject **old)
{
#if HAS_SWAP
    PyObject *args[] = {loop, task != NULL ? task : Py_None};
    PyObject *found = call_builtin(st->swap_current_task, args, 2);
    if (found == NULL) {
        return -1;
    }
    if (found == Py_None) {
        Py_CLEAR(found);
    }
    *old = found;
    return 0;
#else
    return swap_in_dict(st->current_tasks, loop, task, old);
#endif
}


static int
refuse_task(PyObject *task, PyObject *current)
{
    Py_INCREF(current); /* the repr of the first may let go of it */
    PyErr_Format(PyExc_RuntimeError,
                 "Cannot enter into task %R while another task %R is being executed.",
                 task, current);
    Py_DECREF(current);
    return -1;
}

/* The slot was written before it was known that a task in mid-step stood there: that one
   goes back, since it will look for itself when its step is over. */
static int
refuse_entry(LmState *st, PyObject *loop, PyObject *task, PyObject *current)
{
    PyObject *mine = NULL;
    refuse_task(task, current);
    PyObject *exc = lm_exc_hold();
    if (swap_slot(st, loop, current, &mine) < 0) {
        PyErr_WriteUnraisable(task);
    }
    Py_XDECREF(mine);
    Py_DECREF(current);
    lm_exc_restore(exc);
    return -1;
}

/* The slot is believed empty: a task in it is a stdlib task in mid-step. */
static int
enter_empty_slot(LmState *st, PyObject *loop, PyObject *task)
{
    PyObject *old = NULL;
    if (swap_slot(st, loop, task, &old) < 0) {
        return -1;
    }
    return LM_LIKELY(old == NULL) ? 0 : refuse_entry(st, loop, task, old);
}

/* Overwrites the slot, whose content is known to be ours. */
static int
overwrite_slot(LmState *st, PyObject *loop, PyObject *task)
{
#if HAS_SWAP
    PyObject *old = NULL;
    int failed = swap_slot(st, loop, task, &old);
    Py_XDECREF(old);
    return failed;
#else
    return PyDict_SetItem(st->current_tasks, loop, task);
#endif
}

/* Empties the slot, if it still names a task of ours. */
static void
leave_lazily(LmLoop *loop)
{
    PyObject *exc = lm_exc_hold();
    PyObject *old = NULL;
    loop->current_task = NULL;
    Py_INCREF(loop); /* by a task alone, perhaps, which its __hash__ begins anew */
    if (swap_slot(loop->st, (PyObject *)loop, NULL, &old) < 0) {
        PyErr_WriteUnraisable((PyObject *)loop);
    }
    Py_XDECREF(old);
    Py_DECREF(loop);
    lm_exc_restore(exc);
}

/* The references to a task that its own step holds: the slot's and the queue's. */
#define REFS_OF_STEP 2

/* The step is over, and nobody else holds the task: the slot may not keep it alive. Where
   others do, there is time until the slot is written or emptied anyway. */
static void
leave_dead(PyObject *task, LmLoop *loop)
{
#if HAS_SWAP
    (void)task;
    lm_loop_leave_task(loop);
#else
    if (loop->current_task != task) {
        lm_loop_leave_task(loop);
        return;
    }
    /* To current_task() None in the dict is as good as no entry, and the next task writes
       over it; before other code runs the entry goes (leave_lazily). */
    PyObject *exc = lm_exc_hold();
    if (PyDict_SetItem(loop->st->current_tasks, (PyObject *)loop, Py_None) < 0) {
        PyErr_WriteUnraisable((PyObject *)loop);
    }
    loop->current_task = Py_None;
    lm_exc_restore(exc);
#endif
}

/* Whether the task ends when the slot lets go of it: that must be before another one is
   the current task. */
static int
is_held_by_slot(PyObject *current)
{
    return current != NULL && Py_REFCNT(current) == 1;
}

int
lm_registry_enter(PyObject *task, PyObject *held)
{
    LmFuture *f = &lm_task(task)->future;
    if (LM_UNLIKELY(!f->is_native)) {
        /* Made while the loop was not plain: the slot may name one made at another time. */
        if (lm_loop_is_ours(f->st, held)) {
            lm_loop_leave_task((LmLoop *)held);
        }
        return enter_empty_slot(f->st, held, task);
    }
    LmLoop *loop = (LmLoop *)held;
    if (LM_UNLIKELY(loop->stepping != NULL)) {
        return refuse_task(task, loop->stepping);
    }
    if (loop->current_task == task) {
        return 0; /* its last step was the last thing that ran: the slot still names it */
    }
    if (LM_UNLIKELY(is_held_by_slot(loop->current_task))) {
        leave_lazily(loop);
    }
    int failed = loop->current_task != NULL ? overwrite_slot(f->st, held, task)
                                            : enter_empty_slot(f->st, held, task);
    if (LM_UNLIKELY(failed < 0)) {
        return -1;
    }
    loop->current_task = task;
    loop->leave_task = leave_lazily;
    return 0;
}

static LM_APART void
leave_unnoted(PyObject *task, PyObject *held)
{
    LmFuture *f = &lm_task(task)->future;
    /* Nothing notes it as its loop's current task, so nobody would empty the slot later. */
    PyObject *exc = lm_exc_hold();
    PyObject *old = NULL;
    if (swap_slot(f->st, held, NULL, &old) < 0) {
        PyErr_WriteUnraisable(task);
    }
    Py_XDECREF(old);
    lm_exc_restore(exc);
}

void
lm_registry_leave(PyObject *task, PyObject *held)
{
    LmFuture *f = &lm_task(task)->future;
    if (LM_LIKELY(f->is_native && f->loop == held)) {
        if (LM_UNLIKELY(Py_REFCNT(task) <= REFS_OF_STEP)) {
            leave_dead(task, (LmLoop *)held);
        }
        return;
    }
    if (lm_loop_is_ours(f->st, held) && ((LmLoop *)held)->current_task == task) {
        lm_loop_leave_task((LmLoop *)held); /* begun anew for another loop */
        return;
    }
    leave_unnoted(task, held);
}

/* What the slot named before is there again, or will be once a stdlib task has ended that was
   started eagerly in between: a native task in mid-step is noted anew, so that the loop
   empties the slot after it. Of all others the step itself empties it. */
static void
note_stepping(LmLoop *loop)
{
    loop->current_task = loop->stepping;
    loop->leave_task = leave_lazily;
}

int
lm_registry_swap(LmState *st, PyObject *loop, PyObject *task, PyObject **previous)
{
    *previous = NULL;
    if (swap_slot(st, loop, task, previous) < 0) {
        return -1;
    }
    if (lm_loop_is_ours(st, loop)) {
        ((LmLoop *)loop)->current_task = NULL;
    }
    return 0;
}

int
lm_registry_swap_back(LmState *st, PyObject *loop, PyObject *previous)
{
    PyObject *exc = lm_exc_hold();
    PyObject *mine = NULL;
    int failed = previous != NULL ? overwrite_slot(st, loop, previous)
                                  : swap_slot(st, loop, NULL, &mine);
    Py_XDECREF(mine);
    if (lm_loop_is_ours(st, loop)) {
        note_stepping((LmLoop *)loop);
    }
    Py_XDECREF(previous);
    lm_exc_restore(exc);
    return failed;
}

/* Exchanges what the slot of asyncio's tasks in Python names, where they have one of their
   own; as swap_slot. */
static int
swap_python_slot(LmState *st, PyObject *loop, PyObject *task, PyObject **old)
{
#if HAS_SWAP
    return swap_in_dict(st->python_tasks, loop, task, old);
#else
    *old = NULL;
    return 0;
#endif
}

int
lm_registry_suspend(LmState *st, PyObject *loop, LmSuspended *suspended)
{
    int is_ours = lm_loop_is_ours(st, loop);
    if (is_ours) {
        suspended->stepping = ((LmLoop *)loop)->stepping;
        /* A task that is named lazily is not in mid-step, and not to come back. */
        lm_loop_leave_task((LmLoop *)loop);
    }
    if (swap_slot(st, loop, NULL, &suspended->task) < 0 ||
        swap_python_slot(st, loop, NULL, &suspended->python_task) < 0) {
        return -1;
    }
    if (is_ours) {
        ((LmLoop *)loop)->current_task = NULL;
        ((LmLoop *)loop)->stepping = NULL;
    }
    return 0;
}

int
lm_registry_resume(LmState *st, PyObject *loop, LmSuspended *suspended)
{
    PyObject *task = suspended->task, *python_task = suspended->python_task;
    PyObject *found = NULL;
    int failed = task != NULL ? swap_slot(st, loop, task, &found) : 0;
    Py_CLEAR(found);
    if (lm_loop_is_ours(st, loop)) {
        ((LmLoop *)loop)->stepping = suspended->stepping;
        note_stepping((LmLoop *)loop);
    }
    if (python_task != NULL && swap_python_slot(st, loop, python_task, &found) < 0) {
        failed = -1;
    }
    Py_XDECREF(found);
    lm_registry_forget(suspended);
    return failed;
}

void
lm_registry_forget(LmSuspended *suspended)
{
    Py_CLEAR(suspended->task);
    Py_CLEAR(suspended->python_task);
}
