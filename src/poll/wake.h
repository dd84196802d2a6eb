/* The two descriptors of its own that a poll watches: the wake-up, by which other threads
   end its wait (lm_poll_wake), and the alarm, a timerfd that ends it at a near deadline.
   Loop's thread only; runs no Python. */
#ifndef LM_POLL_WAKE_H
#define LM_POLL_WAKE_H

#include "base/lm.h"

struct LmPoll;

void lm_wake_init(struct LmPoll *poll);

/* Opens another wake-up in place of the one that is there. -1 with OSError set. */
int lm_wake_open(struct LmPoll *poll);
void lm_wake_close(struct LmPoll *poll);

/* 0 where the alarm is set to the moment; -1 where there is none, which costs only
   precision. */
int lm_alarm_set(struct LmPoll *poll, int64_t deadline_ns);
void lm_alarm_close(struct LmPoll *poll);

#endif
