/* The items of a queue, and who waits for them: see queue.h. Each kind keeps its items as
   asyncio's does, in a deque or a list, by the calls that asyncio's makes. */
#include "sync/queue.h"

#include "base/held.h"
#include "sync/plain.h"

/* A number that C can work on: -1 without an exception where it is none. */
static int
as_number(PyObject *value, Py_ssize_t *number)
{
    if (value == NULL || !PyLong_CheckExact(value)) {
        return -1;
    }
#if PY_VERSION_HEX >= 0x030C0000
    if (LM_LIKELY(PyUnstable_Long_IsCompact((PyLongObject *)value))) {
        *number = PyUnstable_Long_CompactValue((PyLongObject *)value);
        return 0;
    }
#endif
    int overflow;
    long long found = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (overflow || found == PY_SSIZE_T_MAX) {
        return -1;
    }
    *number = (Py_ssize_t)found;
    return 0;
}

static int
has_plain_waiters(const LmState *st, const LmQueue *q)
{
    return lm_is_deque(st, q->getters) && lm_is_deque(st, q->putters);
}

/* How many there are: -1 where it is not what the store has. */
static Py_ssize_t
size_of_items(const LmState *st, PyObject *items, int store)
{
    if (items == NULL) {
        return -1;
    }
    if (store == LM_STORE_FIFO) {
        return lm_is_deque(st, items) ? lm_deque_size(items) : -1;
    }
    return PyList_CheckExact(items) ? PyList_GET_SIZE(items) : -1;
}

int
lm_queue_look(LmState *st, PyObject *self, LmQueueLook *look)
{
    const LmQueue *q = lm_queue(self);
    look->store = lm_plain_store(st, self);
    if (look->store < 0 || look->store == LM_STORE_OWN) {
        return look->store < 0 ? -1 : 0;
    }
    look->is_shutdown = LM_HAS_SHUTDOWN ? lm_sync_flag(q->is_shutdown) : 0;
    look->size = size_of_items(st, q->queue, look->store);
    return look->is_shutdown >= 0 && look->size >= 0 &&
           as_number(q->maxsize, &look->maxsize) == 0 && has_plain_waiters(st, q);
}

static int
store_item(LmState *st, const LmQueueLook *look, PyObject *items, PyObject *item)
{
    switch (look->store) {
    case LM_STORE_FIFO:
        return lm_deque_append(st, items, item);
    case LM_STORE_LIFO:
        return PyList_Append(items, item);
    default:
        return lm_done(PyObject_CallFunctionObjArgs(st->heappush, items, item, NULL));
    }
}

static PyObject *
take_item(LmState *st, const LmQueueLook *look, PyObject *items)
{
    switch (look->store) {
    case LM_STORE_FIFO:
        return lm_deque_popleft(st, items);
    case LM_STORE_LIFO:
        return PyObject_CallMethodNoArgs(items, st->str.pop);
    default:
        return PyObject_CallOneArg(st->heappop, items);
    }
}

/* _wakeup_next(): of the deque at `place`, which only asyncio's code may have replaced. */
static int
wake_next_of(LmState *st, PyObject *waiters)
{
    while (lm_deque_size(waiters) > 0) {
        PyObject *waiter = lm_deque_popleft(st, waiters);
        int woken = waiter != NULL ? lm_sync_wake(st, waiter, Py_None) : -1;
        Py_XDECREF(waiter);
        if (woken != 0) {
            return woken < 0 ? -1 : 0;
        }
    }
    return 0;
}

/* The one at `place` is a deque unless something has run since it was looked at. */
static int
wake_one(LmState *st, PyObject *self, PyObject *const *place, const char *name)
{
    PyObject *waiters = Py_XNewRef(*place);
    int failed;
    if (LM_LIKELY(lm_is_deque(st, waiters))) {
        failed = lm_deque_size(waiters) > 0 ? wake_next_of(st, waiters) : 0;
    }
    else {
        PyObject *found = PyObject_GetAttrString(self, name);
        failed = found == NULL
                     ? -1
                     : lm_done(PyObject_CallMethod(self, "_wakeup_next", "O", found));
        Py_XDECREF(found);
    }
    Py_XDECREF(waiters);
    return failed;
}

static int
count_unfinished(PyObject *self)
{
    LmQueue *q = lm_queue(self);
    Py_ssize_t count;
    if (LM_UNLIKELY(as_number(q->unfinished, &count) < 0)) {
        return lm_sync_change(self, "_unfinished_tasks", 1);
    }
    PyObject *more = PyLong_FromSsize_t(count + 1);
    if (more == NULL) {
        return -1;
    }
    lm_sync_set(&q->unfinished, more);
    Py_DECREF(more);
    return 0;
}

/* self._finished.clear() */
static int
clear_finished(LmState *st, PyObject *self)
{
    PyObject *finished = lm_queue(self)->finished;
    int is_plain = finished != NULL && Py_IS_TYPE(finished, lm_type(st->EventType))
                       ? lm_plain_is(st, finished, LM_BIT(clear), LM_BIT(clear))
                       : 0;
    if (LM_LIKELY(is_plain > 0)) {
        LM_BEGIN_SECTION(finished)
        lm_sync_set(&lm_gate(finished)->value, Py_False);
        LM_END_SECTION
    }
    if (is_plain != 0) {
        return is_plain < 0 ? -1 : 0;
    }
    finished = PyObject_GetAttrString(self, "_finished");
    int failed = finished != NULL
                     ? lm_done(PyObject_CallMethodNoArgs(finished, st->str.clear))
                     : -1;
    Py_XDECREF(finished);
    return failed;
}

int
lm_queue_put(LmState *st, PyObject *self, const LmQueueLook *look, PyObject *item)
{
    LmQueue *q = lm_queue(self);
    PyObject *items = Py_NewRef(q->queue);
    int failed = store_item(st, look, items, item);
    Py_DECREF(items);
    if (failed < 0 || count_unfinished(self) < 0 || clear_finished(st, self) < 0) {
        return -1;
    }
    return wake_one(st, self, &q->getters, "_getters");
}

PyObject *
lm_queue_get(LmState *st, PyObject *self, const LmQueueLook *look)
{
    LmQueue *q = lm_queue(self);
    PyObject *items = Py_NewRef(q->queue);
    PyObject *item = take_item(st, look, items);
    Py_DECREF(items);
    if (item != NULL && wake_one(st, self, &q->putters, "_putters") < 0) {
        Py_CLEAR(item);
    }
    return item;
}
