/* asyncio's classes in C, for programs that take them: subclasses of asyncio's, whose state is
   what asyncio's has, under the same names. Each file says what of its class is C. */
#ifndef LM_SYNC_SYNC_H
#define LM_SYNC_SYNC_H

#include "base/state.h"

int lm_sync_init(PyObject *module, LmState *st);

/* Parts of it, each with the type it adds. */
int lm_event_init(PyObject *module, LmState *st);
int lm_lock_init(PyObject *module, LmState *st);
int lm_semaphore_init(PyObject *module, LmState *st); /* and BoundedSemaphore */
int lm_queue_init(PyObject *module, LmState *st);     /* and its two subclasses */

#endif
