/* Scheduling and expiry of timer handles: see timers.h. Runs Python only where
   references are dropped or an overridden time() is asked. */
#include "core/timers.h"

#include "base/clock.h"
#include "core/patched.h"
#include "core/ready.h"
#include "core/switch.h"

#include <math.h>

/* asyncio's own bound on a wait; also keeps the arithmetic in nanoseconds far from
   overflow. */
#define LONGEST_WAIT_S (24 * 3600.0)

/* Timers come thick where so many are due within the slack, wait after wait. */
#define CROWD 3
#define CROWDED_WAITS 16

/* So many are moved in much less than a switch interval. */
#define TIMERS_UNLOOKED 128

static double
due_of(const LmHandle *handle)
{
    return isnan(handle->due) ? -INFINITY : handle->due;
}

int
lm_timers_now(LmLoop *loop, double *now)
{
    if (LM_UNLIKELY(lm_patched_is_clock_new(loop->st)) && lm_patched_look(loop) < 0) {
        return -1;
    }
    if (LM_LIKELY(!LM_LOAD(loop->has_own_time))) {
        *now = lm_clock_now();
        return 0;
    }
    PyObject *value = PyObject_CallMethodNoArgs((PyObject *)loop, loop->st->str.time);
    if (value == NULL) {
        return -1;
    }
    *now = PyFloat_AsDouble(value);
    Py_DECREF(value);
    return *now == -1.0 && PyErr_Occurred() ? -1 : 0;
}

int
lm_timers_add(LmLoop *loop, LmHandle *handle)
{
    handle->node.seq = loop->timer_seq++;
    if (lm_heap_push(&loop->timers, &handle->node, due_of(handle)) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    Py_INCREF(lm_handle_object(handle));
    return 0;
}

#if LM_FREE_THREADED

/* Ready-queue function: a timer that another thread sent, and may have cancelled meanwhile. */
static int
add_sent(LmLoop *loop, PyObject *self)
{
    LmHandle *handle = lm_handle(self);
    int failed = LM_LOAD(handle->is_cancelled) ? 0 : lm_timers_add(loop, handle);
    Py_DECREF(self);
    return failed;
}

int
lm_timers_add_any(LmLoop *loop, LmHandle *handle)
{
    LmOwner owner;
    PyObject *self = lm_handle_object(handle);
    if (lm_owner_enter(&owner, loop, self) < 0) {
        PyErr_Clear();
        return lm_inbox_push(loop, add_sent, Py_NewRef(self));
    }
    int failed = lm_timers_add(loop, handle);
    lm_owner_leave(&owner);
    return failed;
}

#else

int
lm_timers_add_any(LmLoop *loop, LmHandle *handle)
{
    return lm_timers_add(loop, handle);
}

#endif

int
lm_timers_expire(LmLoop *loop, double now)
{
    const LmHeapSlot *top;
    unsigned moved = 0;
    int64_t key = lm_heap_key(now);
    while ((top = lm_heap_top(&loop->timers)) != NULL && top->key <= key) {
        LmHandle *handle = LM_CONTAINER_OF(top->node, LmHandle, node);
        lm_heap_remove(&loop->timers, &handle->node);
        if (lm_ready_push(loop, lm_handle_run_item, lm_handle_object(handle)) < 0) {
            return -1;
        }
        if (LM_UNLIKELY(++moved % TIMERS_UNLOOKED == 0) &&
            lm_switch_look(loop, lm_switch_now(loop)) < 0) {
            return -1;
        }
    }
    return 0;
}

/* A wait for each timer is exact, and where timers come thick it costs more than all else: then
   those that are due within the slack are taken together, in their order. Not before that
   has cost something: a few timers near each other are few waits. */
static int64_t
slack_of(LmLoop *loop, double due, double wait)
{
    double slack = loop->timer_slack;
    if (wait > slack) {
        loop->crowded_waits = 0;
        return 0;
    }
    if (lm_heap_count(&loop->timers, lm_heap_key(due + slack), CROWD) < CROWD) {
        loop->crowded_waits /= 2;
        return 0;
    }
    if (loop->crowded_waits < CROWDED_WAITS) {
        loop->crowded_waits++;
        return 0;
    }
    return (int64_t)(slack * 1e9);
}

static LM_APART int
find_deadline(LmLoop *loop, const LmHandle *first, LmDeadline *deadline)
{
    /* An overridden time() may change the heap. */
    double due = due_of(first);
    double now;
    if (lm_timers_now(loop, &now) < 0) {
        return -1;
    }
    double wait = due - now;
    if (!(wait > 0)) {
        deadline->at_ns = 0;
        return 0;
    }
    if (!LM_LOAD(loop->has_own_time) && wait <= LONGEST_WAIT_S) {
        deadline->at_ns = (int64_t)ceil(due * 1e9);
        deadline->slack_ns = slack_of(loop, due, wait);
        return 0;
    }
    wait = wait > LONGEST_WAIT_S ? LONGEST_WAIT_S : wait;
    deadline->at_ns = lm_clock_ns() + (int64_t)ceil(wait * 1e9);
    return 0;
}

int
lm_timers_deadline(LmLoop *loop, LmDeadline *deadline)
{
    const LmHeapSlot *top = lm_heap_top(&loop->timers);
    *deadline = (LmDeadline){.at_ns = LM_POLL_FOREVER};
    return top == NULL ? 0
                       : find_deadline(loop, LM_CONTAINER_OF(top->node, LmHandle, node),
                                       deadline);
}

void
lm_timers_clear(LmLoop *loop)
{
    while (loop->timers.size > 0) {
        /* The last slot: no sifting. */
        LmHeapNode *node = loop->timers.slots[loop->timers.size - 1].node;
        lm_handle_unschedule(loop, LM_CONTAINER_OF(node, LmHandle, node));
    }
    lm_heap_free(&loop->timers);
}

int
lm_timers_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    for (size_t i = 0; i < loop->timers.size; i++) {
        LmHandle *handle = LM_CONTAINER_OF(loop->timers.slots[i].node, LmHandle, node);
        Py_VISIT(lm_handle_object(handle));
    }
    return 0;
}
