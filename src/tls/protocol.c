/* What a connection has to do with the transport below whatever the phase: where that
   receives into, and its loss. See phase.h. */
#include "tls/phase.h"

#include "base/oserr.h"

/* With more than this waiting, appending is cheaper than moving it. */
#define LARGEST_LENT (64 * 1024)

/* Both, whatever became of what was done before: an exception that is set stays. */
static int
cancel_timers(LmTls *p, int failed)
{
    LmTlsTimer *timers[] = {&p->shutdown, &p->handshake};
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        PyObject *exc = PyErr_GetRaisedException();
        if (lm_tls_timer_cancel(timers[i]) < 0) {
            failed = -1;
        }
        lm_exc_put_back(exc);
    }
    return failed;
}

int
lm_tls_on_connection_lost(LmTls *p, PyObject *exc)
{
    if (!p->session.is_busy) {
        lm_outbuf_clear(&p->out.backlog); /* else an operation is at it */
    }
    lm_rawbuf_clear(&p->out.records);
    p->dropped_writes++;
    LM_STORE(p->app.is_closed, 1);
    int failed = lm_tls_app_lost(p, exc);
    p->state = LM_UNWRAPPED;
    PyObject *self = (PyObject *)p;
    PyObject *dropped[] = {lm_tls_below_take(&p->below, self),
                           lm_shared_swap(self, &p->app.transport, NULL),
                           lm_shared_swap(self, &p->app.protocol, NULL),
                           p->app.get_buffer, p->app.buffer_updated};
    p->app.get_buffer = p->app.buffer_updated = NULL;
    if (failed == 0) {
        failed = lm_tls_wake(&p->waiter, exc);
    }
    failed = cancel_timers(p, failed);
    for (size_t i = 0; i < sizeof(dropped) / sizeof(dropped[0]); i++) {
        Py_XDECREF(dropped[i]);
    }
    return failed;
}

/* The loop's buffer; the beginning of a record that waits goes to its front. */
static char *
native_get_buffer(PyObject *protocol, size_t *room)
{
    LmTls *p = (LmTls *)protocol;
    char *received = lm_tls_engine_buffer(p->session.engine);
    p->in.lent = 0;
    if (received != NULL && p->in.raw.size > 0 && p->in.raw.size <= LARGEST_LENT &&
        p->state == LM_WRAPPED) {
        p->in.lent = p->in.raw.size;
        memcpy(received, lm_rawbuf_data(&p->in.raw), p->in.lent);
    }
    *room = LM_TLS_BUFFER_SIZE - p->in.lent;
    return received != NULL ? received + p->in.lent : NULL;
}

static int
native_received(PyObject *protocol, size_t count)
{
    LmTls *p = (LmTls *)protocol;
    if (p->in.lent > 0) {
        lm_rawbuf_clear(&p->in.raw);
        count += p->in.lent;
    }
    return lm_tls_on_bytes(p, p->session.engine->received, count);
}

const LmNativeProtocol lm_tls_native = {native_get_buffer, native_received};
