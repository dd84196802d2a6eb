/* asyncio.Semaphore and BoundedSemaphore: acquire, release, locked and `async with` in C. Which
   of asyncio's two ways the end of a wait takes (3.11 and 3.12, and later) was found out at
   import, by the code. */
#include "sync/sync.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "sync/method.h"
#include "sync/plain.h"
#include "sync/waiting.h"
#include "task/future.h"

/* A count that C can work on: an int from 0 to the largest that has room above. -1 without an
   exception for all else. */
static long
as_count(PyObject *value)
{
    if (value == NULL || !PyLong_CheckExact(value)) {
        return -1;
    }
#if PY_VERSION_HEX >= 0x030C0000
    if (LM_LIKELY(PyUnstable_Long_IsCompact((PyLongObject *)value))) {
        return (long)PyUnstable_Long_CompactValue((PyLongObject *)value);
    }
#endif
    int overflow;
    long count = PyLong_AsLongAndOverflow(value, &overflow);
    return overflow || count < 0 || count == LONG_MAX ? -1 : count;
}

static int
set_count(LmGate *g, long count)
{
    PyObject *value = PyLong_FromLong(count);
    if (value == NULL) {
        return -1;
    }
    lm_sync_set(&g->value, value);
    Py_DECREF(value);
    return 0;
}

/* __init__(value=1) of both: 1 with `*value` borrowed, or NULL; 0 where asyncio's was called,
   -1 with an exception set. */
static int
plain_value(PyObject *self, PyObject *args, PyObject *kwargs, size_t stock,
            PyObject **value)
{
    int is_plain = lm_init_is_plain(self, args, kwargs, stock, "value", value);
    return is_plain > 0 && *value != NULL && as_count(*value) < 0
               ? lm_init_by_stock(self, args, kwargs, stock)
               : is_plain;
}

static int
begin_semaphore(PyObject *self, PyObject *value, int is_bounded)
{
    PyObject *count = value != NULL ? Py_NewRef(value) : PyLong_FromLong(1);
    if (count == NULL) {
        return -1;
    }
    LM_BEGIN_SECTION(self)
    if (is_bounded) {
        lm_sync_set(&lm_gate(self)->bound, count);
    }
    lm_sync_set(&lm_gate(self)->waiters, Py_None);
    lm_sync_set(&lm_gate(self)->value, count);
    LM_END_SECTION
    Py_DECREF(count);
    return 0;
}

static int
semaphore_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *value;
    int is_plain =
        plain_value(self, args, kwargs, offsetof(LmState, asyncio_Semaphore), &value);
    return is_plain > 0 ? begin_semaphore(self, value, 0) : is_plain;
}

/* asyncio's calls Semaphore's, by super(): where that is patched it is called. */
static int
bounded_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *value;
    int is_plain = plain_value(self, args, kwargs,
                               offsetof(LmState, asyncio_BoundedSemaphore), &value);
    return is_plain > 0 ? begin_semaphore(self, value, 1) : is_plain;
}

/* Whether one would have to wait: 1 or 0, -1 where that is not C's to say, with an exception
   set perhaps. */
static int
is_locked(LmState *st, PyObject *self)
{
    LmGate *g = lm_gate(self);
    long count = as_count(g->value);
    if (count < 0 || (g->waiters != Py_None && !lm_is_deque(st, g->waiters))) {
        return -1;
    }
    if (count == 0 || g->waiters == Py_None) {
        return count == 0;
    }
    PyObject *waiters = Py_NewRef(g->waiters);
    int any = lm_sync_any_waits(st, waiters);
    Py_DECREF(waiters);
    return any;
}

static PyObject *
call_semaphore_locked(LmState *st, PyObject *self, PyObject *arg LM_UNUSED)
{
    int locked = is_locked(st, self);
    return locked < 0 ? NULL : PyBool_FromLong(locked);
}

static int
give_one(LmState *st, PyObject *self, PyObject *waiter)
{
    LmGate *g = lm_gate(self);
    long count = as_count(g->value); /* anew: done() may be somebody's */
    int failed =
        count < 0 ? lm_sync_change(self, "_value", -1) : set_count(g, count - 1);
    return failed < 0 ? -1 : lm_sync_wake(st, waiter, Py_True);
}

/* The same among the first few, which need no iterator; of futures of ours alone, whose state
   is no code of anybody's. 0 where there was none among them. */
#define FEW 8

static int
wake_early(LmState *st, PyObject *self, PyObject *waiters)
{
    for (Py_ssize_t i = 0; i < FEW && i < lm_deque_size(waiters); i++) {
        PyObject *waiter = PySequence_GetItem(waiters, i);
        if (waiter == NULL) {
            return -1;
        }
        int is_ours = Py_IS_TYPE(waiter, lm_type(st->FutureType));
        int woken = 0;
        if (is_ours && lm_sync_is_done(st, waiter) == 0) {
            woken = give_one(st, self, waiter) < 0 ? -1 : 1;
        }
        Py_DECREF(waiter);
        if (woken != 0 || !is_ours) {
            return woken;
        }
    }
    return 0;
}

/* The first that is not done gets one: 1 where there was one, 0 where not; -1 with an
   exception set. */
static int
wake_waiter(LmState *st, PyObject *self, PyObject *waiters)
{
    PyObject *iterator = PyObject_GetIter(waiters);
    if (iterator == NULL) {
        return -1;
    }
    int woken = 0;
    PyObject *waiter;
    while (woken == 0 && (waiter = PyIter_Next(iterator)) != NULL) {
        int is_done = lm_sync_is_done(st, waiter);
        if (is_done <= 0) {
            woken = is_done < 0 || give_one(st, self, waiter) < 0 ? -1 : 1;
        }
        Py_DECREF(waiter);
    }
    Py_DECREF(iterator);
    return PyErr_Occurred() ? -1 : woken;
}

/* _wake_up_next(), of a semaphore whose fields are as asyncio's and that has one to give. */
static int
wake_next(LmState *st, PyObject *self)
{
    const LmGate *g = lm_gate(self);
    if (g->waiters == Py_None || lm_deque_size(g->waiters) == 0) {
        return 0;
    }
    PyObject *waiters = Py_NewRef(g->waiters);
    int woken = wake_early(st, self, waiters);
    if (woken == 0) {
        woken = wake_waiter(st, self, waiters);
    }
    Py_DECREF(waiters);
    return woken;
}

static PyObject *
call_semaphore_release(LmState *st, PyObject *self, PyObject *arg LM_UNUSED)
{
    LmGate *g = lm_gate(self);
    long count = as_count(g->value);
    if (count < 0 || (g->waiters != Py_None && !lm_is_deque(st, g->waiters))) {
        return NULL;
    }
    if (set_count(g, count + 1) < 0) {
        return NULL;
    }
    return lm_none_if(wake_next(st, self));
}

static PyObject *
call_bounded_release(LmState *st, PyObject *self, PyObject *arg)
{
    const LmGate *g = lm_gate(self);
    long count = as_count(g->value), bound = as_count(g->bound);
    if (count < 0 || bound < 0 || count >= bound) {
        return NULL; /* asyncio's raises */
    }
    return call_semaphore_release(st, self, arg);
}

/* --- acquire */

/* self._value, of any kind, as a number to compare: -1 with an exception set. */
static int
is_positive(PyObject *self)
{
    PyObject *value = PyObject_GetAttrString(self, "_value");
    PyObject *zero = value != NULL ? PyLong_FromLong(0) : NULL;
    int truth = zero != NULL ? PyObject_RichCompareBool(value, zero, Py_GT) : -1;
    Py_XDECREF(value);
    Py_XDECREF(zero);
    return truth;
}

/* `while self._value > 0: if not self._wake_up_next(): break`; before 3.13 once at most. By
   names but where all is plain. */
static int
wake_more(LmCoro *c)
{
    LmState *st = c->loop->st;
    int woken = 1;
    while (woken > 0) {
        int is_plain = lm_plain_is(st, c->self, c->op->inner, c->op->inner);
        const LmGate *g = lm_gate(c->self);
        if (LM_LIKELY(is_plain > 0 && as_count(g->value) >= 0 &&
                      (g->waiters == Py_None || lm_is_deque(st, g->waiters)))) {
            woken = as_count(g->value) > 0 ? wake_next(st, c->self) : 0;
        }
        else {
            int more = is_plain < 0 ? -1 : is_positive(c->self);
            PyObject *answer =
                more > 0 ? PyObject_CallMethod(c->self, "_wake_up_next", NULL) : NULL;
            woken = more <= 0 ? more : answer != NULL ? PyObject_IsTrue(answer) : -1;
            Py_XDECREF(answer);
        }
        if (!st->semaphore_loops) {
            break;
        }
    }
    return woken < 0 ? -1 : 0;
}

/* What acquire() does where the wait raised CancelledError: gives back what its waiter was
   given. `future` is the waiter. */
static int
undo_wake(LmCoro *c, PyObject *future)
{
    LmState *st = c->loop->st;
    uint8_t state = LM_LOAD_ACQUIRE(lm_future(future)->state);
    if (state == LM_CANCELLED || (st->semaphore_loops && state == LM_PENDING)) {
        return 0;
    }
    if (lm_sync_change(c->self, "_value", 1) < 0) {
        return -1;
    }
    return st->semaphore_loops
               ? 0
               : lm_done(PyObject_CallMethod(c->self, "_wake_up_next", NULL));
}

/* `exc` is what is raised at the end, or NULL. */
static PySendResult
end_semaphore_wait(LmCoro *c, PyObject *exc, PyObject *value, PyObject **result)
{
    const LmState *st = c->loop->st;
    PyObject *future = Py_NewRef(c->awaited);
    PyObject *raised = NULL;
    if (lm_gate_leave(c, &lm_gate(c->self)->waiters, exc) < 0) {
        raised = PyErr_GetRaisedException();
    }
    else if (exc != NULL) {
        raised = Py_NewRef(exc);
        if (PyErr_GivenExceptionMatches(exc, st->CancelledError) &&
            undo_wake(c, future) < 0) {
            lm_exc_put_back(raised);
            raised = PyErr_GetRaisedException();
        }
    }
    Py_DECREF(future);
    if (raised != NULL) {
        /* `finally`, which before 3.13 there is none. */
        if (st->semaphore_loops && wake_more(c) < 0) {
            lm_exc_put_back(raised);
        }
        else {
            PyErr_SetRaisedException(raised);
        }
        return PYGEN_ERROR;
    }
    return wake_more(c) < 0 ? PYGEN_ERROR : lm_coro_return(Py_NewRef(value), result);
}

static PySendResult
step_semaphore(LmCoro *c, PyObject *exc, PyObject *value, PyObject **result)
{
    LmState *st = c->loop->st;
    LmGate *g = lm_gate(c->self);
    if (c->stage != 0) {
        return end_semaphore_wait(c, exc, value, result);
    }
    int is_plain = lm_plain_is(st, c->self, c->op->inner, c->op->inner);
    int locked = is_plain > 0 ? is_locked(st, c->self) : -1;
    if (LM_LIKELY(locked == 0)) {
        return set_count(g, as_count(g->value) - 1) < 0
                   ? PYGEN_ERROR
                   : lm_coro_return(Py_NewRef(value), result);
    }
    if (locked > 0) {
        return lm_wait_among(c, &g->waiters, result);
    }
    return PyErr_Occurred() ? PYGEN_ERROR : lm_coro_delegate(c, result);
}

static PySendResult
step_semaphore_acquire(LmCoro *c, PyObject *exc, PyObject **result)
{
    return step_semaphore(c, exc, Py_True, result);
}

static PySendResult
step_semaphore_aenter(LmCoro *c, PyObject *exc, PyObject **result)
{
    return step_semaphore(c, exc, Py_None, result);
}

static PySendResult
step_semaphore_aexit(LmCoro *c, PyObject *exc LM_UNUSED, PyObject **result)
{
    return lm_step_aexit(c, call_semaphore_release, result);
}

static PySendResult
step_bounded_aexit(LmCoro *c, PyObject *exc LM_UNUSED, PyObject **result)
{
    return lm_step_aexit(c, call_bounded_release, result);
}

/* --- the types */

/* Of each class by itself: what of it is patched is asked of that. */
/* clang-format off */
#define OP(cls, function)                                                          \
    .stock = offsetof(LmState, asyncio_##cls), .name = #function,                  \
    .own = LM_BIT(function)
#define OPS_OF_BOTH(cls)                                                           \
    {OP(cls, acquire), .qualname = "Semaphore.acquire",                            \
     .doc = LM_DOC("acquire($self)",                                               \
                   "Wait until there is one, take it and return True.\n\n"         \
                   "Implements asyncio.Semaphore.acquire."),                       \
     .inner = LM_BIT(_get_loop) | LM_BIT(locked) | LM_BIT(_wake_up_next),          \
     .step = step_semaphore_acquire},                                              \
    {OP(cls, locked), .qualname = "Semaphore.locked",                              \
     .doc = LM_DOC("locked($self)", "Return whether acquire() would wait.\n\n"     \
                                    "Implements asyncio.Semaphore.locked."),       \
     .call = call_semaphore_locked},                                               \
    {OP(cls, __aenter__), .qualname = "_ContextManagerMixin.__aenter__",           \
     .doc = LM_DOC("__aenter__($self)", "Wait for it; return None."),              \
     .inner = LM_BIT(acquire) | LM_BIT(_get_loop) | LM_BIT(locked) |               \
              LM_BIT(_wake_up_next),                                               \
     .step = step_semaphore_aenter}
#define RELEASE_OPS(cls, release_call, step_exit, more)                            \
    {OP(cls, release), .qualname = #cls ".release",                                \
     .doc = LM_DOC("release($self)", "Give one back and wake the first who waits." \
                   "\n\n" more "Loop's thread only. "                              \
                   "Implements asyncio." #cls ".release."),                        \
     .inner = LM_BIT(_wake_up_next), .call = release_call},                        \
    {OP(cls, __aexit__), .qualname = "_ContextManagerMixin.__aexit__",             \
     .doc = LM_DOC("__aexit__($self, exc_type, exc, tb)", "Release it."),          \
     .inner = LM_BIT(release) | LM_BIT(_wake_up_next), .args = 3, .step = step_exit}
/* clang-format on */

static const LmOp semaphore_ops[] = {
    OPS_OF_BOTH(Semaphore),
    RELEASE_OPS(Semaphore, call_semaphore_release, step_semaphore_aexit, ""),
    {.name = NULL}};

static const LmOp bounded_ops[] = {
    OPS_OF_BOTH(BoundedSemaphore),
    RELEASE_OPS(BoundedSemaphore, call_bounded_release, step_bounded_aexit,
                "Raises ValueError where that were more than there are. "),
    {.name = NULL}};

static const PyMemberDef semaphore_members[] = {
    {"_waiters", T_OBJECT_EX, offsetof(LmGate, waiters), 0, NULL},
    {"_value", T_OBJECT_EX, offsetof(LmGate, value), 0, NULL},
    {"_bound_value", T_OBJECT_EX, offsetof(LmGate, bound), 0, NULL},
    {NULL, 0, 0, 0, NULL}};

static PyObject *
new_bounded_type(PyObject *module, const LmState *st)
{
    PyObject *bases = PyTuple_Pack(2, st->SemaphoreType, st->asyncio_BoundedSemaphore);
    if (bases == NULL) {
        return NULL;
    }
    LmSyncSpec spec = {
        .name = "loopmod.BoundedSemaphore",
        .doc = "BoundedSemaphore(value=1)\n--\n\n"
               "A semaphore of which no more is released than was taken. Implements "
               "asyncio.BoundedSemaphore.",
        .bases = bases,
        .size = sizeof(LmGate),
        .init = bounded_init};
    PyObject *type = lm_sync_type_new(module, &spec);
    Py_DECREF(bases);
    return type;
}

/* asyncio's two ways: see the head. */
static int
find_way(LmState *st)
{
    PyObject *loops = lm_state_support(st, "semaphore_loops", "");
    st->semaphore_loops = loops == Py_True;
    Py_XDECREF(loops);
    return loops != NULL ? 0 : -1;
}

int
lm_semaphore_init(PyObject *module, LmState *st)
{
    if (find_way(st) < 0) {
        return -1;
    }
    LmSyncSpec spec = {.name = "loopmod.Semaphore",
                       .doc = "Semaphore(value=1)\n--\n\n"
                              "A count that tasks wait for. Implements "
                              "asyncio.Semaphore.",
                       .bases = st->asyncio_Semaphore,
                       .members = semaphore_members,
                       .size = sizeof(LmGate),
                       .init = semaphore_init};
    st->SemaphoreType = lm_sync_type_new(module, &spec);
    if (st->SemaphoreType == NULL ||
        lm_method_add(st, st->SemaphoreType, semaphore_ops) < 0) {
        return -1;
    }
    st->BoundedSemaphoreType = new_bounded_type(module, st);
    return st->BoundedSemaphoreType != NULL
               ? lm_method_add(st, st->BoundedSemaphoreType, bounded_ops)
               : -1;
}
