/* What debug mode adds: source tracebacks, the slow-callback log, checks of callbacks.
   Costs nothing when off. Everything here runs Python (loopmod._support). */
#ifndef LM_CORE_DEBUG_H
#define LM_CORE_DEBUG_H

#include "core/loop.h"

/* The frames of the running Python code, as asyncio's debug mode keeps them: all for a
   future or task, the last few for a handle. New reference. */
PyObject *lm_debug_source_traceback(LmState *st, int is_whole);

/* Logs that the ready item on `obj` took `seconds`, if that is longer than
   loop.slow_callback_duration. -1 with an exception set. */
int lm_debug_note_duration(LmLoop *loop, PyObject *obj, double seconds);

/* The checks of call_soon and its like: the thread where `check_thread`, and that the
   callback is callable and no coroutine function. -1 with RuntimeError or TypeError
   set. */
int lm_debug_check_call(LmLoop *loop, PyObject *callback, const char *method,
                        int check_thread);

#endif
