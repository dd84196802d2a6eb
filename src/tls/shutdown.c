/* The end of a connection, in order: see phase.h. */
#include "tls/phase.h"

#include "base/held.h"
#include "base/type_help.h"
#include "core/owner.h"

static PyObject *
check_shutdown_timeout(PyObject *self, PyObject *unused LM_UNUSED)
{
    LmTls *p = (LmTls *)self;
    if (p->state != LM_FLUSHING && p->state != LM_SHUTDOWN) {
        Py_RETURN_NONE;
    }
    PyObject *exc =
        PyObject_CallFunction(PyExc_TimeoutError, "s", "SSL shutdown timed out");
    int failed = exc != NULL ? lm_tls_below_force_close(&p->below, exc) : -1;
    Py_XDECREF(exc);
    return lm_none_if(failed);
}

LM_OWNED_METHOD(check_shutdown_timeout, lm_tls_owner)

static PyMethodDef shutdown_timeout_def = {
    "_check_shutdown_timeout", LM_OWNED(check_shutdown_timeout), METH_NOARGS, NULL};

int
lm_tls_start_shutdown_timer(LmTls *p)
{
    return lm_tls_timer_start(&p->shutdown, p->loop, &shutdown_timeout_def,
                              (PyObject *)p);
}

/* The transport below sends what it has queued before it closes, which a peer that does not
   read can delay for ever: the timer goes on. */
int
lm_tls_finish_shutdown(LmTls *p)
{
    if (lm_tls_app_eof(p) < 0 || lm_tls_start_shutdown_timer(p) < 0) {
        return -1;
    }
    return lm_tls_below_close_soon(&p->below);
}

static int
on_shutdown_failed(LmTls *p)
{
    PyObject *exc = PyErr_GetRaisedException();
    int failed = lm_tls_timer_cancel(&p->shutdown);
    if (failed == 0) {
        failed = lm_tls_fatal(p, exc, "Fatal error on transport");
    }
    Py_DECREF(exc);
    return failed;
}

/* Feeds what came and lets OpenSSL go on. 1 where the peer's close_notify has come, 0
   where it is waited for, -1 with an exception set. */
static int
step_shutdown(LmTls *p)
{
    if (lm_tls_feed_all(p) < 0) {
        return -1;
    }
    if (lm_done(PyObject_CallMethodNoArgs(p->session.object, p->st->str.unwrap)) < 0) {
        return lm_tls_engine_wants_more(p->session.engine) ? 0 : -1;
    }
    return lm_done(lm_tls_engine_take_unread(p->session.engine)) < 0 ? -1 : 1;
}

int
lm_tls_do_shutdown(LmTls *p)
{
    LmTlsOuter outer;
    if (p->in.is_at_end) {
        return LM_NEXT_PHASE; /* the peer's cannot come; as asyncio, ours is not sent */
    }
    if (lm_tls_begin(p, &outer) < 0) {
        return -1;
    }
    int is_over = step_shutdown(p);
    if (lm_tls_end(p, &outer, is_over < 0 ? -1 : 0) < 0) {
        return PyErr_ExceptionMatches(p->session.engine->SSLError)
                   ? on_shutdown_failed(p)
                   : -1;
    }
    return is_over ? LM_NEXT_PHASE : LM_NEXT_PEER;
}
