/* Done callbacks by their place: shown, and taken out. See waiters.h. */
#include "task/waiters.h"

#include "core/context.h"
#include "task/task.h"

/* The waiter in this place, or NULL: the first one, which may be gone, or one of more. */
static LmWaiter *
waiter_at(LmFuture *f, uint32_t place)
{
    if (f->state != LM_PENDING || place > lm_waiters_more(f)) {
        return NULL;
    }
    LmWaiter *waiter =
        place == 0 ? &f->waiter : &f->rare->more[f->rare->more_begin + place - 1];
    return waiter->callable != NULL ? waiter : NULL;
}

static PyObject *
shown_callable(const LmWaiter *waiter)
{
    return waiter->context != NULL ? Py_NewRef(waiter->callable)
                                   : lm_task_wakeup_callable(waiter->callable);
}

static PyObject *
shown_context(LmWaiter *waiter)
{
    if (waiter->context == NULL) {
        return lm_task_context(lm_task(waiter->callable));
    }
    return waiter->context != LM_CONTEXT_LATER ? lm_context_show(&waiter->context)
                                               : Py_NewRef(Py_None);
}

/* The pair in this place, as asyncio shows it. What is shown is held: making a context
   may run the collector. */
static PyObject *
shown_pair(LmFuture *f, uint32_t place)
{
    LmWaiter *waiter = waiter_at(f, place);
    LmWaiter held = {Py_NewRef(waiter->callable), Py_XNewRef(waiter->context)};
    PyObject *callable = shown_callable(&held);
    PyObject *context = shown_context(&held);
    waiter = waiter_at(f, place);
    if (waiter != NULL && waiter->callable == held.callable &&
        waiter->context == Py_None) {
        Py_SETREF(waiter->context, Py_NewRef(held.context)); /* None: runs nothing */
    }
    PyObject *pair =
        callable != NULL && context != NULL ? PyTuple_Pack(2, callable, context) : NULL;
    Py_XDECREF(callable);
    Py_XDECREF(context);
    lm_waiter_release(&held);
    return pair;
}

PyObject *
lm_waiters_list(PyObject *future)
{
    LmFuture *f = lm_future(future);
    if (waiter_at(f, 0) == NULL && waiter_at(f, 1) == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *list = PyList_New(0);
    for (uint32_t i = 0; list != NULL && i <= lm_waiters_more(f); i++) {
        if (waiter_at(f, i) == NULL) {
            continue;
        }
        PyObject *pair = shown_pair(f, i);
        if (pair == NULL || PyList_Append(list, pair) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pair);
    }
    return list;
}

static void
take_waiter_out(LmFuture *f, uint32_t place)
{
    LmWaiter *waiter = waiter_at(f, place);
    LmWaiter taken = *waiter;
    if (place == 0) {
        *waiter = (LmWaiter){NULL, NULL};
    }
    else {
        memmove(waiter, waiter + 1, (lm_waiters_more(f) - place) * sizeof(*waiter));
        f->rare->more_end--;
    }
    lm_waiter_release(&taken);
}

/* 1 where the callable equals the callback. What is compared is held: an __eq__ may do
   anything. */
static int
is_same_callback(const LmWaiter *waiter, PyObject *callback)
{
    PyObject *shown = shown_callable(waiter);
    int same = shown != NULL ? PyObject_RichCompareBool(shown, callback, Py_EQ) : -1;
    Py_XDECREF(shown);
    return same;
}

Py_ssize_t
lm_waiters_remove(PyObject *future, PyObject *callback)
{
    LmFuture *f = lm_future(future);
    Py_ssize_t removed = 0;
    uint32_t place = 0;
    while (place <= lm_waiters_more(f)) {
        LmWaiter *waiter = waiter_at(f, place);
        if (waiter == NULL) {
            place++;
            continue;
        }
        PyObject *callable = Py_NewRef(waiter->callable);
        int same = is_same_callback(waiter, callback);
        /* Anew: the comparison may have changed what stands where. */
        waiter = waiter_at(f, place);
        if (same > 0 && waiter != NULL && waiter->callable == callable) {
            take_waiter_out(f, place);
            removed++;
        }
        else {
            place++;
        }
        Py_DECREF(callable);
        if (same < 0) {
            return -1;
        }
    }
    return removed;
}
