/* What other threads send to a loop, on builds without the GIL: a queue with a lock. With
   the GIL everything here is nothing, and they add to the ready queue.

   It is emptied into the ready queue before anything is added there, and before a turn runs
   what is ready: so what a thread has sent comes before whatever the loop does because of
   what that thread did next. The wake-up is sent under the lock, which the poll's end takes
   too. */
#ifndef LM_CORE_INBOX_H
#define LM_CORE_INBOX_H

#include "core/owner.h"

#if LM_FREE_THREADED

/* From any thread; wakes the loop where it waits. Steals `obj` even on failure: -1 with
   RuntimeError set where the loop is closed, or MemoryError. */
int lm_inbox_push(LmLoop *loop, LmReadyFn fn, PyObject *obj);

/* All that has come, to the end of the ready queue. Where memory is out, what is left stays
   for later: -1 with MemoryError set. */
int lm_inbox_drain(LmLoop *loop);

/* Something of asyncio's was patched: the loop looks closer before it does anything more.
   The caller keeps it alive. */
void lm_inbox_warn(LmLoop *loop);

static inline int
lm_inbox_has_any(const LmLoop *loop)
{
    return LM_UNLIKELY(LM_LOAD_ACQUIRE(loop->inbox_count) != 0);
}

/* Before a wait: whether to wait at all; from then on who sends something wakes the loop. */
int lm_inbox_begin_wait(LmLoop *loop);

#else

static inline void
lm_inbox_warn(LmLoop *loop LM_UNUSED)
{
}

static inline int
lm_inbox_has_any(const LmLoop *loop LM_UNUSED)
{
    return 0;
}

static inline int
lm_inbox_drain(LmLoop *loop LM_UNUSED)
{
    return 0;
}

static inline int
lm_inbox_begin_wait(LmLoop *loop)
{
    loop->is_asleep = 1;
    return 1;
}

#endif

static inline void
lm_inbox_end_wait(LmLoop *loop)
{
    LM_STORE(loop->is_asleep, 0);
}

/* From here on nothing comes in and nobody wakes: what is there is dropped. May run Python. */
void lm_inbox_close(LmLoop *loop);
int lm_inbox_traverse(LmLoop *loop, visitproc visit, void *arg);

#endif
