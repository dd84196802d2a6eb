/* Waiting for a callback that another thread runs: see safe_handle.h. */
#include "core/safe_handle.h"

#if LM_FREE_THREADED

/* A callback may run or cancel its own handle. */
void
lm_safe_handle_begin(LmHandle *handle)
{
    LmSafeHandle *h = (LmSafeHandle *)handle;
    unsigned long me = PyThread_get_thread_ident();
    if (LM_LOAD(h->runner) == me) {
        h->depth++;
        return;
    }
    PyMutex_Lock(&h->running);
    LM_STORE(h->runner, me);
}

void
lm_safe_handle_end(LmHandle *handle)
{
    LmSafeHandle *h = (LmSafeHandle *)handle;
    if (h->depth > 0) {
        h->depth--;
        return;
    }
    LM_STORE(h->runner, 0);
    PyMutex_Unlock(&h->running);
}

void
lm_safe_handle_wait(LmHandle *handle)
{
    lm_safe_handle_begin(handle);
}

void
lm_safe_handle_waited(LmHandle *handle)
{
    lm_safe_handle_end(handle);
}

void
lm_safe_handle_free(LmHandle *handle LM_UNUSED)
{
}

#else

void
lm_safe_handle_begin(LmHandle *handle)
{
    ((LmSafeHandle *)handle)->runner = PyThread_get_thread_ident();
}

void
lm_safe_handle_end(LmHandle *handle)
{
    LmSafeHandle *h = (LmSafeHandle *)handle;
    h->runner = 0;
    if (h->is_locked) {
        h->is_locked = 0;
        PyThread_release_lock(h->lock);
    }
}

/* 0 where there is a lock that the runner will release; memory being out is no reason to
   fail a cancel(). */
static int
lock_for_runner(LmSafeHandle *h)
{
    if (h->lock == NULL) {
        h->lock = PyThread_allocate_lock();
        if (h->lock == NULL) {
            return -1;
        }
    }
    if (!h->is_locked) {
        PyThread_acquire_lock(h->lock, NOWAIT_LOCK);
        h->is_locked = 1;
    }
    return 0;
}

void
lm_safe_handle_wait(LmHandle *handle)
{
    LmSafeHandle *h = (LmSafeHandle *)handle;
    while (h->runner != 0 && h->runner != PyThread_get_thread_ident()) {
        if (lock_for_runner(h) < 0) {
            return;
        }
        Py_BEGIN_ALLOW_THREADS
        PyThread_acquire_lock(h->lock, WAIT_LOCK);
        PyThread_release_lock(h->lock); /* for the next who waits */
        Py_END_ALLOW_THREADS
    }
}

void
lm_safe_handle_free(LmHandle *handle)
{
    LmSafeHandle *h = (LmSafeHandle *)handle;
    if (h->lock != NULL) {
        PyThread_free_lock(h->lock);
        h->lock = NULL;
    }
}

void
lm_safe_handle_waited(LmHandle *handle LM_UNUSED)
{
}

#endif
