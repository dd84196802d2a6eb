/* What the loop is asked to do later for a connection, by the methods of asyncio's loops:
   calls, timers, and the future that waits for the handshake. Relies on core/loop.h; all
   of it may run Python. The calls return 0, or -1 with an exception set. */
#ifndef LM_TLS_LATER_H
#define LM_TLS_LATER_H

#include "core/loop.h"

/* loop.call_soon(callback, arg), without the latter where it is NULL. */
int lm_tls_call_soon(LmLoop *loop, PyObject *callback, PyObject *arg);

typedef struct {
    PyObject *delay;  /* in seconds, as it was given */
    PyObject *handle; /* of call_later; NULL unless it runs or has fired */
} LmTlsTimer;

/* Calls `method` of `self` after the delay. One that runs already goes on. */
int lm_tls_timer_start(LmTlsTimer *timer, LmLoop *loop, PyMethodDef *method,
                       PyObject *self);
int lm_tls_timer_cancel(LmTlsTimer *timer);

/* Gives the future its result, or the exception where that is neither NULL nor None, and
   lets go of it. Nothing where it is NULL or cancelled. */
int lm_tls_wake(PyObject **waiter, PyObject *exc);

#endif
