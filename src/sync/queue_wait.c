/* put() and get(): the two waits of a queue, which begin anew after each. */
#include "sync/queue.h"

#include "base/oserr.h"
#include "sync/coro.h"
#include "sync/plain.h"
#include "sync/waiting.h"

/* What differs between the two, in what asyncio's code does where the wait raised. */
typedef struct {
    const char *waiters; /* "_putters" */
    const char *blocked; /* "full": what one waits for to be false */
} Side;

static const Side put_side = {"_putters", "full"};
static const Side get_side = {"_getters", "empty"};

/* self.<name>(): its truth, or -1 with an exception set. */
static int
ask(PyObject *self, const char *name)
{
    PyObject *answer = PyObject_CallMethod(self, name, NULL);
    int truth = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth;
}

static int
remove_waiter(PyObject *self, const Side *side, PyObject *waiter)
{
    if (lm_sync_remove(self, side->waiters, waiter) == 0) {
        return 0;
    }
    if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
        return -1;
    }
    PyErr_Clear(); /* who woke it has taken it out */
    return 0;
}

/* `except:` of asyncio's, by its own names: rare, and right whatever is patched or set by then.
   A waiter that was woken and does not take what there is hands that on. */
static int
leave_queue(LmState *st, PyObject *self, const Side *side, PyObject *waiter)
{
    PyObject *done = PyObject_CallMethodNoArgs(waiter, st->str.cancel);
    Py_XDECREF(done);
    if (done == NULL || remove_waiter(self, side, waiter) < 0) {
        return -1;
    }
    int is_blocked = ask(self, side->blocked);
    int was_woken = is_blocked == 0 ? !lm_sync_is_cancelled(st, waiter) : 0;
    if (is_blocked < 0 || !was_woken) {
        return is_blocked < 0 ? -1 : 0;
    }
    PyObject *waiters = PyObject_GetAttrString(self, side->waiters);
    done = waiters != NULL ? PyObject_CallMethod(self, "_wakeup_next", "O", waiters)
                           : NULL;
    Py_XDECREF(waiters);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}

static PySendResult
give_up(LmCoro *c, const Side *side, PyObject *exc)
{
    PyObject *waiter = Py_NewRef(c->awaited);
    int failed = leave_queue(c->loop->st, c->self, side, waiter);
    Py_DECREF(waiter);
    if (failed < 0) {
        lm_exc_put_back(Py_NewRef(exc));
        return PYGEN_ERROR;
    }
    return lm_coro_raise(exc);
}

/* 1 where C may go on with it; else what the step is to return is in `*outcome`. */
static int
look_in_step(LmCoro *c, LmQueueLook *look, PySendResult *outcome, PyObject **result)
{
    LmState *st = c->loop->st;
    int is_plain = lm_plain_is(st, c->self, c->op->inner, c->op->inner);
    if (is_plain > 0) {
        is_plain = lm_queue_look(st, c->self, look);
    }
    if (LM_LIKELY(is_plain > 0)) {
        return 1;
    }
    *outcome = is_plain < 0 ? PYGEN_ERROR : lm_coro_delegate(c, result);
    return 0;
}

PySendResult
lm_queue_step_put(LmCoro *c, PyObject *exc, PyObject **result)
{
    LmQueueLook look;
    PySendResult outcome;
    if (LM_UNLIKELY(exc != NULL)) {
        return give_up(c, &put_side, exc);
    }
    if (!look_in_step(c, &look, &outcome, result)) {
        return outcome;
    }
    LmState *st = c->loop->st;
    if (LM_UNLIKELY(look.is_shutdown)) {
        PyErr_SetNone(st->QueueShutDown);
        return PYGEN_ERROR;
    }
    if (lm_queue_is_full(&look)) {
        return lm_wait_among(c, &lm_queue(c->self)->putters, result);
    }
    return lm_queue_put(st, c->self, &look, c->arg) < 0
               ? PYGEN_ERROR
               : lm_coro_return(Py_NewRef(Py_None), result);
}

PySendResult
lm_queue_step_get(LmCoro *c, PyObject *exc, PyObject **result)
{
    LmQueueLook look;
    PySendResult outcome;
    if (LM_UNLIKELY(exc != NULL)) {
        return give_up(c, &get_side, exc);
    }
    if (!look_in_step(c, &look, &outcome, result)) {
        return outcome;
    }
    LmState *st = c->loop->st;
    if (look.size > 0) {
        return lm_coro_return(lm_queue_get(st, c->self, &look), result);
    }
    if (LM_UNLIKELY(look.is_shutdown)) {
        PyErr_SetNone(st->QueueShutDown);
        return PYGEN_ERROR;
    }
    return lm_wait_among(c, &lm_queue(c->self)->getters, result);
}
