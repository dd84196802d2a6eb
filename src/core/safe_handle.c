/* Waiting for a callback that another thread runs: see safe_handle.h. */
#include "core/safe_handle.h"

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
