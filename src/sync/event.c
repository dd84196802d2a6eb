/* asyncio.Event: wait, set, clear and is_set in C. */
#include "sync/sync.h"

#include "base/type_help.h"
#include "sync/method.h"
#include "sync/plain.h"
#include "sync/waiting.h"

static int
event_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *none;
    int is_plain = lm_init_is_plain(self, args, kwargs,
                                    offsetof(LmState, asyncio_Event), NULL, &none);
    if (is_plain <= 0) {
        return is_plain;
    }
    LmState *st = lm_state_of_type(Py_TYPE(self));
    PyObject *waiters = st != NULL ? PyObject_CallNoArgs(st->deque) : NULL;
    if (waiters == NULL) {
        return -1;
    }
    LM_BEGIN_SECTION(self)
    lm_sync_set(&lm_gate(self)->waiters, waiters);
    lm_sync_set(&lm_gate(self)->value, Py_False);
    LM_END_SECTION
    Py_DECREF(waiters);
    return 0;
}

static PySendResult
step_wait(LmCoro *c, PyObject *exc, PyObject **result)
{
    LmGate *g = lm_gate(c->self);
    if (c->stage == 0) {
        int is_plain = lm_plain_is(c->loop->st, c->self, c->op->inner, c->op->inner);
        int is_set = is_plain > 0 ? lm_sync_flag(g->value) : -1;
        if (is_set > 0) {
            return lm_coro_return(Py_NewRef(Py_True), result);
        }
        if (is_plain < 0) {
            return PYGEN_ERROR;
        }
        return is_set < 0 || g->waiters == Py_None
                   ? lm_coro_delegate(c, result)
                   : lm_wait_among(c, &g->waiters, result);
    }
    if (lm_gate_leave(c, &g->waiters, exc) < 0) {
        return PYGEN_ERROR;
    }
    return exc != NULL ? lm_coro_raise(exc)
                       : lm_coro_return(Py_NewRef(Py_True), result);
}

static PyObject *
call_is_set(LmState *st LM_UNUSED, PyObject *self, PyObject *arg LM_UNUSED)
{
    return Py_XNewRef(lm_gate(self)->value);
}

static int
wake_all(LmState *st, PyObject *waiters)
{
    PyObject *iterator = PyObject_GetIter(waiters);
    if (iterator == NULL) {
        return -1;
    }
    int failed = 0;
    PyObject *waiter;
    while (failed == 0 && (waiter = PyIter_Next(iterator)) != NULL) {
        failed = lm_sync_wake(st, waiter, Py_True) < 0 ? -1 : 0;
        Py_DECREF(waiter);
    }
    Py_DECREF(iterator);
    return failed < 0 || PyErr_Occurred() ? -1 : 0;
}

static PyObject *
call_set(LmState *st, PyObject *self, PyObject *arg LM_UNUSED)
{
    LmGate *g = lm_gate(self);
    int is_set = lm_sync_flag(g->value);
    if (is_set > 0) {
        Py_RETURN_NONE;
    }
    PyObject *waiters = g->waiters;
    if (is_set < 0 || !lm_is_deque(st, waiters)) {
        return NULL;
    }
    lm_sync_set(&g->value, Py_True);
    if (lm_deque_size(waiters) == 0) {
        Py_RETURN_NONE;
    }
    Py_INCREF(waiters);
    int failed = wake_all(st, waiters);
    Py_DECREF(waiters);
    return lm_none_if(failed);
}

static PyObject *
call_clear(LmState *st LM_UNUSED, PyObject *self, PyObject *arg LM_UNUSED)
{
    lm_sync_set(&lm_gate(self)->value, Py_False);
    Py_RETURN_NONE;
}

static const LmOp event_ops[] = {
    {.name = "wait",
     .qualname = "Event.wait",
     .doc = LM_DOC("wait($self)", "Wait until the flag is true, and return True.\n\n"
                                  "Implements asyncio.Event.wait."),
     .stock = offsetof(LmState, asyncio_Event),
     .own = LM_BIT(wait),
     .inner = LM_BIT(_get_loop),
     .step = step_wait},
    {.name = "is_set",
     .qualname = "Event.is_set",
     .doc = LM_DOC("is_set($self)", "Return whether the flag is true.\n\n"
                                    "Implements asyncio.Event.is_set."),
     .stock = offsetof(LmState, asyncio_Event),
     .own = LM_BIT(is_set),
     .call = call_is_set},
    {.name = "set",
     .qualname = "Event.set",
     .doc = LM_DOC("set($self)",
                   "Set the flag to true and wake all who wait, in order.\n\n"
                   "Loop's thread only. Implements asyncio.Event.set."),
     .stock = offsetof(LmState, asyncio_Event),
     .own = LM_BIT(set),
     .call = call_set},
    {.name = "clear",
     .qualname = "Event.clear",
     .doc = LM_DOC("clear($self)", "Set the flag to false.\n\n"
                                   "Implements asyncio.Event.clear."),
     .stock = offsetof(LmState, asyncio_Event),
     .own = LM_BIT(clear),
     .call = call_clear},
    {.name = NULL}};

static const PyMemberDef event_members[] = {
    {"_waiters", T_OBJECT_EX, offsetof(LmGate, waiters), 0, NULL},
    {"_value", T_OBJECT_EX, offsetof(LmGate, value), 0, NULL},
    {NULL, 0, 0, 0, NULL}};

int
lm_event_init(PyObject *module, LmState *st)
{
    LmSyncSpec spec = {.name = "loopmod.Event",
                       .doc = "Event()\n--\n\n"
                              "A flag that tasks wait for. Implements asyncio.Event.",
                       .bases = st->asyncio_Event,
                       .members = event_members,
                       .size = sizeof(LmGate),
                       .init = event_init};
    st->EventType = lm_sync_type_new(module, &spec);
    return st->EventType != NULL ? lm_method_add(st, st->EventType, event_ops) : -1;
}
