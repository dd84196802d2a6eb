/* The turn of other threads: between two items of the ready queue, whatever they are made
   of, a thread that waits for the GIL gets it once a switch interval has passed.

   No public API says whether somebody waits. But the interpreter looks, at the entry of
   each Python function, for all that it was asked to do soon: it runs signal handlers,
   pending calls and (3.12 and later) the collector, raises what another thread sent, and
   lets go of the GIL where a thread has waited for an interval. So an empty function in
   Python is called, a few times in an interval; items that run Python need it not, those
   that are C only do. */
#ifndef LM_CORE_SWITCH_H
#define LM_CORE_SWITCH_H

#include "base/clock.h"
#include "core/loop.h"

/* Of how many items, in an interpreter with one thread, one looks whether there is another
   one now, and one looks at the clock. Powers of two. */
#define LM_SWITCH_MASK 3u
#define LM_SWITCH_ITEMS 64u

/* The loop is about to run in this thread. */
void lm_switch_begin(LmLoop *loop);

/* The clock that keeps within the bound of two intervals: see note_clock() in switch.c. */
static inline int64_t
lm_switch_now(const LmLoop *loop)
{
    return LM_LIKELY(loop->switch_by_ticks) ? lm_clock_tick_ns() : lm_clock_ns();
}

/* Does what is due at `now_ns`. Not within a step: empties the current-task slot and runs
   Python. -1 with an exception that has to leave the loop. */
int lm_switch_look(LmLoop *loop, int64_t now_ns);

/* Whether the thread that was the only one still is, or the newest. */
static inline int
lm_switch_is_alone(const LmLoop *loop)
{
#if LM_FREE_THREADED
    (void)loop;
    return 0;
#else
    return PyInterpreterState_ThreadHead(loop->interp) == loop->lone_thread;
#endif
}

/* The same for after each item: costs nothing worth mention while there is one thread. One
   that starts stands first in the interpreter's list. */
static inline int
lm_switch_between(LmLoop *loop)
{
    unsigned count = ++loop->items_run;
    return LM_LIKELY((count & loop->switch_mask) != 0) ||
                   (lm_switch_is_alone(loop) && count % LM_SWITCH_ITEMS != 0)
               ? 0
               : lm_switch_look(loop, lm_switch_now(loop));
}

#endif
