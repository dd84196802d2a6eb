/* Signals that reach the loop: the wakeup descriptor of the signal module, in a pipe
   that the loop watches.

   While a loop runs in the main thread, or has signal handlers, the wakeup descriptor
   is the pipe's end; one that somebody else had set still gets each byte, and is put
   back. Handles of add_signal_handler stand in the dict loop._signal_handlers
   (loopmod/loop.py); their bytes queue them here. */
#ifndef LM_OS_SIGNALS_H
#define LM_OS_SIGNALS_H

#include "core/loop.h"

/* Around each run. Outside the main thread they do nothing. -1 with OSError set. */
int lm_signals_begin_run(LmLoop *loop);
void lm_signals_end_run(LmLoop *loop);

/* Holds the wakeup descriptor between runs too, from the first signal handler to the
   last. -1 with ValueError (not the main thread) or OSError set. */
int lm_signals_keep(LmLoop *loop);
void lm_signals_let_go(LmLoop *loop);

/* Gives everything back. Idempotent. */
void lm_signals_close(LmLoop *loop);

#endif
