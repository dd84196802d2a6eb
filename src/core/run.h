/* run_forever: turns until stop() or an exception. */
#ifndef LM_CORE_RUN_H
#define LM_CORE_RUN_H

#include "core/loop.h"

/* Runs turns in this thread. 0 after stop(), or -1 with the exception that left a
   callback. Everything scheduled and not yet run stays scheduled. */
int lm_run_forever(LmLoop *loop);

#endif
