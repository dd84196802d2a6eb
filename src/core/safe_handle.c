/* Waiting for a callback that another thread runs: see safe_handle.h. */
#include "core/safe_handle.h"

static LmSafeHandle *
safe_handle(PyObject *self)
{
    return (LmSafeHandle *)lm_handle(self);
}

void
lm_safe_handle_begin(PyObject *self)
{
    safe_handle(self)->runner = PyThread_get_thread_ident();
}

void
lm_safe_handle_end(PyObject *self)
{
    LmSafeHandle *h = safe_handle(self);
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
lm_safe_handle_wait(PyObject *self)
{
    LmSafeHandle *h = safe_handle(self);
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
lm_safe_handle_free(PyObject *self)
{
    LmSafeHandle *h = safe_handle(self);
    if (h->lock != NULL) {
        PyThread_free_lock(h->lock);
        h->lock = NULL;
    }
}
