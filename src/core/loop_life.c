/* Making and closing of a loop: see loop.h. Relies on all that keeps something in it: ready,
   timers, handles and the poll. Runs Python where references are dropped. */
#include "core/loop.h"

#include "core/inbox.h"
#include "core/ready.h"
#include "core/timers.h"

void
lm_loop_init(LmLoop *loop, LmState *st)
{
    loop->st = lm_state_hold(st);
    loop->interp = PyInterpreterState_Get();
    LM_STORE(loop->is_plain, 1);
#if LM_FREE_THREADED
    loop->made_by = PyThreadState_GetID(PyThreadState_Get());
#endif
    lm_lock(&st->shared->loops_lock);
    lm_list_push_back(&st->shared->loops, &loop->among);
    lm_unlock(&st->shared->loops_lock);
    loop->timer_slack = LM_TIMER_SLACK_S;
    lm_list_init(&loop->kept);
    lm_heap_init(&loop->timers);
    lm_poll_init(&loop->poll);
}

void
lm_loop_leave_others(LmLoop *loop)
{
    lm_lock(&loop->st->shared->loops_lock);
    lm_list_remove(&loop->among);
    lm_unlock(&loop->st->shared->loops_lock);
}

void
lm_loop_clear(LmLoop *loop)
{
    lm_ring_clear(&loop->ready);
    lm_timers_clear(loop);
    Py_CLEAR(loop->task_factory);
    Py_CLEAR(loop->shown_handle);
    lm_ring_clear(&loop->postponed);
}

void
lm_loop_close(LmLoop *loop)
{
    LM_STORE(loop->is_closed, 1);
    lm_inbox_close(loop);
    lm_ring_clear(&loop->ready);
    lm_timers_clear(loop);
    lm_spares_close(&loop->spares);
    if (loop->has_own_methods) {
        LM_STORE(loop->st->shared->is_patch_new, 1);
    }
    lm_poll_close(&loop->poll);
}

int
lm_loop_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    Py_VISIT(loop->task_factory);
    Py_VISIT(loop->shown_handle);
    int failed = lm_spares_traverse(&loop->spares, visit, arg);
    if (failed == 0) {
        failed = lm_ready_traverse(loop, visit, arg);
    }
    if (failed == 0) {
        failed = lm_inbox_traverse(loop, visit, arg);
    }
    return failed ? failed : lm_timers_traverse(loop, visit, arg);
}
