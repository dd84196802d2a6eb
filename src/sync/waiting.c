/* The wait of a gate: see waiting.h. */
#include "sync/waiting.h"

#include "base/oserr.h"
#include "sync/plain.h"
#include "task/future.h"

static int
make_waiters(LmState *st, PyObject **place)
{
    PyObject *made = PyObject_CallNoArgs(st->deque);
    if (made == NULL) {
        return -1;
    }
    lm_sync_set(place, made);
    Py_DECREF(made);
    return 0;
}

/* Steals the loop. */
static PySendResult
wait_on_loop(LmCoro *c, LmLoop *loop, PyObject *waiters, PyObject **result)
{
    PyObject *future = lm_future_new(loop);
    Py_DECREF(loop);
    if (future == NULL || lm_deque_append(c->loop->st, waiters, future) < 0) {
        Py_XDECREF(future);
        return PYGEN_ERROR;
    }
    return lm_coro_wait(c, future, 1, result);
}

PySendResult
lm_wait_among(LmCoro *c, PyObject **place, PyObject **result)
{
    LmState *st = c->loop->st;
    if (*place != Py_None && !lm_is_deque(st, *place)) {
        return lm_coro_delegate(c, result);
    }
    LmLoop *loop = lm_plain_bound_loop(st, c->self);
    if (loop == NULL) {
        return PyErr_Occurred() ? PYGEN_ERROR : lm_coro_delegate(c, result);
    }
    if (*place == Py_None && make_waiters(st, place) < 0) {
        Py_DECREF(loop);
        return PYGEN_ERROR;
    }
    PyObject *waiters = Py_XNewRef(*place);
    PySendResult outcome;
    if (LM_LIKELY(lm_is_deque(st, waiters))) {
        outcome = wait_on_loop(c, loop, waiters, result);
    }
    else {
        Py_DECREF(loop);
        outcome = lm_coro_delegate(c, result);
    }
    Py_XDECREF(waiters);
    return outcome;
}

/* Whether the field is what the name means: where not, or where that cannot be told, it is
   asked by the name. */
static int
has_fields(LmCoro *c)
{
    int is_plain = lm_plain_is(c->loop->st, c->self, 0, 0);
    if (is_plain < 0) {
        PyErr_Clear();
    }
    return is_plain > 0;
}

static int
leave_waiters(LmCoro *c, PyObject **place)
{
    const LmState *st = c->loop->st;
    if (LM_UNLIKELY(!has_fields(c) || !lm_is_deque(st, *place))) {
        return lm_sync_remove(c->self, "_waiters", c->awaited);
    }
    PyObject *waiters = Py_NewRef(*place);
    int failed = lm_deque_remove(st, waiters, c->awaited);
    Py_DECREF(waiters);
    return failed;
}

int
lm_gate_leave(LmCoro *c, PyObject **place, PyObject *exc)
{
    if (LM_LIKELY(leave_waiters(c, place) == 0)) {
        return 0;
    }
    lm_exc_put_back(Py_XNewRef(exc));
    return -1;
}

int
lm_gate_put(LmCoro *c, PyObject **place, const char *name, PyObject *value)
{
    if (LM_UNLIKELY(!has_fields(c))) {
        return PyObject_SetAttrString(c->self, name, value);
    }
    lm_sync_set(place, value);
    return 0;
}

PySendResult
lm_step_aexit(LmCoro *c, PyObject *(*release)(LmState *, PyObject *, PyObject *),
              PyObject **result)
{
    LmState *st = c->loop->st;
    int is_plain = lm_plain_is(st, c->self, c->op->inner, c->op->inner);
    *result = is_plain > 0 ? release(st, c->self, NULL) : NULL;
    if (LM_LIKELY(*result != NULL)) {
        return PYGEN_RETURN;
    }
    return PyErr_Occurred() ? PYGEN_ERROR : lm_coro_delegate(c, result);
}

int
lm_init_by_stock(PyObject *self, PyObject *args, PyObject *kwargs, size_t stock)
{
    LmState *st = lm_state_of_type(Py_TYPE(self));
    if (st == NULL) {
        return -1;
    }
    PyObject *cls = *(PyObject **)((char *)st + stock);
    PyObject *init = PyObject_GetAttrString(cls, "__init__");
    PyObject *bound = init != NULL ? PyMethod_New(init, self) : NULL;
    PyObject *done = bound != NULL ? PyObject_Call(bound, args, kwargs) : NULL;
    Py_XDECREF(init);
    Py_XDECREF(bound);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

/* 1 where there is at most the one argument, by position or by its name. */
static int
takes_one(PyObject *args, PyObject *kwargs, const char *name, PyObject **value)
{
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    Py_ssize_t named = kwargs != NULL ? PyDict_GET_SIZE(kwargs) : 0;
    *value = NULL;
    if (count + named == 0) {
        return 1;
    }
    if (name == NULL || count + named > 1) {
        return 0;
    }
    *value = named ? PyDict_GetItemString(kwargs, name) : PyTuple_GET_ITEM(args, 0);
    return *value != NULL;
}

int
lm_init_is_plain(PyObject *self, PyObject *args, PyObject *kwargs, size_t stock,
                 const char *name, PyObject **value)
{
    if (takes_one(args, kwargs, name, value)) {
        LmState *st = lm_state_of_type(Py_TYPE(self));
        int is_plain = st != NULL ? lm_plain_is(st, self, LM_BIT(__init__), 0) : -1;
        if (is_plain != 0) {
            return is_plain;
        }
    }
    return lm_init_by_stock(self, args, kwargs, stock);
}
