/* How a coroutine object is run: see coro.h; its Python type stands in coro_type.c. Relies on
   task/future_iter.h for what throw() may be given. */
#include "sync/coro.h"

#include "base/type_help.h"
#include "task/future.h"
#include "task/future_iter.h"

PyObject *
lm_coro_new(LmLoop *loop, const LmOp *op, PyObject *self, PyObject *arg)
{
    PyTypeObject *type = lm_type(loop->st->CoroType);
    LmCoro *c = (LmCoro *)lm_freelist_alloc(LM_SPARE(loop, coros), type);
    if (c == NULL) {
        Py_DECREF(loop);
        return NULL;
    }
    c->loop = loop;
    c->op = op;
    c->self = Py_NewRef(self);
    c->arg = Py_XNewRef(arg);
    PyObject_GC_Track(c);
    return (PyObject *)c;
}

void
lm_coro_empty(LmCoro *c)
{
    Py_CLEAR(c->awaited);
    Py_CLEAR(c->self);
    Py_CLEAR(c->arg);
}

static int
take_state(LmCoro *c, uint8_t state)
{
#if LM_FREE_THREADED
    return __atomic_compare_exchange_n(&c->state, &state, LM_CORO_RUNNING, 0,
                                       __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
#else
    c->state = LM_CORO_RUNNING;
    return state != LM_CORO_RUNNING;
#endif
}

/* The state it was in, CREATED or SUSPENDED: from here on it is RUNNING. -1 with an exception
   set. */
static int
begin_step(LmCoro *c)
{
    uint8_t state = LM_LOAD(c->state);
    if (LM_LIKELY(state <= LM_CORO_SUSPENDED) && LM_LIKELY(take_state(c, state))) {
        return state;
    }
    if (state == LM_CORO_CLOSED) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
    }
    else {
        PyErr_SetString(PyExc_ValueError, "coroutine already executing");
    }
    return -1;
}

static PySendResult
end_step(LmCoro *c, PySendResult outcome)
{
    if (outcome == PYGEN_NEXT) {
        LM_STORE_RELEASE(c->state, LM_CORO_SUSPENDED);
        return outcome;
    }
    LM_STORE_RELEASE(c->state, LM_CORO_CLOSED);
    PyObject *exc = outcome == PYGEN_ERROR ? PyErr_GetRaisedException() : NULL;
    lm_coro_empty(c);
    if (exc != NULL) {
        PyErr_SetRaisedException(exc);
    }
    return outcome;
}

PySendResult
lm_coro_wait(LmCoro *c, PyObject *future, uint8_t stage, PyObject **result)
{
    LM_STORE(lm_future(future)->is_blocking, 1);
    Py_XSETREF(c->awaited, future);
    c->stage = stage;
    *result = Py_NewRef(future);
    return PYGEN_NEXT;
}

/* What a coroutine of any kind raised where it was thrown into or closed. */
static PySendResult
take_raised(PyObject **result)
{
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return PYGEN_ERROR;
    }
    PyObject *stop = PyErr_GetRaisedException();
    if (!PyErr_GivenExceptionMatches(stop, PyExc_StopIteration)) {
        PyErr_SetRaisedException(stop);
        return PYGEN_ERROR;
    }
    *result = lm_none_or(((PyStopIterationObject *)stop)->value);
    Py_DECREF(stop);
    return PYGEN_RETURN;
}

static PySendResult
forward(LmCoro *c, PyObject *exc, PyObject *value, PyObject **result)
{
    if (exc == NULL) {
        return PyIter_Send(c->awaited, value, result);
    }
    *result = PyObject_CallMethodOneArg(c->awaited, c->loop->st->str.throw, exc);
    return *result != NULL ? PYGEN_NEXT : take_raised(result);
}

/* With all that the method was called with. */
static PyObject *
call_in_full(const LmCoro *c, PyObject *function)
{
    PyObject *stack[1 + LM_MOST_ARGS] = {c->self, c->arg, Py_None, Py_None};
    if (c->op->args > 1) {
        for (int i = 0; i < c->op->args; i++) {
            stack[1 + i] = c->arg != NULL ? PyTuple_GET_ITEM(c->arg, i) : Py_None;
        }
    }
    return PyObject_Vectorcall(function, stack, (size_t)(1 + c->op->args), NULL);
}

PySendResult
lm_coro_delegate(LmCoro *c, PyObject **result)
{
    LmState *st = c->loop->st;
    PyObject *function = lm_op_function(st, c->op);
    PyObject *coro = function != NULL ? call_in_full(c, function) : NULL;
    Py_XDECREF(function);
    if (coro == NULL) {
        return PYGEN_ERROR;
    }
    if (!PyCoro_CheckExact(coro)) {
        /* Patched meanwhile: what it gives is what is awaited. */
        unaryfunc await = Py_TYPE(coro)->tp_as_async != NULL
                              ? Py_TYPE(coro)->tp_as_async->am_await
                              : NULL;
        PyObject *iterator = NULL;
        if (await != NULL) {
            iterator = await(coro);
        }
        else {
            PyErr_Format(PyExc_TypeError,
                         "object %.100s can't be used in 'await' expression",
                         Py_TYPE(coro)->tp_name);
        }
        Py_SETREF(coro, iterator);
        if (coro == NULL) {
            return PYGEN_ERROR;
        }
    }
    Py_XSETREF(c->awaited, coro);
    c->delegates = 1;
    return PyIter_Send(coro, Py_None, result);
}

/* The exception that an await of the future raises where it has no result. New reference. */
static PyObject *
exception_of_await(LmFuture *f)
{
    if (LM_LOAD_ACQUIRE(f->state) == LM_PENDING) {
        return PyObject_CallFunction(PyExc_RuntimeError, "s",
                                     "await wasn't used with future");
    }
    PyObject *result = lm_future_result(f);
    Py_XDECREF(result);
    return result == NULL ? PyErr_GetRaisedException() : NULL;
}

static PySendResult
step(LmCoro *c, PyObject *exc, PyObject **result)
{
    PySendResult outcome;
    LM_BEGIN_SECTION(c->self)
    outcome = c->op->step(c, exc, result);
    LM_END_SECTION
    return outcome;
}

static PySendResult
step_after_await(LmCoro *c, PyObject *exc, PyObject **result)
{
    LmFuture *f = lm_future(c->awaited);
    uint8_t state = LM_LOAD_ACQUIRE(f->state);
    if (exc != NULL || LM_LIKELY(state == LM_FINISHED && !f->is_exception)) {
        return step(c, exc, result);
    }
    if (state == LM_PENDING && !LM_LOAD(f->is_blocking)) {
        LM_STORE(f->is_blocking, 1);
        *result = Py_NewRef(c->awaited);
        return PYGEN_NEXT;
    }
    exc = exception_of_await(f);
    PySendResult outcome = step(c, exc, result);
    Py_XDECREF(exc);
    return outcome;
}

static PySendResult
run_on(LmCoro *c, PyObject *exc, PyObject *value, PyObject **result)
{
    if (LM_UNLIKELY(c->delegates)) {
        return forward(c, exc, value, result);
    }
    return c->stage == 0 ? step(c, NULL, result) : step_after_await(c, exc, result);
}

PySendResult
lm_coro_send(PyObject *self, PyObject *value, PyObject **result)
{
    LmCoro *c = (LmCoro *)self;
    *result = NULL;
    int state = begin_step(c);
    if (LM_UNLIKELY(state < 0)) {
        return PYGEN_ERROR;
    }
    if (LM_UNLIKELY(state == LM_CORO_CREATED && value != Py_None)) {
        LM_STORE_RELEASE(c->state, LM_CORO_CREATED);
        PyErr_SetString(PyExc_TypeError,
                        "can't send non-None value to a just-started coroutine");
        return PYGEN_ERROR;
    }
    return end_step(c, run_on(c, NULL, value, result));
}

static void
set_stop_of(PyObject *value)
{
    PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, value);
    Py_DECREF(value);
    if (stop != NULL) {
        PyErr_SetRaisedException(stop);
    }
}

static int
is_blank_stop(PyObject *stop)
{
    const PyBaseExceptionObject *base = (PyBaseExceptionObject *)stop;
    return lm_is_ours_alone(stop) && base->traceback == NULL && base->context == NULL &&
           base->cause == NULL && base->dict == NULL && base->notes == NULL;
}

/* The one that nobody else has and nothing was done to; borrowed. NULL with an exception. */
static PyObject *
spare_stop(LmLoop *loop)
{
    PyObject *stop = loop->spares.stop;
    if (LM_UNLIKELY(stop == NULL || !is_blank_stop(stop))) {
        stop = PyObject_CallNoArgs(PyExc_StopIteration);
        if (stop != NULL) {
            Py_XSETREF(loop->spares.stop, stop);
        }
    }
    return stop;
}

/* An await takes the value out of the exception, which costs as much to make as all the rest:
   so the loop keeps one. Who asks by next() gets it too. Steals the value. */
static void
set_spare_stop(LmCoro *c, PyObject *value)
{
    if (!lm_owner_is_home(c->loop) || LM_LOAD(c->loop->is_closed)) {
        set_stop_of(value);
        return;
    }
    PyObject *stop = spare_stop(c->loop);
    if (stop == NULL) {
        Py_DECREF(value);
        return;
    }
    c->has_spare = 1;
    Py_INCREF(stop);
    Py_XSETREF(((PyStopIterationObject *)stop)->value, value);
    PyErr_SetRaisedException(stop);
}

/* From 3.12 to 3.14 an await asks tp_iternext, not am_send; an end without an exception says
   None. */
PyObject *
lm_coro_next(PyObject *self)
{
    PyObject *result;
    switch (lm_coro_send(self, Py_None, &result)) {
    case PYGEN_NEXT:
        return result;
    case PYGEN_RETURN:
        if (PY_VERSION_HEX < 0x030F0000 && result == Py_None) {
            Py_DECREF(result);
        }
        else {
            set_spare_stop((LmCoro *)self, result);
        }
        return NULL;
    default:
        return NULL;
    }
}

/* What send() and throw() give. */
static PyObject *
end_given(PySendResult outcome, PyObject *result)
{
    if (outcome != PYGEN_RETURN) {
        return result;
    }
    if (result == Py_None) {
        Py_DECREF(result);
        PyErr_SetNone(PyExc_StopIteration);
    }
    else {
        set_stop_of(result);
    }
    return NULL;
}

PyObject *
lm_coro_method_send(PyObject *self, PyObject *value)
{
    PyObject *result;
    PySendResult outcome = lm_coro_send(self, value, &result);
    return end_given(outcome, result);
}

static PySendResult
throw_in(LmCoro *c, PyObject *exc, PyObject **result)
{
    *result = NULL;
    int state = begin_step(c);
    if (state < 0) {
        return PYGEN_ERROR;
    }
    if (state == LM_CORO_CREATED) {
        PyErr_SetRaisedException(Py_NewRef(exc));
        return end_step(c, PYGEN_ERROR);
    }
    return end_step(c, run_on(c, exc, Py_None, result));
}

PyObject *
lm_coro_method_throw(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *exc = lm_future_iter_thrown(args, nargs);
    if (exc == NULL) {
        return NULL;
    }
    PyObject *result;
    PySendResult outcome = throw_in((LmCoro *)self, exc, &result);
    Py_DECREF(exc);
    return end_given(outcome, result);
}

static int
close_suspended(LmCoro *c)
{
    PyObject *exc = PyObject_CallNoArgs(PyExc_GeneratorExit);
    if (exc == NULL) {
        return -1;
    }
    PyObject *result;
    PySendResult outcome = throw_in(c, exc, &result);
    Py_DECREF(exc);
    if (outcome == PYGEN_ERROR) {
        if (!PyErr_ExceptionMatches(PyExc_GeneratorExit) &&
            !PyErr_ExceptionMatches(PyExc_StopIteration)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    Py_XDECREF(result);
    if (outcome == PYGEN_NEXT) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine ignored GeneratorExit");
        return -1;
    }
    return 0;
}

int
lm_coro_close(LmCoro *c)
{
    switch (LM_LOAD(c->state)) {
    case LM_CORO_CLOSED:
        return 0;
    case LM_CORO_SUSPENDED:
        return close_suspended(c);
    default:
        if (begin_step(c) < 0) {
            return -1;
        }
        end_step(c, PYGEN_RETURN);
        return 0;
    }
}

PyObject *
lm_coro_method_close(PyObject *self, PyObject *unused LM_UNUSED)
{
    return lm_none_if(lm_coro_close((LmCoro *)self));
}
