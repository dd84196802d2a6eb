/* The handle of a thread-safe call (3.14+): while its callback runs, cancel() and cancelled()
   of another thread wait for its end, so that what they say stays true.

   The GIL guards the fields; the lock is only what others wait at. It is made by the first
   of them: most handles are never asked. Without a GIL it is a mutex that is held while the
   callback runs and while another thread looks. */
#ifndef LM_CORE_SAFE_HANDLE_H
#define LM_CORE_SAFE_HANDLE_H

#include "core/handle.h"

#include <pythread.h>

typedef struct {
    LmHandle handle;
    unsigned long runner; /* thread that runs the callback, or 0 */
#if LM_FREE_THREADED
    unsigned depth; /* of runs by the runner within its own */
    PyMutex running;
#else
    PyThread_type_lock lock; /* held for as long as the callback runs, or NULL */
    uint8_t is_locked;
#endif
} LmSafeHandle;

/* Around the callback, by the loop. */
void lm_safe_handle_begin(LmHandle *handle);
void lm_safe_handle_end(LmHandle *handle);

/* Waits, without the GIL, while another thread runs the callback: it does not begin to until
   lm_safe_handle_waited. */
void lm_safe_handle_wait(LmHandle *handle);
void lm_safe_handle_waited(LmHandle *handle);

void lm_safe_handle_free(LmHandle *handle);

#endif
