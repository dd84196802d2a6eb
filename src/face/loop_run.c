/* Methods of Loop that begin, end and close a run. Relies on core/run.h and
   os/signals.h. */
#include "face/loop_type.h"

#include "base/args.h"
#include "base/held.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "core/handle.h"
#include "core/patched.h"
#include "core/run.h"
#include "net/kept.h"
#include "net/readers.h"
#include "os/resolver.h"
#include "os/signals.h"
#include "task/future.h"
#include "task/registry.h"

/* What the thread held before the run, to be put back after it. */
typedef struct {
    PyObject *asyncgen_hooks;
    PyObject *outer_loop; /* of a run within a run, which may be another loop's */
    LmSuspended outer;
    int tracks_origins;
} Surroundings;

/* 1 where the program has asked for runs within runs, of us or of nest_asyncio, which
   marks the asyncio module; -1 with an exception set. */
static int
may_nest(LmState *st)
{
    if (LM_LOAD(st->shared->nesting_allowed)) {
        return 1;
    }
    PyObject *asyncio = PyImport_ImportModule("asyncio");
    if (asyncio == NULL) {
        return -1;
    }
    PyObject *mark;
    int marked = PyObject_GetOptionalAttrString(asyncio, "_nest_patched", &mark);
    Py_XDECREF(mark);
    Py_DECREF(asyncio);
    return marked;
}

static int
refuse_run(LmState *st, const char *message)
{
    int allowed = may_nest(st);
    if (allowed == 0) {
        PyErr_SetString(PyExc_RuntimeError, message);
    }
    return allowed > 0 ? 0 : -1;
}

/* Notes the loop that runs in this thread already, if that is allowed. */
static int
check_not_running(LmLoop *loop, Surroundings *before)
{
    LmState *st = loop->st;
    unsigned long thread = PyThread_get_thread_ident();
    unsigned long runner = LM_LOAD(loop->thread_id);
    if (runner != 0 && (runner != thread ||
                        refuse_run(st, "This event loop is already running") < 0)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_RuntimeError, "This event loop is already running");
        }
        return -1;
    }
    PyObject *outer = PyObject_CallNoArgs(st->get_running_loop_or_none);
    if (outer == NULL) {
        return -1;
    }
    if (outer == Py_None) {
        Py_DECREF(outer);
        return 0;
    }
    before->outer_loop = outer;
    return refuse_run(st, "Cannot run the event loop while another loop is running");
}

static int
install_asyncgen_hooks(LmLoop *loop)
{
    LmState *st = loop->st;
    PyObject *self = (PyObject *)loop;
    PyObject *hooks[2] = {PyObject_GetAttr(self, st->str._asyncgen_firstiter_hook),
                          NULL};
    PyObject *done = NULL;
    if (hooks[0] != NULL) {
        hooks[1] = PyObject_GetAttr(self, st->str._asyncgen_finalizer_hook);
    }
    if (hooks[1] != NULL) {
        done = PyObject_Vectorcall(st->set_asyncgen_hooks, hooks, 0, st->kw_hooks);
    }
    Py_XDECREF(hooks[0]);
    Py_XDECREF(hooks[1]);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static int
track_origins(LmLoop *loop, int enabled)
{
    return lm_done(PyObject_CallMethod((PyObject *)loop,
                                       "_set_coroutine_origin_tracking", "O",
                                       enabled ? Py_True : Py_False));
}

static int
set_running_loop(LmState *st, PyObject *loop)
{
    return lm_done(PyObject_CallOneArg(st->set_running_loop, loop));
}

static int
begin_run(LmLoop *loop, Surroundings *before)
{
    LmState *st = loop->st;
    if (before->outer_loop != NULL &&
        lm_registry_suspend(st, before->outer_loop, &before->outer) < 0) {
        return -1;
    }
    if (LM_LOAD(loop->is_debug) && loop->nesting == 0) {
        if (track_origins(loop, 1) < 0) {
            return -1;
        }
        before->tracks_origins = 1;
    }
    before->asyncgen_hooks = PyObject_CallNoArgs(st->get_asyncgen_hooks);
    if (before->asyncgen_hooks == NULL || install_asyncgen_hooks(loop) < 0) {
        return -1;
    }
    return lm_signals_prepare(loop) < 0 ? -1 : set_running_loop(st, (PyObject *)loop);
}

static int
restore_asyncgen_hooks(LmState *st, PyObject *hooks)
{
    return lm_done(hooks != NULL ? PyObject_Call(st->set_asyncgen_hooks, hooks, NULL)
                                 : Py_NewRef(Py_None));
}

static int
restore_outer(LmState *st, Surroundings *before)
{
    PyObject *outer = before->outer_loop != NULL ? before->outer_loop : Py_None;
    int failed = set_running_loop(st, outer);
    if (failed == 0 && before->outer_loop != NULL) {
        failed = lm_registry_resume(st, outer, &before->outer);
    }
    return failed;
}

enum { PART_OUTER, PART_TRACKING, PART_HOOKS, PARTS };

static int
restore_part(LmLoop *loop, Surroundings *before, int part)
{
    LmState *st = loop->st;
    switch (part) {
    case PART_OUTER:
        return restore_outer(st, before);
    case PART_TRACKING:
        return before->tracks_origins ? track_origins(loop, 0) : 0;
    default:
        return restore_asyncgen_hooks(st, before->asyncgen_hooks);
    }
}

/* Each part is put back whatever became of the others: once more where a signal handler
   raised in its midst. What is raised comes out of the run. */
static int
end_run(LmLoop *loop, Surroundings *before, int failed)
{
    PyObject *exc = failed < 0 ? lm_exc_hold() : NULL;
    before->tracks_origins |= LM_LOAD(loop->is_debug);
    before->tracks_origins &= loop->nesting == 0;
    for (int part = 0; part < PARTS; part++) {
        if (restore_part(loop, before, part) == 0) {
            continue;
        }
        lm_exc_put_back(exc);
        exc = lm_exc_hold();
        if (restore_part(loop, before, part) < 0) {
            PyErr_WriteUnraisable((PyObject *)loop);
        }
    }
    failed = exc != NULL ? -1 : failed;
    lm_exc_restore(exc);
    return failed;
}

static void
drop_surroundings(Surroundings *before)
{
    Py_CLEAR(before->asyncgen_hooks);
    Py_CLEAR(before->outer_loop);
    lm_registry_forget(&before->outer);
}

/* From here on another thread that tries to run the loop is refused. */
static void
claim_loop(LmLoop *loop)
{
    loop->nesting += loop->thread_id != 0;
    LM_STORE(loop->thread_id, PyThread_get_thread_ident());
}

static void
release_loop(LmLoop *loop)
{
    if (!LM_FREE_THREADED && loop->st->shared->running == loop) {
        loop->st->shared->running = NULL;
    }
    if (loop->nesting > 0) {
        loop->nesting--;
    }
    else {
        LM_STORE(loop->thread_id, 0);
        lm_handle_track_queued(loop);
    }
}

/* One run with all that surrounds it; until `future` is done where there is one. */
static int
run_claimed(LmLoop *loop, PyObject *future, Surroundings *before)
{
    int failed = begin_run(loop, before);
    if (failed == 0) {
        failed = future != NULL ? lm_run_until(loop, lm_future_is_done, future)
                                : lm_run_forever(loop);
    }
    LM_STORE(loop->is_stopping, loop->nesting > 0 && LM_LOAD(loop->is_stopping));
    return end_run(loop, before, failed);
}

static int
run_owned(LmLoop *loop, PyObject *future, Surroundings *before)
{
    if (lm_patched_look(loop) < 0 || Py_EnterRecursiveCall(" in a nested event loop")) {
        return -1;
    }
    claim_loop(loop);
    int failed = run_claimed(loop, future, before);
    release_loop(loop);
    Py_LeaveRecursiveCall();
    return failed;
}

static PyObject *
run_loop(LmLoop *loop, PyObject *future)
{
    Surroundings before = {0};
    int failed = -1;
    Py_INCREF(loop);
    if (lm_loop_check_closed(loop) == 0 && check_not_running(loop, &before) == 0) {
        int is_taken = lm_owner_begin(loop);
        failed = is_taken < 0 ? -1 : run_owned(loop, future, &before);
        if (is_taken > 0) {
            lm_owner_end(loop);
        }
    }
    Py_DECREF(loop);
    drop_surroundings(&before);
    return lm_none_if(failed);
}

PyObject *
lm_loop_method_run_forever(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    int is_new = lm_patched_settle(loop->st);
    if (is_new < 0) {
        return NULL;
    }
    /* Noticed only now: what was called is not what is there any more. */
    return is_new && LM_LOAD(loop->st->shared->is_run_patched)
               ? PyObject_CallMethod(self, "_run_patched", NULL)
               : run_loop(loop, NULL);
}

PyObject *
lm_loop_method_run_nested(PyObject *self, PyObject *future)
{
    return run_loop((LmLoop *)self, future);
}

/* asyncio's own method, which comes after ours in the order of classes; a method of Python
   between the two would show in every traceback of asyncio.run. */
static PyObject *
run_by_asyncio(LmLoop *loop, PyObject *future)
{
    PyObject *self = (PyObject *)loop;
    PyObject *rest = PyObject_CallFunctionObjArgs((PyObject *)&PySuper_Type,
                                                  loop->st->LoopType, self, NULL);
    PyObject *result =
        rest != NULL ? PyObject_CallMethod(rest, "run_until_complete", "(O)", future)
                     : NULL;
    Py_XDECREF(rest);
    return result;
}

PyObject *
lm_loop_method_run_until_complete(PyObject *self, PyObject *const *args,
                                  Py_ssize_t nargs, PyObject *kwnames)
{
    LmLoop *loop = (LmLoop *)self;
    PyObject *future =
        lm_args_only("run_until_complete", args, nargs, kwnames, "future");
    if (future == NULL) {
        return NULL;
    }
    if (LM_LOAD(loop->thread_id) == 0) {
        return run_by_asyncio(loop, future);
    }
    return PyObject_CallMethod(self, "_run_within", "(O)", future);
}

PyObject *
lm_loop_method_stop(PyObject *self, PyObject *unused LM_UNUSED)
{
    LM_STORE(((LmLoop *)self)->is_stopping, 1);
    Py_RETURN_NONE;
}

PyObject *
lm_loop_method_is_running(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyBool_FromLong(LM_LOAD(((LmLoop *)self)->thread_id) != 0);
}

PyObject *
lm_loop_method_is_closed(PyObject *self, PyObject *unused LM_UNUSED)
{
    return PyBool_FromLong(LM_LOAD(((LmLoop *)self)->is_closed));
}

PyObject *
lm_loop_method_close_core(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    if (loop->thread_id != 0 || lm_poll_is_waited_in(&loop->poll)) {
        PyErr_SetString(PyExc_RuntimeError, "Cannot close a running event loop");
        return NULL;
    }
    LM_STORE(loop->is_closed,
             1); /* before the end of what it held, which may run or use it */
    lm_signals_close(loop);
    lm_resolver_close(loop);
    lm_kept_close(loop);
    lm_readers_close(loop);
    lm_loop_close(loop);
    Py_RETURN_NONE;
}

/* What asyncio's own close() and run_forever() set. */

int
lm_loop_set_closed(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    int truth = value != NULL ? PyObject_IsTrue(value) : 0;
    if (truth <= 0 || LM_LOAD(((LmLoop *)self)->is_closed)) {
        return truth < 0 ? -1 : 0;
    }
    return lm_done(lm_loop_method_close_core(self, NULL));
}

int
lm_loop_set_stopping(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    int truth = value != NULL ? PyObject_IsTrue(value) : 0;
    if (truth >= 0) {
        LM_STORE(((LmLoop *)self)->is_stopping, (uint8_t)truth);
    }
    return truth < 0 ? -1 : 0;
}

/* Of a run that asyncio's own method began, in the thread that did. */
static int
end_claim(LmLoop *loop)
{
    int is_taken = lm_owner_begin(loop);
    if (is_taken < 0) {
        return -1;
    }
    int was_running = loop->thread_id != 0;
    if (was_running) {
        release_loop(loop);
    }
    if (is_taken > 0 || (was_running && loop->thread_id == 0)) {
        lm_owner_end(loop);
    }
    return 0;
}

int
lm_loop_set_thread_id(PyObject *self, PyObject *value, void *closure LM_UNUSED)
{
    LmLoop *loop = (LmLoop *)self;
    if (value == NULL || value == Py_None) {
        return end_claim(loop);
    }
    unsigned long id = PyLong_AsUnsignedLong(value);
    if ((id == (unsigned long)-1 && PyErr_Occurred()) || lm_owner_begin(loop) < 0) {
        return -1;
    }
    if (loop->thread_id == 0 && lm_patched_look(loop) < 0) {
        lm_owner_end(loop);
        return -1;
    }
    claim_loop(loop);
    LM_STORE(loop->thread_id, id);
    loop->is_first_turn = 1;
    return 0;
}

PyObject *
lm_loop_method_watch_signals(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_signals_take((LmLoop *)self));
}

PyObject *
lm_loop_method_unwatch_signals(PyObject *self, PyObject *unused LM_UNUSED)
{
    lm_signals_give_back((LmLoop *)self);
    Py_RETURN_NONE;
}
