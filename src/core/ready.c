/* The inbox and the clearing of the ready queue: see ready.h. */
#include "core/ready.h"

int
lm_ready_push_threadsafe(LmLoop *loop, LmReadyFn fn, PyObject *obj)
{
    if (loop->thread_id == PyThread_get_thread_ident()) {
        /* The loop's own thread keeps the order with its other calls. */
        return lm_ready_push(loop, fn, obj);
    }
    LmInbox *inbox = &loop->inbox;
    pthread_mutex_lock(&inbox->lock);
    int is_closed = inbox->is_closed;
    int failed = is_closed || lm_ring_push(&inbox->items, fn, obj) < 0;
    if (!failed) {
        atomic_store_explicit(&inbox->has_items, 1, memory_order_relaxed);
    }
    if (!failed && inbox->is_asleep) {
        /* One wake-up is enough for all that comes until the loop sleeps again. */
        inbox->is_asleep = 0;
        lm_poll_wake(&loop->poll);
    }
    pthread_mutex_unlock(&inbox->lock);
    if (!failed) {
        return 0;
    }
    Py_DECREF(obj);
    if (is_closed) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
    }
    else {
        PyErr_NoMemory();
    }
    return -1;
}

int
lm_ready_take_inbox(LmLoop *loop)
{
    LmInbox *inbox = &loop->inbox;
    int failed = 0;
    if (LM_LIKELY(!atomic_load_explicit(&inbox->has_items, memory_order_relaxed))) {
        return 0;
    }
    pthread_mutex_lock(&inbox->lock);
    atomic_store_explicit(&inbox->has_items, 0, memory_order_relaxed);
    while (lm_ring_length(&inbox->items) > 0) {
        LmReadyItem item = *lm_ring_at(&inbox->items, 0);
        if (lm_ring_push(&loop->ready, item.fn, item.obj) < 0) {
            atomic_store_explicit(&inbox->has_items, 1, memory_order_relaxed);
            failed = 1;
            break;
        }
        lm_ring_pop(&inbox->items);
    }
    pthread_mutex_unlock(&inbox->lock);
    if (failed) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

int
lm_ready_fall_asleep(LmLoop *loop)
{
    LmInbox *inbox = &loop->inbox;
    pthread_mutex_lock(&inbox->lock);
    inbox->is_asleep = lm_ring_length(&inbox->items) == 0;
    int is_asleep = inbox->is_asleep;
    pthread_mutex_unlock(&inbox->lock);
    return is_asleep;
}

void
lm_ready_wake_up(LmLoop *loop)
{
    pthread_mutex_lock(&loop->inbox.lock);
    loop->inbox.is_asleep = 0;
    pthread_mutex_unlock(&loop->inbox.lock);
}

static void
clear_ring(LmRing *ring)
{
    /* Taken whole first: a finalizer may push to the ring that it is being cleared from. */
    LmRing taken = *ring;
    *ring = (LmRing){NULL, 0, 0, 0};
    while (lm_ring_length(&taken) > 0) {
        Py_DECREF(lm_ring_pop(&taken).obj);
    }
    lm_ring_free(&taken);
}

void
lm_ready_clear(LmLoop *loop)
{
    while (loop->ready.items != NULL || loop->inbox.items.items != NULL) {
        clear_ring(&loop->ready);
        clear_ring(&loop->inbox.items);
    }
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
lm_ready_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    int failed = traverse_ring(&loop->ready, visit, arg);
    return failed ? failed : traverse_ring(&loop->inbox.items, visit, arg);
}
