/* The turn: the sentence that the whole source hangs on.

   Relies on ready, timers and the poll. Whatever runs here may stop, close watches,
   schedule, or raise; libev's stack is empty whenever Python runs, so an exception may
   leave from anywhere. */
#include "core/run.h"

#include "base/clock.h"
#include "base/oserr.h"
#include "core/debug.h"
#include "core/patched.h"
#include "core/ready.h"
#include "core/switch.h"
#include "core/timers.h"

/* While there is work, the kernel is asked at least once in so many turns and once in so
   much time: the promise on the latency of I/O beside busy callbacks. It is asked in the
   next turn, as asyncio does, after anything that the loop itself did to a descriptor:
   both ends of a connection may live on this loop, and what one end did is then seen in
   the same turn as there. */
#define MOST_TURNS_UNPOLLED 64
#define LONGEST_UNPOLLED_NS 100000

/* Asking the clock is a tenth of a short turn: while turns are, it is asked in every
   fourth. */
#define SHORT_TURN_NS 2000
#define TURNS_UNTIMED 4

#define AT_ONCE ((LmDeadline){.at_ns = 0})

static int
has_time_left(LmLoop *loop)
{
    if (loop->turns_unpolled < loop->next_look) {
        return 1;
    }
    int64_t passed_ns = lm_clock_ns() - loop->polled_at_ns;
    int are_short = passed_ns < SHORT_TURN_NS * (int64_t)(loop->turns_unpolled + 1);
    loop->next_look = loop->turns_unpolled + (are_short ? TURNS_UNTIMED : 1);
    return passed_ns < LONGEST_UNPOLLED_NS;
}

static int
may_skip_poll(LmLoop *loop)
{
    return !loop->is_first_turn && !LM_LOAD(loop->is_stopping) && !loop->has_done_io &&
           lm_list_is_empty(&loop->poll.changed) &&
           loop->turns_unpolled < MOST_TURNS_UNPOLLED && has_time_left(loop);
}

/* Signal handlers find no task that is not running. */
static int
check_signals(LmLoop *loop)
{
    lm_loop_leave_task(loop);
    return PyErr_CheckSignals();
}

/* A turn or a poll may be asked for outside a run, by any thread. Two cannot wait in the same
   poll, and what a closing loop lets go runs Python, in which it is another thread's turn:
   no wait begins that would see the poll's end. */
static inline int
may_poll(const LmLoop *loop)
{
    return !LM_LOAD(loop->is_closed) && !lm_poll_is_waited_in(&loop->poll);
}

static LM_APART int
refuse_poll(LmLoop *loop)
{
    if (lm_loop_check_closed(loop) == 0) {
        PyErr_SetString(PyExc_RuntimeError, "This event loop is already running");
    }
    return -1;
}

static int
poll_until(LmLoop *loop, LmDeadline deadline)
{
    LmPoll *poll = lm_loop_poll(loop);
    if (poll == NULL) {
        return -1;
    }
    if (LM_UNLIKELY(!may_poll(loop))) {
        return refuse_poll(loop);
    }
    if (deadline.at_ns != 0 && !lm_inbox_begin_wait(loop)) {
        deadline = AT_ONCE;
    }
    int failed = lm_poll_run(poll, deadline);
    lm_inbox_end_wait(loop);
    loop->polled_at_ns = lm_clock_ns();
    loop->turns_unpolled = 0;
    loop->next_look = 0;
    loop->has_done_io = 0;
    if (failed < 0) {
        return -1;
    }
    /* A signal that did not end a wait has time until Python runs. */
    return deadline.at_ns != 0 ? check_signals(loop)
                               : lm_switch_look(loop, loop->polled_at_ns);
}

static int
has_nothing_to_do(const LmLoop *loop)
{
    return lm_ring_length(&loop->ready) == 0 && !LM_LOAD(loop->is_stopping) &&
           !lm_inbox_has_any(loop);
}

/* Waits for something to do where nothing is, looks at the kernel where that is due. 1
   where the turn is over by that: it was asyncio's own.

   Before a sleep: a signal may have come while C code ran, after the last place where the
   interpreter looks, and its handler may give the loop something to do. The current-task
   slot is empty from there on: other threads' Python code runs while the loop waits. */
static int
poll_for_work(LmLoop *loop)
{
    LmDeadline deadline = AT_ONCE;
    if (!has_nothing_to_do(loop) && may_skip_poll(loop)) {
        loop->turns_unpolled++;
        return 0;
    }
    if (LM_UNLIKELY(LM_LOAD(loop->is_patched))) {
        int taken = lm_patched_take_turn(loop);
        if (taken != 0) {
            return taken;
        }
    }
    if (has_nothing_to_do(loop)) {
        if (check_signals(loop) < 0) {
            return -1;
        }
        if (has_nothing_to_do(loop) && lm_timers_deadline(loop, &deadline) < 0) {
            return -1;
        }
    }
    loop->is_first_turn = 0;
    return poll_until(loop, deadline);
}

static int
expire_timers(LmLoop *loop)
{
    double now;
    if (loop->timers.size == 0) {
        return 0;
    }
    if (LM_UNLIKELY(LM_LOAD(loop->has_own_time) || lm_patched_is_clock_new(loop->st))) {
        lm_loop_leave_task(loop);
    }
    return lm_timers_now(loop, &now) < 0 ? -1 : lm_timers_expire(loop, now);
}

static int
has_postponed(const LmLoop *loop)
{
    return lm_ring_length(&loop->postponed) > 0;
}

static int
is_postponed_due(const LmLoop *loop)
{
    return loop->postponed_until_ns == 0 || lm_clock_ns() >= loop->postponed_until_ns;
}

/* Of the tasks of a turn none is the one that put off what fails now. */
static int
run_postponed(LmLoop *loop)
{
    if (loop->postpones == LM_POSTPONE_TURN) {
        lm_loop_leave_task(loop);
    }
    int failed = 0;
    while (failed == 0 && has_postponed(loop)) {
        failed = lm_loop_run_next_postponed(loop) < 0 ? -1 : lm_switch_between(loop);
    }
    return failed;
}

/* After an item: what it put off, or what has waited for long enough. */
LM_INLINE int
run_due_postponed(LmLoop *loop, int failed)
{
    return LM_UNLIKELY(has_postponed(loop)) && failed == 0 && is_postponed_due(loop)
               ? run_postponed(loop)
               : failed;
}

/* What is held for the report is let go of, and the report made, when the item is over:
   no task is current then. */
static int
run_item_timed(LmLoop *loop, LmReadyItem item)
{
    PyObject *obj = Py_NewRef(item.obj);
    PyObject *outer = loop->current_item;
    int64_t began_ns = lm_clock_ns();
    loop->current_item = obj;
    int failed = item.fn(loop, item.obj);
    loop->current_item = outer;
    int64_t ended_ns = lm_clock_ns();
    failed = run_due_postponed(loop, failed);
    lm_loop_leave_task(loop);
    if (failed == 0) {
        failed = lm_debug_note_duration(loop, obj, (double)(ended_ns - began_ns) / 1e9);
    }
    Py_DECREF(obj);
    return failed;
}

/* Debug mode, or something of asyncio's is patched and the item is one to be seen. */
static int
run_item_slowly(LmLoop *loop, LmReadyItem item)
{
    if (LM_LOAD(loop->is_patched)) {
        PyObject *handle = lm_patched_show(loop, item);
        if (handle == NULL) {
            return -1;
        }
        item = lm_patched_item(loop, handle);
    }
    return LM_LOAD(loop->is_debug) ? run_item_timed(loop, item)
                                   : run_due_postponed(loop, item.fn(loop, item.obj));
}

static int
run_items(LmLoop *loop)
{
    size_t count = lm_ring_length(&loop->ready);
    /* A nested run or a close may have emptied the ring in between. */
    while (count-- > 0 && lm_ring_length(&loop->ready) > 0) {
        LmReadyItem item = lm_ring_pop(&loop->ready);
        int failed = LM_UNLIKELY(LM_LOAD(loop->is_slow))
                         ? run_item_slowly(loop, item)
                         : run_due_postponed(loop, item.fn(loop, item.obj));
        if (LM_UNLIKELY(failed < 0) || LM_UNLIKELY(lm_switch_between(loop) < 0)) {
            return -1;
        }
    }
    return 0;
}

/* Runs what is on the ring now; what that schedules waits for the next turn. */
static int
run_ready_items(LmLoop *loop)
{
    loop->postpones_now = loop->postpones;
    int failed = run_items(loop);
    if (LM_UNLIKELY(has_postponed(loop)) && failed == 0) {
        failed = run_postponed(loop);
    }
    loop->postpones_now = 0;
    return failed;
}

/* A run begins and ends with nothing put off; an exception that is set meanwhile is the
   context of what that raises. */
static int
flush_postponed(LmLoop *loop)
{
    if (LM_LIKELY(!has_postponed(loop))) {
        return 0;
    }
    PyObject *exc = lm_exc_hold();
    int failed = lm_loop_run_postponed(loop);
    lm_exc_put_back(exc);
    return failed;
}

/* What other threads sent while the loop waited was there before what the kernel
   reports now. */
static int
run_turn(LmLoop *loop)
{
    int polled = poll_for_work(loop);
    if (LM_UNLIKELY(polled != 0)) {
        return polled < 0 ? -1 : 0;
    }
    if (lm_ready_take_sent(loop) < 0) {
        return -1;
    }
    lm_poll_dispatch(&loop->poll);
    return expire_timers(loop) < 0 ? -1 : run_ready_items(loop);
}

static int
run_until_stop(LmLoop *loop)
{
    do {
        if (run_turn(loop) < 0) {
            return -1;
        }
    } while (!LM_LOAD(loop->is_stopping));
    return 0;
}

/* A stop() within a run for a future is for the run around it. */
static int
run_until_done(LmLoop *loop, LmIsDone is_done, PyObject *future)
{
    int stop_outer = 0;
    int done;
    while (lm_loop_leave_task(loop), (done = is_done(future)) == 0) {
        if (run_turn(loop) < 0) {
            return -1;
        }
        stop_outer |= LM_LOAD(loop->is_stopping);
        LM_STORE(loop->is_stopping, 0);
    }
    LM_STORE(loop->is_stopping, (uint8_t)stop_outer);
    return done < 0 ? -1 : 0;
}

static int
run_turns(LmLoop *loop, LmIsDone is_done, PyObject *future)
{
    uint8_t outer_stopping = 0;
    uint8_t outer_postpones = loop->postpones_now;
    if (flush_postponed(loop) < 0) {
        return -1;
    }
    loop->postpones_now = 0;
    if (loop->nesting > 0) {
        outer_stopping = LM_LOAD(loop->is_stopping);
        LM_STORE(loop->is_stopping, 0);
    }
    loop->is_first_turn = 1;
    lm_switch_begin(loop);
    int failed =
        future != NULL ? run_until_done(loop, is_done, future) : run_until_stop(loop);
    lm_loop_leave_task(loop);
    loop->postpones_now = outer_postpones;
    failed |= flush_postponed(loop);
    LM_STORE(loop->is_stopping, future != NULL
                                    ? LM_LOAD(loop->is_stopping) | outer_stopping
                                    : outer_stopping);
    return failed;
}

int
lm_run_forever(LmLoop *loop)
{
    return run_turns(loop, NULL, NULL);
}

int
lm_run_until(LmLoop *loop, LmIsDone is_done, PyObject *future)
{
    return run_turns(loop, is_done, future);
}

int
lm_run_turn(LmLoop *loop)
{
    if (LM_LOAD(loop->thread_id) == 0) {
        loop->is_first_turn = 1;
    }
    int failed = run_turn(loop);
    PyObject *exc = failed ? lm_exc_hold() : NULL;
    lm_loop_leave_task(loop);
    lm_exc_restore(exc);
    return failed;
}

int
lm_run_poll(LmLoop *loop, int64_t deadline_ns)
{
    if (check_signals(loop) < 0 ||
        poll_until(loop, has_nothing_to_do(loop) ? (LmDeadline){.at_ns = deadline_ns}
                                                 : AT_ONCE) < 0) {
        return -1;
    }
    return lm_ready_take_sent(loop);
}
