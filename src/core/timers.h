/* The clock, and what is due when: the loop's timer handles in one heap, which owns a
   reference to each. */
#ifndef LM_CORE_TIMERS_H
#define LM_CORE_TIMERS_H

#include "core/handle.h"
#include "core/loop.h"

/* The loop's clock in seconds, through an overridden time() where there is one. -1 with
   an exception set. */
int lm_timers_now(LmLoop *loop, double *now);

/* Schedules a timer handle; takes a reference of its own. -1 with MemoryError set. */
int lm_timers_add(LmLoop *loop, LmHandle *handle);

/* The same by what asyncio lets any thread do: without a GIL an idle loop is taken for it, and
   another thread's is sent the timer. */
int lm_timers_add_any(LmLoop *loop, LmHandle *handle);

/* Moves to the ready queue what is due at `now`. Where that is much, other threads and
   signal handlers get their turn. -1 with an exception set. */
int lm_timers_expire(LmLoop *loop, double now);

/* Slack of a loop's timers where it is not told another, in seconds. */
#define LM_TIMER_SLACK_S 0.0002

/* The poll's deadline; LM_POLL_FOREVER without timers. Exact, but where timers come thick. -1
   with an exception set. */
int lm_timers_deadline(LmLoop *loop, LmDeadline *deadline);

void lm_timers_clear(LmLoop *loop);
int lm_timers_traverse(LmLoop *loop, visitproc visit, void *arg);

#endif
