/* The turn, and runs of turns: until stop(), until a future is done, or until an exception
   leaves. Each call returns 0, or -1 with that exception set. Runs Python. */
#ifndef LM_CORE_RUN_H
#define LM_CORE_RUN_H

#include "core/loop.h"

/* Runs turns in this thread, which has claimed the loop (`thread_id`, `nesting`). 0 after
   stop(), or -1 with the exception that left a callback. Everything scheduled and not yet run
   stays scheduled. */
int lm_run_forever(LmLoop *loop);

/* 1 where the future is done, 0 where not, -1 with an exception set. */
typedef int (*LmIsDone)(PyObject *future);

/* Runs turns until the future is done, for a run within a run: the outer one's stop() is
   left to it. 0, or -1 with the exception that left a callback. */
int lm_run_until(LmLoop *loop, LmIsDone is_done, PyObject *future);

/* One turn, for those who drive the loop by themselves. 0, or -1 with the exception that
   left a callback. */
int lm_run_turn(LmLoop *loop);

/* Waits as a turn does, until the deadline (poll/poll.h) where there is nothing to do. What
   fired is to be dispatched by the caller. -1 with an exception set. */
int lm_run_poll(LmLoop *loop, int64_t deadline_ns);

#endif
