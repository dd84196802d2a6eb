/* Signals with a handler on the loop: the wakeup descriptor of the signal module, in a
   pipe that the loop watches.

   It is taken with the loop's first signal handler and given back with the last, run or
   no run, as asyncio does: other libraries look at it, and a signal that comes between
   two runs is not lost. One that somebody else had set still gets each byte, and is put
   back. Other signals need no descriptor: they end the main thread's poll, after which
   Python's own handlers run. The handles stand in the dict loop._signal_handlers
   (loopmod/signals.py); their bytes queue them here. */
#ifndef LM_OS_SIGNALS_H
#define LM_OS_SIGNALS_H

#include "core/loop.h"

/* Before a run: opens the pipe in the main thread, so that a handler can be added when no
   descriptor is left, as in asyncio. -1 with OSError set where the poll cannot be opened. */
int lm_signals_prepare(LmLoop *loop);

/* Takes the wakeup descriptor, and gives it back; both idempotent. -1 with ValueError
   (not the main thread) or OSError set. */
int lm_signals_take(LmLoop *loop);
void lm_signals_give_back(LmLoop *loop);

/* Gives everything back. Idempotent. */
void lm_signals_close(LmLoop *loop);

#endif
