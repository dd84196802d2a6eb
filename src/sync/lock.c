/* asyncio.Lock: acquire, release, locked and `async with` in C. */
#include "sync/sync.h"

#include "base/held.h"
#include "base/oserr.h"
#include "base/type_help.h"
#include "sync/method.h"
#include "sync/plain.h"
#include "sync/waiting.h"

static int
lock_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *none;
    int is_plain = lm_init_is_plain(self, args, kwargs, offsetof(LmState, asyncio_Lock),
                                    NULL, &none);
    if (is_plain <= 0) {
        return is_plain;
    }
    LM_BEGIN_SECTION(self)
    lm_sync_set(&lm_gate(self)->waiters, Py_None);
    lm_sync_set(&lm_gate(self)->value, Py_False);
    LM_END_SECTION
    return 0;
}

/* 1 where it is taken now, 0 where one has to wait, -1 where that is not C's to say, with an
   exception set perhaps. Newcomers stand behind all who wait and are not cancelled. */
static int
try_acquire(LmState *st, PyObject *self)
{
    LmGate *g = lm_gate(self);
    int is_locked = lm_sync_flag(g->value);
    if (is_locked != 0) {
        return is_locked < 0 ? -1 : 0;
    }
    if (g->waiters != Py_None) {
        if (!lm_is_deque(st, g->waiters)) {
            return -1;
        }
        PyObject *waiters = Py_NewRef(g->waiters);
        int any = lm_sync_any_waits(st, waiters);
        Py_DECREF(waiters);
        if (any != 0) {
            return any < 0 ? -1 : 0;
        }
    }
    lm_sync_set(&g->value, Py_True);
    return 1;
}

/* What acquire() does for the next one, since this one does not take it. */
static int
wake_instead(PyObject *self)
{
    PyObject *locked = PyObject_GetAttrString(self, "_locked");
    int is_locked = locked != NULL ? PyObject_IsTrue(locked) : -1;
    Py_XDECREF(locked);
    return is_locked != 0 ? (is_locked < 0 ? -1 : 0)
                          : lm_done(PyObject_CallMethod(self, "_wake_up_first", NULL));
}

static PySendResult
end_acquire(LmCoro *c, PyObject *exc, PyObject *value, PyObject **result)
{
    LmState *st = c->loop->st;
    LmGate *g = lm_gate(c->self);
    if (lm_gate_leave(c, &g->waiters, exc) < 0) {
        return PYGEN_ERROR;
    }
    if (exc != NULL) {
        PyErr_SetRaisedException(Py_NewRef(exc));
        if (PyErr_ExceptionMatches(st->CancelledError)) {
            PyObject *held = lm_exc_hold();
            if (wake_instead(c->self) < 0) {
                lm_exc_put_back(held);
                return PYGEN_ERROR;
            }
            PyErr_SetRaisedException(held);
        }
        return PYGEN_ERROR;
    }
    return lm_gate_put(c, &g->value, "_locked", Py_True) < 0
               ? PYGEN_ERROR
               : lm_coro_return(Py_NewRef(value), result);
}

static PySendResult
step_lock(LmCoro *c, PyObject *exc, PyObject *value, PyObject **result)
{
    LmState *st = c->loop->st;
    if (c->stage != 0) {
        return end_acquire(c, exc, value, result);
    }
    int is_plain = lm_plain_is(st, c->self, c->op->inner, c->op->inner);
    int is_taken = is_plain > 0 ? try_acquire(st, c->self) : -1;
    if (LM_LIKELY(is_taken > 0)) {
        return lm_coro_return(Py_NewRef(value), result);
    }
    if (is_taken == 0) {
        return lm_wait_among(c, &lm_gate(c->self)->waiters, result);
    }
    return PyErr_Occurred() ? PYGEN_ERROR : lm_coro_delegate(c, result);
}

static PySendResult
step_acquire(LmCoro *c, PyObject *exc, PyObject **result)
{
    return step_lock(c, exc, Py_True, result);
}

static PySendResult
step_aenter(LmCoro *c, PyObject *exc, PyObject **result)
{
    return step_lock(c, exc, Py_None, result);
}

static int
wake_first(LmState *st, PyObject *waiters)
{
    PyObject *first = PySequence_GetItem(waiters, 0);
    int failed = first != NULL ? lm_sync_wake(st, first, Py_True) : -1;
    Py_XDECREF(first);
    return failed < 0 ? -1 : 0;
}

static PyObject *
call_release(LmState *st, PyObject *self, PyObject *arg LM_UNUSED)
{
    LmGate *g = lm_gate(self);
    if (g->value != Py_True ||
        (g->waiters != Py_None && !lm_is_deque(st, g->waiters))) {
        return NULL;
    }
    PyObject *waiters = Py_NewRef(g->waiters);
    lm_sync_set(&g->value, Py_False);
    int failed =
        waiters != Py_None && lm_deque_size(waiters) > 0 ? wake_first(st, waiters) : 0;
    Py_DECREF(waiters);
    return lm_none_if(failed);
}

static PyObject *
call_locked(LmState *st LM_UNUSED, PyObject *self, PyObject *arg LM_UNUSED)
{
    return Py_XNewRef(lm_gate(self)->value);
}

static PySendResult
step_lock_aexit(LmCoro *c, PyObject *exc LM_UNUSED, PyObject **result)
{
    return lm_step_aexit(c, call_release, result);
}

#define LOCK_OP(function) \
    .stock = offsetof(LmState, asyncio_Lock), .name = #function, .own = LM_BIT(function)

static const LmOp lock_ops[] = {
    {LOCK_OP(acquire), .qualname = "Lock.acquire",
     .doc = LM_DOC("acquire($self)",
                   "Wait until the lock is unlocked, lock it and return True.\n\n"
                   "Implements asyncio.Lock.acquire."),
     .inner = LM_BIT(_get_loop) | LM_BIT(_wake_up_first), .step = step_acquire},
    {LOCK_OP(release), .qualname = "Lock.release",
     .doc = LM_DOC("release($self)",
                   "Unlock it and wake the first who waits.\n\n"
                   "Raises RuntimeError if it is not locked. Loop's thread only.\n"
                   "Implements asyncio.Lock.release."),
     .inner = LM_BIT(_wake_up_first), .call = call_release},
    {LOCK_OP(locked), .qualname = "Lock.locked",
     .doc = LM_DOC("locked($self)", "Return whether it is locked.\n\n"
                                    "Implements asyncio.Lock.locked."),
     .call = call_locked},
    {LOCK_OP(__aenter__), .qualname = "_ContextManagerMixin.__aenter__",
     .doc = LM_DOC("__aenter__($self)", "Wait for it; return None."),
     .inner = LM_BIT(acquire) | LM_BIT(_get_loop) | LM_BIT(_wake_up_first),
     .step = step_aenter},
    {LOCK_OP(__aexit__), .qualname = "_ContextManagerMixin.__aexit__",
     .doc = LM_DOC("__aexit__($self, exc_type, exc, tb)", "Release it."),
     .inner = LM_BIT(release) | LM_BIT(_wake_up_first), .args = 3,
     .step = step_lock_aexit},
    {.name = NULL}};

static const PyMemberDef lock_members[] = {
    {"_waiters", T_OBJECT_EX, offsetof(LmGate, waiters), 0, NULL},
    {"_locked", T_OBJECT_EX, offsetof(LmGate, value), 0, NULL},
    {NULL, 0, 0, 0, NULL}};

int
lm_lock_init(PyObject *module, LmState *st)
{
    LmSyncSpec spec = {.name = "loopmod.Lock",
                       .doc = "Lock()\n--\n\n"
                              "A lock that tasks wait for. Implements asyncio.Lock.",
                       .bases = st->asyncio_Lock,
                       .members = lock_members,
                       .size = sizeof(LmGate),
                       .init = lock_init};
    st->LockType = lm_sync_type_new(module, &spec);
    return st->LockType != NULL ? lm_method_add(st, st->LockType, lock_ops) : -1;
}
