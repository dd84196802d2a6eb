/* The queue of what other threads send: see inbox.h. Nothing that holds its lock runs Python. */
#include "core/inbox.h"

#include "core/patched.h"

#if LM_FREE_THREADED

enum { SENT, IS_CLOSED, NO_MEMORY };

static int
push_locked(LmLoop *loop, LmReadyFn fn, PyObject *obj)
{
    if (loop->is_inbox_closed) {
        return IS_CLOSED;
    }
    if (lm_ring_push(&loop->inbox, fn, obj) < 0) {
        return NO_MEMORY;
    }
    LM_STORE_RELEASE(loop->inbox_count, loop->inbox_count + 1);
    if (LM_LOAD(loop->is_asleep)) {
        /* One wake-up is enough for all that comes until the loop sleeps again. */
        LM_STORE(loop->is_asleep, 0);
        lm_poll_wake(&loop->poll);
    }
    return SENT;
}

int
lm_inbox_push(LmLoop *loop, LmReadyFn fn, PyObject *obj)
{
    lm_lock(&loop->inbox_lock);
    int outcome = push_locked(loop, fn, obj);
    lm_unlock(&loop->inbox_lock);
    if (LM_LIKELY(outcome == SENT)) {
        return 0;
    }
    Py_DECREF(obj);
    if (outcome == IS_CLOSED) {
        return lm_loop_refuse_closed();
    }
    PyErr_NoMemory();
    return -1;
}

/* The two rings change places: senders wait for no more than that. */
static void
take_inbox(LmLoop *loop)
{
    lm_lock(&loop->inbox_lock);
    LmRing taken = loop->inbox;
    loop->inbox = loop->drained;
    loop->drained = taken;
    LM_STORE(loop->inbox_count, 0);
    int is_warned = loop->is_warned;
    loop->is_warned = 0;
    lm_unlock(&loop->inbox_lock);
    if (is_warned) {
        lm_patched_look_closer(loop);
    }
}

void
lm_inbox_warn(LmLoop *loop)
{
    lm_lock(&loop->inbox_lock);
    loop->is_warned = 1;
    LM_STORE_RELEASE(loop->inbox_count, loop->inbox_count + 1);
    lm_unlock(&loop->inbox_lock);
}

/* Memory is out: there is more than nothing. */
static int
keep_drained(LmLoop *loop)
{
    lm_lock(&loop->inbox_lock);
    LM_STORE(loop->inbox_count, loop->inbox_count + 1);
    lm_unlock(&loop->inbox_lock);
    PyErr_NoMemory();
    return -1;
}

static int
move_drained(LmLoop *loop)
{
    LmRing *drained = &loop->drained;
    while (lm_ring_length(drained) > 0) {
        const LmReadyItem *item = lm_ring_at(drained, 0);
        if (lm_ring_push(&loop->ready, item->fn, item->obj) < 0) {
            return keep_drained(loop);
        }
        drained->head++;
    }
    return 0;
}

/* What is left of a time when memory was out comes first. */
int
lm_inbox_drain(LmLoop *loop)
{
    if (move_drained(loop) < 0) {
        return -1;
    }
    take_inbox(loop);
    return move_drained(loop);
}

int
lm_inbox_begin_wait(LmLoop *loop)
{
    lm_lock(&loop->inbox_lock);
    int is_empty = loop->inbox_count == 0;
    LM_STORE(loop->is_asleep, (uint8_t)is_empty);
    lm_unlock(&loop->inbox_lock);
    return is_empty;
}

void
lm_inbox_close(LmLoop *loop)
{
    lm_lock(&loop->inbox_lock);
    loop->is_inbox_closed = 1;
    LmRing taken = loop->inbox;
    loop->inbox = (LmRing){NULL, 0, 0, 0};
    LM_STORE(loop->inbox_count, 0);
    lm_unlock(&loop->inbox_lock);
    lm_ring_clear(&taken);
    lm_ring_clear(&loop->drained);
}

static int
traverse_ring(const LmRing *ring, visitproc visit, void *arg)
{
    for (size_t i = 0, n = lm_ring_length(ring); i < n; i++) {
        Py_VISIT(lm_ring_at(ring, i)->obj);
    }
    return 0;
}

int
lm_inbox_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    int failed = traverse_ring(&loop->inbox, visit, arg);
    return failed ? failed : traverse_ring(&loop->drained, visit, arg);
}

#else

void
lm_inbox_close(LmLoop *loop LM_UNUSED)
{
}

int
lm_inbox_traverse(LmLoop *loop LM_UNUSED, visitproc visit LM_UNUSED,
                  void *arg LM_UNUSED)
{
    return 0;
}

#endif
