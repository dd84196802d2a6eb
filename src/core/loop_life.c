/* Making and closing of a loop: see loop.h. Relies on all that keeps something in it: ready,
   timers, handles and the poll. Runs Python where references are dropped. */
#include "core/loop.h"

#include "core/ready.h"
#include "core/timers.h"

void
lm_loop_init(LmLoop *loop, LmState *st)
{
    loop->st = lm_state_hold(st);
    loop->interp = PyInterpreterState_Get();
    loop->is_plain = 1;
    lm_list_push_back(&st->loops, &loop->among);
    lm_list_init(&loop->kept);
    lm_heap_init(&loop->timers);
    lm_poll_init(&loop->poll);
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
    loop->is_closed = 1;
    lm_ring_clear(&loop->ready);
    lm_timers_clear(loop);
    lm_spares_close(&loop->spares);
    loop->st->is_patch_new |= loop->has_own_methods;
    lm_poll_close(&loop->poll);
}

int
lm_loop_traverse(LmLoop *loop, visitproc visit, void *arg)
{
    Py_VISIT(loop->task_factory);
    Py_VISIT(loop->shown_handle);
    Py_VISIT(loop->spares.blank_context);
    int failed = lm_ready_traverse(loop, visit, arg);
    return failed ? failed : lm_timers_traverse(loop, visit, arg);
}
