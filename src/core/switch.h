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

#include "core/loop.h"

/* Items between two looks at the clock in an interpreter with one thread. */
#define LM_SWITCH_ITEMS 64

/* The loop is about to run in this thread. */
void lm_switch_begin(LmLoop *loop);

/* Looks at the clock, and does what is due. Not within a step: empties the current-task
   slot and runs Python. -1 with an exception that has to leave the loop. */
int lm_switch_look(LmLoop *loop);

/* The same, cheap enough for each item: in an interpreter with one thread only one in so
   many looks. A thread that starts is noticed at once, since it stands first in the
   interpreter's list. */
static inline int
lm_switch_between(LmLoop *loop)
{
    return LM_LIKELY(++loop->items_run % LM_SWITCH_ITEMS != 0 &&
                     PyInterpreterState_ThreadHead(loop->interp) == loop->lone_thread)
               ? 0
               : lm_switch_look(loop);
}

#endif
